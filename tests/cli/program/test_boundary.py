"""However a command ends: one error line, one hint, the documented code; no traceback, no secret."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from tests.program import LICENSE, Program
from tests.waiting import PATIENCE, wait_until
from tests.warm import REPOSITORY
from tiktrue_keys.cli.program.boundary import BROKEN_PIPE, Reporter, guarded, usage_error
from tiktrue_keys.cli.program.main import app
from tiktrue_keys.cli.view.outcome import Line, OnDemand, Outcome
from tiktrue_keys.errors import ERRORS, IntegrityError, TikTrueKeysError


def reporter(*, as_json: bool = False, verbose: bool = False) -> Reporter:
    return Reporter(json=as_json, quiet=False, verbose=verbose)


def raising(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_an_error_of_ours_becomes_its_code_a_line_and_a_hint(
    kind: type[TikTrueKeysError], capsys: pytest.CaptureFixture[str]
) -> None:
    code = guarded(reporter(), raising(kind("it went wrong", "mend it")))

    assert code == kind.exit_code
    assert capsys.readouterr() == ("", "error: it went wrong\nhint: mend it\n")


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_an_error_of_ours_becomes_an_envelope(kind: type[TikTrueKeysError], capsys: pytest.CaptureFixture[str]) -> None:
    guarded(reporter(as_json=True), raising(kind("it went wrong", "mend it", key_id="m_0123456789abcdef")))

    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert (found["ok"], found["exit"]) == (False, kind.exit_code)
    assert found["error"] == {
        "code": kind.code,
        "message": "it went wrong",
        "hint": "mend it",
        "key_id": "m_0123456789abcdef",
    }


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (typer.Abort(), 130, "interrupted"),
        (EOFError(), 130, "interrupted"),
        (MemoryError(), 12, "out of memory"),
        (RecursionError("deep"), 1, "internal error: RecursionError"),
        (OSError(28, "No space left on device", "/x"), 12, "the system refused: /x: No space left on device"),
        (ValueError(LICENSE), 1, "internal error: ValueError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_foreign_exception_is_reported_without_its_words(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(reporter(), raising(error)) == code

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {words}")
    assert "Traceback" not in err
    assert LICENSE not in err


def test_verbose_shows_where_a_bug_is_but_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(reporter(verbose=True), raising(ValueError(LICENSE)))

    err = capsys.readouterr().err
    assert "test_boundary.py" in err
    assert "builtins.ValueError" in err
    assert LICENSE not in err


def test_a_closed_pipe_is_141_and_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # the real one would be pointed at nowhere

    assert guarded(reporter(), raising(BrokenPipeError())) == BROKEN_PIPE
    assert capsys.readouterr().err == ""


def test_a_result_and_an_error_may_both_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome(result={"n": 1}, view=[Line("one")], error=IntegrityError("bad"))

    assert reporter().succeeded(outcome) == 4
    assert capsys.readouterr() == ("one\n", "error: bad\nhint: do not use it; restore a copy that you trust\n")
    assert reporter(as_json=True).succeeded(outcome) == 4
    found = json.loads(capsys.readouterr().out)
    assert (found["result"], found["error"]["code"]) == ({"n": 1}, "integrity")


def test_a_failure_in_the_middle_of_an_envelope_adds_no_second_one(capsys: pytest.CaptureFixture[str]) -> None:
    def items() -> Iterator[str]:
        yield from ["x" * 99] * 1024
        raise MemoryError

    one = reporter(as_json=True)

    assert guarded(one, lambda: one.succeeded(Outcome(result={"items": OnDemand(items)}))) == 12
    out, err = capsys.readouterr()
    assert out.count('"schema"') == 1
    assert not out.endswith("\n")
    assert err.startswith("error: out of memory\n")


@pytest.mark.parametrize(
    ("error", "limit", "amount", "hint"),
    [
        (MemoryError(), resource.RLIMIT_AS, 1 << 40, "address space is limited to 1048576 MiB"),
        (RuntimeError("can't start new thread"), resource.RLIMIT_NPROC, 4_096, "this user may have 4096 processes"),
    ],
)
def test_what_the_system_refuses_names_the_limit(
    capsys: pytest.CaptureFixture[str], error: Exception, limit: int, amount: int, hint: str
) -> None:
    before = resource.getrlimit(limit)
    resource.setrlimit(limit, (amount, before[1]))
    try:
        assert guarded(reporter(), raising(error)) == 12
    finally:
        resource.setrlimit(limit, before)
    assert hint in capsys.readouterr().err


def test_another_runtime_error_is_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(reporter(), raising(RuntimeError("something else"))) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_while_the_program_is_loaded_leaves_no_traceback(number: signal.Signals, code: int) -> None:
    loading = f"""
import os, sys

class Finder:
    def find_spec(name, *_):
        if name == "tiktrue_keys.cli.program.main":
            os.kill(os.getpid(), {int(number)})

sys.meta_path.insert(0, Finder)
from tiktrue_keys.cli.program.entry import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", loading], capture_output=True, cwd=REPOSITORY, timeout=PATIENCE, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_a_failure_before_the_first_byte_of_an_envelope_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    def items() -> Iterator[str]:
        yield "x"
        raise MemoryError

    one = reporter(as_json=True)

    assert guarded(one, lambda: one.succeeded(Outcome(result={"items": OnDemand(items)}))) == 12
    found = json.loads(capsys.readouterr().out)
    assert (found["result"], found["error"]["message"]) == (None, "out of memory")


def test_control_characters_of_others_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(reporter(), raising(IntegrityError("bad \x1b[2J\r\nerror: forged \u202e", "\x07")))

    assert capsys.readouterr().err == "error: bad \\x1b[2J\\r\\nerror: forged \\u202e\nhint: \\x07\n"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--frob"], "no such option: --frob", "see tiktrue-keys --help"),
        (["genrate"], "there is no command 'genrate'", "did you mean generate or rotate?"),
        (["generate"], "missing argument 'MODEL_ID'", "see tiktrue-keys generate --help"),
        (["rotate", "--overlpa", "1d"], "no such option: --overlpa", "did you mean --overlap?"),
        (["generate", "m", "--count", "x"], "invalid value for '--count': ", "see tiktrue-keys generate --help"),
        (["list", "--status", "bogus"], "invalid value for '--status': 'bogus' is not one of pending, ", "see "),
        (["show", "a", "b"], "got unexpected extra argument(s) (b)", "see tiktrue-keys show --help"),
        (["audit", "frob"], "there is no command 'audit frob'", "run tiktrue-keys audit --help to list the commands"),
        (["--json=no", "fleet", "statsu"], "option '--json' does not take a value", "see tiktrue-keys --help"),
        (["fleet", "--quiet", "statsu"], "there is no command 'fleet statsu'", "did you mean status?"),
        (["config", "--frob"], "no such option: --frob", "see tiktrue-keys config show --help"),
        (["generate", "m", "--lifetime"], "option '--lifetime' requires an argument", "see "),
    ],
)
def test_the_parsers_complaints_have_the_same_shape(
    program: Program, words: list[str], message: str, hint: str
) -> None:
    done = program.run(*words)

    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (2, "", 2)
    assert lines[0].startswith(f"error: {message}")
    assert lines[1].startswith(f"hint: {hint}")


def test_without_a_command_it_prints_the_help_and_exits_2(program: Program) -> None:
    done = program.run()

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == program.ok("--help")


def test_without_a_command_json_is_json(program: Program) -> None:
    found = program.json(code=2)

    assert (found["error"]["code"], found["error"]["message"]) == ("usage", "missing command")


def test_the_parsers_complaints_are_json_when_json_is_asked_for(program: Program) -> None:
    found = program.json("rotate", "--overlpa", "1d", code=2)

    assert (found["command"], found["error"]["code"]) == ("rotate", "usage")
    assert found["error"]["hint"] == "did you mean --overlap?"


def test_a_word_after_two_dashes_is_no_option(seeded: Program) -> None:
    done = seeded.run("show", "--", "--json")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: '--json' is not a key\n")


def test_usage_errors_are_one_line_whatever_the_parser_says() -> None:
    found = usage_error(typer.TyperException("Missing option '--x'. Choose from:\n\ta,\n\tb."))

    assert found.message == "missing option '--x'. Choose from: a, b"


def test_the_boundary_holds_under_typers_own_test_runner() -> None:
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["list", "--limit", "0"])

    assert done.exit_code == 2
    assert "error: invalid value for '--limit'" in done.stderr


def test_a_reader_that_goes_away_ends_it_with_141(seeded: Program) -> None:
    running = subprocess.Popen(
        seeded.argv("audit", "export"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=seeded.environment
    )
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()

    with running.stderr as errors:
        said = errors.read()

    assert (running.wait(), said) == (141, b"")


def test_help_into_a_closed_pipe_is_141_too(program: Program) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        done = subprocess.run(program.argv("--help"), stdout=closed, stderr=subprocess.PIPE, env=program.environment)

    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("words", [["list"], ["list", "--json"]])
def test_a_full_standard_output_is_unavailable(seeded: Program, words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(seeded.argv(*words), stdout=full, stderr=subprocess.PIPE, env=seeded.environment)

    assert done.returncode == 12
    assert b"standard output cannot be written: no space left on device" in done.stderr
    assert b"the change was made" not in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_change_that_cannot_be_printed_is_reported_with_its_key(program: Program, words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            program.argv("generate", "full", *words), stdout=full, stderr=subprocess.PIPE, env=program.environment
        )

    key_id = program.json("list", "full")["result"]["keys"][0]["key_id"]
    assert done.returncode == 12
    assert f"the change was made ({key_id}), but standard output cannot be written" in done.stderr.decode()
    assert b"do not repeat the command" in done.stderr
    if words:
        told = json.loads(done.stderr)
        assert (told["ok"], told["changed"], told["exit"]) == (False, True, 12)
        assert told["result"]["keys"][0]["key_id"] == key_id


def test_closed_standard_streams_do_not_hand_their_numbers_to_the_keystore(program: Program) -> None:
    closing = 'exec 0<&- 1>&- 2>&-; exec "$@"'

    subprocess.run(["sh", "-c", closing, "sh", *program.argv("generate", "m")], env=program.environment, check=True)

    assert program.json("validate", "--deep")["ok"] is True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_while_it_waits_ends_it_with_the_documented_code(
    program: Program, number: signal.Signals, code: int
) -> None:
    waiting = program.without("TIKTRUE_LICENSE_KEY")
    running = subprocess.Popen(
        waiting.argv("generate", "m", "--license-file", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=waiting.environment,
    )
    _wait_until_it_reads(running.pid)
    running.send_signal(number)
    out, err = running.communicate(timeout=PATIENCE)

    assert (running.returncode, out) == (code, b"")
    assert [line.partition(b":")[0] for line in err.splitlines()] == [b"error", b"hint"]
    assert err.startswith(b"error: ")
    assert not program.keystore.exists()


def _wait_until_it_reads(pid: int) -> None:
    """Until the process has set up its handlers and sleeps in read(2) on its standard input."""
    wait_until(lambda: "pipe" in Path(f"/proc/{pid}/wchan").read_text())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_of_an_encryption_leaves_nothing_behind(
    program: Program, number: signal.Signals, code: int
) -> None:
    program.generate("m", no_license=True)
    running = subprocess.Popen(
        program.argv("encrypt-model", "-", "-o", "out.ttm", "--key", "m"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=program.folder,
        env=program.environment,
    )
    assert running.stdin is not None
    running.stdin.write(b"x" * 3_000_000)
    running.stdin.flush()
    wait_until(lambda: any(program.folder.glob(".*.tmp")))
    running.send_signal(number)

    out, err = running.communicate(timeout=PATIENCE)

    assert (running.returncode, out) == (code, b"")
    assert [line.partition(b":")[0] for line in err.splitlines()] == [b"error", b"hint"]
    assert {path.name for path in program.folder.iterdir()} == {"host", "keystore"}
    last = program.json("audit", "--last", "1")["result"]["records"][0]
    assert (last["event"], last["outcome"]) == ("encrypt", "failed")
    assert last["detail"]["error"] == {130: "KeyboardInterrupt", 143: "terminated"}[code]
    assert program.json("models", "list")["result"]["containers"] == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_batch_and_is_not_the_failure_of_one_item(
    program: Program, number: signal.Signals, code: int
) -> None:
    """One container is another's just now: the signal comes while the command waits for it, after the other one."""
    program.generate("m", no_license=True)
    for name in ("one", "two"):
        (program.folder / name).write_bytes(b"x" * 100)
        program.ok("encrypt-model", name, "--key", "m")
    program.ok("rotate", "m", "--no-rewrap", "--yes")
    with (program.folder / "one.ttm").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        running = subprocess.Popen(
            program.argv("rewrap-model", "--all", "--lock-timeout", "1h"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=program.environment,
        )
        wait_until(lambda: str(program.folder / "one.ttm") in _open_files(running.pid))
        running.send_signal(number)
        out, err = running.communicate(timeout=PATIENCE)

    assert (running.returncode, out) == (code, b"")
    assert [line.partition(b":")[0] for line in err.splitlines()] == [b"error", b"hint"]
    records = program.json("audit")["result"]["records"]
    assert {record["outcome"] for record in records if record["event"] == "rewrap"} <= {"ok"}


def _open_files(pid: int) -> set[str]:
    found = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since the listing
            found.add(os.readlink(f"/proc/{pid}/fd/{number}"))
    return found
