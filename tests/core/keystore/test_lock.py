"""The writers' lock: one operation at a time, and who waits hears for whom."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.keystores import ACTOR, LICENSE, Desk, error_of
from tests.waiting import PATIENCE
from tiktrue_keys.core.keystore.lock import FILE_NAME, writers_lock
from tiktrue_keys.errors import BusyError


def test_it_names_its_holder_to_whoever_waits_in_vain(tmp_path: Path) -> None:
    with writers_lock(tmp_path, timeout=1, actor=ACTOR):
        began = time.monotonic()
        error = error_of(lambda: writers_lock(tmp_path, timeout=0.1, actor=ACTOR).__enter__())
        assert time.monotonic() - began >= 0.1
    assert isinstance(error, BusyError)
    assert f"process {os.getpid()} on node-7 (a test) since 20" in error.message
    assert error.remedy == "wait-longer"


def test_a_timeout_of_nothing_tries_once(tmp_path: Path) -> None:
    with writers_lock(tmp_path, timeout=0, actor=ACTOR):
        assert isinstance(error_of(lambda: writers_lock(tmp_path, timeout=0, actor=ACTOR).__enter__()), BusyError)
    with writers_lock(tmp_path, timeout=0, actor=ACTOR):
        pass


def test_whoever_waits_gets_it_when_it_is_let_go(tmp_path: Path) -> None:
    order: list[str] = []

    def wait() -> None:
        with writers_lock(tmp_path, timeout=PATIENCE, actor=ACTOR):
            order.append("second")

    with writers_lock(tmp_path, timeout=1, actor=ACTOR):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_it_is_let_go_after_an_exception_and_says_nothing_then(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writers_lock(tmp_path, timeout=1, actor=ACTOR):
        raise ZeroDivisionError
    assert (tmp_path / FILE_NAME).read_bytes() == b""
    with writers_lock(tmp_path, timeout=0, actor=ACTOR):
        pass


@pytest.mark.parametrize(
    "holder", [b"", b"{}", b"\xff" * 600, b'{"pid": "x"}', b'{"pid": 1, "since": 1e400}', b"[" * 500]
)
def test_a_lock_file_of_nonsense_still_gives_a_message(tmp_path: Path, holder: bytes) -> None:
    with writers_lock(tmp_path, timeout=1, actor=ACTOR):
        (tmp_path / FILE_NAME).write_bytes(holder)
        error = error_of(lambda: writers_lock(tmp_path, timeout=0, actor=ACTOR).__enter__())
    assert isinstance(error, BusyError)
    assert "another process" in error.message


def test_readers_do_not_wait_for_it(desk: Desk) -> None:
    desk.manager().generate("llama", license_key=LICENSE)
    with writers_lock(desk.folder, timeout=1, actor=ACTOR):
        assert desk.manager(lock_timeout=3600).find("llama").generation == 1  # or this never ends
        error = error_of(lambda: desk.manager(lock_timeout=0.05).revoke(["llama"], reason="x"))
    assert isinstance(error, BusyError)
    assert desk.manager().find("llama").status.value == "active"


def test_a_reader_in_another_program_makes_a_writer_wait_not_fail(desk: Desk) -> None:
    # SQLite itself cannot commit while another process reads, so the writer waits, for at most the lock timeout.
    desk.manager().generate("llama", license_key=LICENSE)
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN');"
        "c.execute('SELECT * FROM state').fetchall(); print(flush=True); sys.stdin.readline(); c.close()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, str(desk.file)], stdin=pipe, stdout=pipe) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdout.readline()
        busy = error_of(lambda: desk.manager(lock_timeout=0.05).revoke(["llama"], reason="too early"))
        letting_go = threading.Timer(0.3, reader.stdin.close)
        letting_go.start()
        desk.manager(lock_timeout=PATIENCE).revoke(["llama"], reason="late enough")
        letting_go.join()
    assert isinstance(busy, BusyError)
    assert "database is locked" not in busy.message
    assert desk.manager().find("llama").revoke_reason == "late enough"
