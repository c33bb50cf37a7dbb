"""What is not a keystore of ours, and what can only be read."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.keystores import LICENSE, Desk, answers, error_of, events
from tests.machines import skip_reason
from tests.waiting import PATIENCE
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.keystore import schema
from tiktrue_keys.core.keystore.database import translated
from tiktrue_keys.core.keystore.leftovers import CREATING
from tiktrue_keys.errors import (
    BusyError,
    DiskFullError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    TikTrueKeysError,
    UnavailableError,
)

_UNSHARE = ("unshare", "--mount", "--propagation", "private", "sh", "-c")


def a_text(path: Path) -> None:
    path.write_text("not a database, but longer than a header of one is\n" * 40)


def a_foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE anything (x)")
    connection.commit()
    connection.close()


def zeros(path: Path) -> None:
    path.write_bytes(bytes(8192))


@pytest.mark.parametrize("make", [a_text, a_foreign_database, zeros])
def test_a_file_of_something_else_is_refused_and_left_alone(desk: Desk, make: Callable[[Path], None]) -> None:
    desk.folder.mkdir(mode=0o700)
    make(desk.file)
    desk.file.chmod(0o600)
    before = desk.file.read_bytes()
    for operation in (lambda: desk.manager().find("m"), lambda: desk.manager().generate("m", license_key=LICENSE)):
        assert isinstance(error_of(operation), IntegrityError)
    assert desk.file.read_bytes() == before


def another_header(desk: Desk) -> None:
    desk.edit("UPDATE header SET mac = zeroblob(32)")


def another_host_secret(desk: Desk) -> None:
    desk.secret.write_bytes(bytes(32))


def a_later_version(desk: Desk) -> None:
    desk.edit(f"PRAGMA user_version = {schema.VERSION + 1}")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc on this system")
@pytest.mark.parametrize("change", [another_header, another_host_secret, a_later_version])
def test_what_refuses_to_open_is_closed_again(desk: Desk, change: Callable[[Desk], None]) -> None:
    """Whoever holds the error holds its traceback, and every name in it: nothing is left to the garbage collector."""
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE)
    desk.close()
    change(desk)
    copy = desk.folder.parent / "copy.db"
    copy.write_bytes(desk.file.read_bytes())
    assert all([error_of(lambda: manager.find("llama")), error_of(lambda: manager.restore(copy))])
    assert open_databases(desk) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc on this system")
def test_a_keystore_that_cannot_be_made_is_closed_again(desk: Desk) -> None:
    desk.folder.mkdir(mode=0o700)
    (desk.folder / CREATING / "in the way").mkdir(parents=True)
    error = error_of(lambda: desk.manager().generate("llama", license_key=LICENSE))
    assert isinstance(error, TikTrueKeysError)
    assert open_databases(desk) == []
    assert not desk.file.exists()


def open_databases(desk: Desk) -> list[str]:
    opened = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return [path for path in opened if path.startswith(str(desk.folder.parent)) and ".db" in path]


def test_nothing_there_is_said_with_the_way_out(desk: Desk) -> None:
    error = error_of(lambda: desk.manager().find("m"))
    assert isinstance(error, NotFoundError)
    assert str(desk.folder) in error.message
    assert "generate" in error.hint
    assert not desk.folder.exists()


def test_an_empty_file_is_what_a_killed_creation_left(desk: Desk) -> None:
    desk.folder.mkdir(mode=0o700)
    desk.file.touch(mode=0o600)
    with desk.manager() as manager:
        assert not manager.exists()
        assert isinstance(error_of(lambda: manager.find("m")), NotFoundError)
        assert manager.generate("m", license_key=LICENSE).created_keystore
        assert manager.audit_verify() == 3


def test_a_later_version_asks_for_a_later_program(desk: Desk) -> None:
    desk.manager().generate("m", license_key=LICENSE)
    desk.edit("PRAGMA user_version = 1000")
    error = error_of(lambda: desk.manager().find("m"))
    assert isinstance(error, IntegrityError)
    assert "upgrade" in error.hint


def test_the_file_says_what_it_is(desk: Desk) -> None:
    desk.manager().generate("m", license_key=LICENSE)
    desk.close()
    assert desk.rows("PRAGMA application_id") == [(0x54544B31,)]
    assert desk.rows("PRAGMA journal_mode") == [("delete",)]
    assert not list(desk.folder.glob("*-wal")) + list(desk.folder.glob("*-journal"))


def test_the_settings_that_the_promises_rest_on_are_in_force(desk: Desk) -> None:
    desk.manager().generate("m", license_key=LICENSE)
    connection = desk.manager()._session.keystore._writer.sqlite  # a manager of its own: opened, not created
    wanted = {"synchronous": 3, "secure_delete": 1, "trusted_schema": 0, "cell_size_check": 1, "temp_store": 2}
    assert {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted} == wanted


@pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason()))
def test_on_a_read_only_file_system_it_reads_and_refuses_to_write(desk: Desk, tmp_path: Path) -> None:
    desk.manager().generate("llama", license_key=LICENSE)
    desk.close()
    program = f"""
import sys
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import TikTrueKeysError
manager = KeyManager({str(desk.folder)!r})
print(manager.find("llama").generation, manager.open_key("llama", {LICENSE!r}, use=Use.DECRYPT).key.generation)
try:
    manager.revoke(["llama"], reason="x")
except TikTrueKeysError as error:
    print(error.code, error.message)
manager.close()
"""
    said = in_a_namespace(f"mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path}", program)
    assert said.startswith("1 1\n")
    assert "read-only" in said.lower() or "cannot be" in said
    assert desk.manager().find("llama").status.value == "active"


@pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason()))
def test_a_full_disk_leaves_everything_as_it_was(desk: Desk, tmp_path: Path) -> None:
    program = f"""
import os
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import TikTrueKeysError
manager = KeyManager("{tmp_path}/small/keys", host_secret_file={str(desk.secret)!r}, pbkdf2_rounds=100_000)
manager.generate("llama", license_key={LICENSE!r})
before = manager.audit_size()
ballast = os.open("{tmp_path}/small/ballast", os.O_CREAT | os.O_WRONLY)
try:
    while os.write(ballast, bytes(4096)):
        pass
except OSError:
    pass
try:
    manager.generate("batch", license_key={LICENSE!r}, count=500)
    print("no error")
except TikTrueKeysError as error:
    print(error.code)
os.truncate("{tmp_path}/small/ballast", 0)
print(manager.audit_size() - before, [key.model_id for key in list(manager.keys())], manager.audit_verify() > 0)
print(len(manager.generate("batch", license_key={LICENSE!r}, count=500).keys))
manager.close()
"""
    (tmp_path / "small").mkdir()
    said = in_a_namespace(f"mount -t tmpfs -o size=2m,mode=0755 small {tmp_path}/small", program)
    first, state, again = said.splitlines()
    assert first == "unavailable"
    assert state in ("0 ['llama'] True", "1 ['llama'] True")
    assert again == "500"


def in_a_namespace(mounts: str, program: str) -> str:
    """What a Python program prints with mounts of its own."""
    done = subprocess.run(
        [*_UNSHARE, f'{mounts} && exec "$@"', "sh", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("database is locked", BusyError),
        ("database table is locked", BusyError),
        ("database or disk is full", DiskFullError),
        ("disk I/O error", UnavailableError),
        ("unable to open database file", UnavailableError),
        ("attempt to write a readonly database", RefusedError),
        ("database disk image is malformed", IntegrityError),
        ("file is not a database", IntegrityError),
        ("no such table: state", IntegrityError),
    ],
)
def test_what_sqlite_says_in_our_words(words: str, kind: type[TikTrueKeysError]) -> None:
    error = translated(sqlite3.OperationalError(words), Path("/k/keystore.db"))
    assert type(error) is kind
    assert "/k/keystore.db" in error.message


def test_what_was_written_is_read_by_another_manager(desk: Desk) -> None:
    with desk.manager() as one, desk.manager() as other:
        one.generate("llama", license_key=LICENSE)
        assert other.find("llama").generation == 1
        one.rotate(["llama"], license_key=LICENSE)
        assert other.find("llama").generation == 2
        with (
            one.open_key("llama", LICENSE, use=Use.ENCRYPT) as mine,
            other.open_key("llama", LICENSE, use=Use.ENCRYPT) as theirs,
        ):
            assert mine.secret.view == theirs.secret.view
        assert answers(one) == answers(other)
        assert events(one) == events(other)
