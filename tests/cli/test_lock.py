"""Two programs on one keystore: who waits in vain is told for whom, and `--lock-timeout` says how long that is."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.keystores import ACTOR
from tests.program import TIMEOUT_SECONDS, Program
from tests.waiting import wait_until
from tiktrue_keys.core.keystore.lock import writers_lock


@pytest.fixture
def program(tmp_path: Path) -> Program:
    program = Program(tmp_path)
    program.generate("llama")
    return program


@contextmanager
def holding(program: Program, *words: str) -> Iterator[int]:
    """The process id of an operation that holds the writers' lock: it cannot commit during a read. Then it may."""
    lock = program.keystore / "keystore.lock"
    with closing(sqlite3.connect(program.keystore / "keystore.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM state").fetchall()
        holder = subprocess.Popen(
            program.argv(*words, "--lock-timeout", "1h"),
            env=program.environment,
            cwd=program.folder,
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: lock.read_bytes() or holder.poll() is not None)
            assert holder.poll() is None, "it ended without the lock"
            yield holder.pid
        finally:
            reader.execute("ROLLBACK")
            code = holder.wait(TIMEOUT_SECONDS)
    assert code == 0


def test_who_waits_in_vain_is_told_for_whom(program: Program) -> None:
    settings(program, lock_timeout="1h")  # what the option says is not waited for, or this never ends
    with writers_lock(program.keystore, timeout=0, actor=ACTOR):
        busy = program.json("rotate", "llama", "--lock-timeout", "0s", code=6)
        shown = program.run("rotate", "llama", "--lock-timeout", "0s")
        assert program.json("list")["ok"] is True  # readers do not wait
    assert busy["error"]["code"] == "busy"
    words, since = busy["error"]["message"].rsplit(" since ", 1)
    assert words == f"the keystore is in use by process {os.getpid()} on node-7 (a test)"
    assert timedelta() <= datetime.now(UTC) - datetime.fromisoformat(since) < timedelta(seconds=TIMEOUT_SECONDS)
    assert (shown.returncode, busy["error"]["message"] in shown.stderr) == (6, True)
    assert "hint: wait, or use a longer --lock-timeout" in shown.stderr


@pytest.mark.parametrize("words", [["list"], ["generate", "mistral"]])
def test_a_commit_that_waits_for_a_reader_keeps_others_out_and_is_named(program: Program, words: list[str]) -> None:
    with holding(program, "rotate", "llama") as holder:
        busy = program.json(*words, "--lock-timeout", "0s", code=6)
    assert f"is in use by process {holder} on {os.uname().nodename} (rotate) since 20" in busy["error"]["message"]
    assert [key["generation"] for key in program.json("list", "llama", "--all")["result"]["keys"]] == [1, 2]


def test_who_waits_for_a_reader_does_not_name_itself(program: Program) -> None:
    with closing(sqlite3.connect(program.keystore / "keystore.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM state").fetchall()
        busy = program.json("rotate", "llama", "--lock-timeout", "0s", code=6)
    assert busy["error"]["message"].endswith("is in use by another process")


def test_it_waits_for_as_long_as_it_is_told(program: Program) -> None:
    settings(program, lock_timeout="1h")
    with holding(program, "rotate", "llama"):
        began = time.monotonic()
        program.json("generate", "mistral", "--lock-timeout", "1s", code=6)
        assert time.monotonic() - began >= 1


def test_it_waits_for_as_long_as_its_settings_say(program: Program) -> None:
    """The time is taken once it has the lock's file open, so that a slow start says nothing."""
    settings(program, lock_timeout="1s")
    lock = str(program.keystore / "keystore.lock")
    with holding(program, "rotate", "llama"):
        words = program.argv("generate", "mistral")
        began = time.monotonic()
        with subprocess.Popen(words, env=program.environment, stderr=subprocess.DEVNULL) as waiting:
            wait_until(lambda: lock in open_files(waiting.pid) or waiting.poll() is not None)
            found = time.monotonic()
            assert waiting.wait(TIMEOUT_SECONDS) == 6
        assert time.monotonic() - began >= 1
        assert time.monotonic() - found < 8  # ten seconds would be those of the default


def settings(program: Program, **values: str) -> None:
    file = program.keystore / "tiktrue-keys.toml"
    file.write_text("".join(f'{name} = "{value}"\n' for name, value in values.items()))
    file.chmod(0o600)


def open_files(pid: int) -> set[str]:
    found = set()
    with suppress(FileNotFoundError):  # it has ended
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since the listing
                found.add(os.readlink(entry))
    return found


def test_whoever_waits_long_enough_has_its_turn(program: Program) -> None:
    with holding(program, "rotate", "llama"):
        waiting = subprocess.Popen(
            program.argv("generate", "mistral", "--json", "--lock-timeout", "1h"),
            env=program.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(1)
        assert waiting.poll() is None
    output, _ = waiting.communicate(timeout=TIMEOUT_SECONDS)
    assert json.loads(output)["ok"] is True
    assert len(program.json("list", "--all")["result"]["keys"]) == 3
