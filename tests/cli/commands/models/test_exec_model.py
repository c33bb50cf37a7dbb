"""`exec-model` as a program: status, streams, environment, signals, envelope."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program import Program
from tests.waiting import PATIENCE, wait_until

WEIGHTS = bytes(range(256)) * 100


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A program with one key and a container; for tests that only read."""
    program = Program(tmp_path_factory.mktemp("exec"))
    program.generate("llama")
    (program.folder / "model").write_bytes(WEIGHTS)
    program.ok("encrypt-model", "model", "--key", "llama")
    return program


def test_the_program_reads_the_model_and_writes_its_own_output(shop: Program) -> None:
    done = shop.run("exec-model", "model.ttm", "--", "sha256sum", "{}")
    import hashlib

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[0] == hashlib.sha256(WEIGHTS).hexdigest()


def test_it_keeps_its_standard_input(shop: Program) -> None:
    done = shop.run("exec-model", "model.ttm", "--", "sh", "-c", "cat; wc -c < $1", "sh", "{}", stdin="typed\n")
    assert done.stdout == "typed\n25600\n"


@pytest.mark.parametrize("status", [0, 3, 255])
def test_the_status_is_the_programs(shop: Program, status: int) -> None:
    assert shop.run("exec-model", "model.ttm", "--", "sh", "-c", f"exit {status}", "{}").returncode == status


@pytest.mark.parametrize(
    "words",
    [
        ["none.ttm", "--", "cat", "{}"],
        ["model", "--", "cat", "{}"],
        ["model.ttm", "--", "cat"],
        ["model.ttm", "--", "/no/such/program", "{}"],
        ["model.ttm", "cat", "{}"],
        ["--", "cat", "{}"],
        ["model.ttm", "--"],
        [],
        ["--no-such-option", "model.ttm", "--", "cat", "{}"],
    ],
)
def test_its_own_failures_are_125(shop: Program, words: list[str]) -> None:
    done = shop.run("exec-model", *words)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("error: ")


def test_the_license_is_not_in_the_programs_environment(shop: Program) -> None:
    done = shop.run(
        "exec-model", "model.ttm", "--", "sh", "-c", "env", "{}", env={"TIKTRUE_LICENSE_FILE": "/x", "A": "b"}
    )
    assert done.returncode == 125  # the file comes first, and is not there
    done = shop.run("exec-model", "model.ttm", "--", "sh", "-c", "env", "{}", env={"A": "b"})
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert {"A", "TIKTRUE_KEYS_HOME"} <= names
    assert not {"TIKTRUE_LICENSE_KEY", "TIKTRUE_LICENSE_FILE"} & names


def test_options_after_the_dashes_are_the_programs(shop: Program) -> None:
    done = shop.run("exec-model", "-q", "model.ttm", "--", "sh", "-c", 'echo "$@"', "sh", "--json", "-V", "--", "{}")
    assert done.stdout.startswith("--json -V -- /proc/self/fd/")


def test_the_envelope_goes_to_standard_error(shop: Program) -> None:
    done = shop.run("exec-model", "--json", "model.ttm", "--", "sh", "-c", "echo hers; exit 3", "{}")
    found = json.loads(done.stderr)
    assert (done.stdout, done.returncode) == ("hers\n", 3)
    assert (found["ok"], found["exit"], found["error"], found["result"]["status"]) == (False, 3, None, 3)
    assert found["result"]["files"][0]["length"] == len(WEIGHTS)


def test_the_envelope_of_an_own_failure_says_125(shop: Program) -> None:
    done = shop.run("exec-model", "--json", "none.ttm", "--", "cat", "{}")
    found = json.loads(done.stderr or done.stdout)
    assert (found["exit"], found["error"]["code"]) == (125, "not-found")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_signals_are_the_programs(shop: Program, name: str) -> None:
    script = (
        "import signal, sys, time\n"
        f"signal.signal(signal.{name}, lambda *_: sys.exit(42))\n"
        "print('ready', flush=True)\n"
        "time.sleep(30)\n"
    )
    words = shop.argv("exec-model", "model.ttm", "--", sys.executable, "-c", script, "{}")
    with subprocess.Popen(words, cwd=shop.folder, env=shop.environment, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(getattr(signal, name))
        assert running.wait(PATIENCE) == 42


def test_one_that_a_signal_ended(shop: Program) -> None:
    words = shop.argv("exec-model", "model.ttm", "--", "sh", "-c", "echo ready; exec sleep 30", "{}")
    with subprocess.Popen(words, cwd=shop.folder, env=shop.environment, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == 143


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_before_there_is_a_program_is_ours(shop: Program, name: str, code: int) -> None:
    words = shop.argv("exec-model", "--license-file", "-", "model.ttm", "--", "cat", "{}")
    with subprocess.Popen(
        words, cwd=shop.folder, env=shop.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        _wait_until_it_reads(running.pid)
        running.send_signal(getattr(signal, name))
        assert running.wait(PATIENCE) == code


def _wait_until_it_reads(pid: int) -> None:
    """Until the process sleeps in a read of its standard input, which is where it waits for the license."""
    wait_until(lambda: Path(f"/proc/{pid}/syscall").read_text().startswith("0 0x0 "))


def test_while_it_runs_the_keystore_is_free(shop: Program) -> None:
    words = shop.argv("exec-model", "model.ttm", "--", "sh", "-c", "echo ready; exec sleep 30", "{}")
    with subprocess.Popen(words, cwd=shop.folder, env=shop.environment, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        held = {os.readlink(f"/proc/{running.pid}/fd/{number}") for number in os.listdir(f"/proc/{running.pid}/fd")}
        assert not [name for name in held if name.startswith(str(shop.keystore))]
        running.kill()


def test_it_is_in_the_audit_log(shop: Program) -> None:
    shop.ok("exec-model", "model.ttm", "--", "true", "{}")
    record = json.loads(shop.ok("audit", "show", "--last", "1", "--json"))["result"]["records"][0]
    assert (record["event"], record["outcome"], record["detail"]["program"]) == ("exec", "ok", "true")


def test_a_file_in_the_place_of_its_path(shop: Program, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shop.ok("exec-model", "model.ttm", "--", "cp", "{}", str(out))
    assert out.read_bytes() == WEIGHTS
