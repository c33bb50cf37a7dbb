"""Hostile files around a keystore: its database, its lock, its host secret and its mark, each read by a command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.independent.encoding import canonical
from tests.independent.hostile import (
    INSECURE,
    INTEGRITY,
    NOT_FOUND,
    OK,
    REFUSED,
    UNAVAILABLE,
    WRONG_MACHINE,
    Lair,
    Row,
    at_copies,
)


def _place(name: str, change: Callable[[Path], object], code: int, *command: str) -> Row:
    """Copies of keystore, host secret and mark in the folder `at`, which are changed before the command reads them."""

    def make(lair: Lair) -> None:
        change(at_copies(lair))

    places = ("--keystore", "at/keystore", "--host-secret", "at/host/secret")
    return Row(f"place, {name}", make, (*(command or ("list",)), *places), code)


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _mark(at: Path) -> Path:
    (mark,) = (at / "host").glob("*.mark")
    return mark


def _edited(at: Path, **members: object) -> None:
    mark = _mark(at)
    mark.write_bytes(canonical(json.loads(mark.read_bytes()) | members))


_REVOKE = ("revoke", "--model", "llama", "--yes", "--reason", "leaked")

PLACES = [
    _place("good ones", lambda _: None, OK),
    _place("database a link", lambda at: _linked(at / "keystore/keystore.db"), INSECURE),
    _place("database that others can read", lambda at: (at / "keystore/keystore.db").chmod(0o644), INSECURE),
    _place("database a FIFO", lambda at: _replaced(at / "keystore/keystore.db", os.mkfifo), INSECURE),
    _place("database a folder", lambda at: _replaced(at / "keystore/keystore.db", os.mkdir), INSECURE),
    _place("database empty", lambda at: os.truncate(at / "keystore/keystore.db", 0), NOT_FOUND),
    _place("database missing", lambda at: (at / "keystore/keystore.db").unlink(), NOT_FOUND),
    _place("folder a link", lambda at: _linked(at / "keystore"), INSECURE),
    _place("folder that others can read", lambda at: (at / "keystore").chmod(0o755), INSECURE),
    _place("journal that is none", lambda at: (at / "keystore/keystore.db-journal").write_bytes(b"x" * 600), OK),
    _place("lock a folder", lambda at: _replaced(at / "keystore/keystore.lock", os.mkdir), UNAVAILABLE, *_REVOKE),
    _place("lock a FIFO", lambda at: _replaced(at / "keystore/keystore.lock", os.mkfifo), UNAVAILABLE, *_REVOKE),
    _place("lock a link", lambda at: _linked(at / "keystore/keystore.lock"), INSECURE, *_REVOKE),
    _place("host secret of 31 bytes", lambda at: os.truncate(at / "host/secret", 31), INTEGRITY),
    _place("host secret of 33 bytes", lambda at: os.truncate(at / "host/secret", 33), INTEGRITY),
    _place("host secret of 1 TiB", lambda at: os.truncate(at / "host/secret", 1 << 40), INTEGRITY),
    _place("another host secret", lambda at: (at / "host/secret").write_bytes(bytes(32)), WRONG_MACHINE),
    _place("host secret a link", lambda at: _linked(at / "host/secret"), INSECURE),
    _place("host secret a FIFO", lambda at: _replaced(at / "host/secret", os.mkfifo), INSECURE),
    _place("host secret that others can read", lambda at: (at / "host/secret").chmod(0o644), INSECURE),
    _place("host secret missing", lambda at: (at / "host/secret").unlink(), WRONG_MACHINE),
    _place("mark missing", lambda at: _mark(at).unlink(), INTEGRITY),
    _place("mark empty", lambda at: _mark(at).write_bytes(b""), INTEGRITY),
    _place("mark of another size", lambda at: _edited(at, size=99), INTEGRITY),
    _place("mark with one member more", lambda at: _edited(at, note=""), INTEGRITY),
    _place("mark with another MAC", lambda at: _edited(at, mac="00" * 32), INTEGRITY),
    _place("mark of 1 TiB", lambda at: os.truncate(_mark(at), 1 << 40), INTEGRITY),
    _place("mark a link", lambda at: _linked(_mark(at)), INSECURE),
    _place("mark a FIFO", lambda at: _replaced(_mark(at), os.mkfifo), REFUSED),
]
