"""Keystores for tests: folder, host secret and a clock that moves when told, all below one temporary folder.

    desk = Desk(tmp_path)
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE)
    desk.clock.forward(days=31)

Use it in a `with` block, or by a fixture: every manager is closed at the end.
"""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.untraced import leave_measurement
from tiktrue_keys.core.audit.record import Actor, AuditRecord
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.instants import DAY, Instant
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.device_secrets import DeviceSecrets
from tiktrue_keys.core.keystore.paths import KeystorePaths
from tiktrue_keys.core.machine import MachineFacts
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import TikTrueKeysError

NOON = Instant(1_795_608_000)  # 2026-11-25T12:00:00Z
LICENSE = "a license, made up for tests"
OTHER_LICENSE = "another license, made up for tests"
FILE_ID = bytes(range(16))
ACTOR = Actor(user="ada", host="node-7", command="a test")

FULL_RUN = bool(os.environ.get("TESTS_IN_FULL"))
"""Campaigns try everything instead of a sample, and every program is a fresh interpreter."""


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return float(self.now)

    def forward(self, *, days: float = 0, seconds: int = 0) -> Instant:
        """Move on (or back, when negative) and return the new instant."""
        self.now += int(days * DAY) + seconds
        return Instant(self.now)


class Heard:
    """Keeps what the audit log cannot hold, in the place of the system's log."""

    def __init__(self) -> None:
        self.errors: list[tuple[Actor, Exception]] = []
        self.entries: list[AuditRecord] = []

    def report(self, actor: Actor, error: Exception) -> None:
        """A refusal before the keystore was open."""
        self.errors.append((actor, error))

    def record(self, entry: AuditRecord) -> None:
        """A record of a keystore that cannot be written to."""
        self.entries.append(entry)


class Desk:
    """One place for a keystore and all that belongs to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "keys"
        self.secret = folder / "host/secret"
        self.clock = Clock()
        self.heard = Heard()
        self._open: list[KeyManager | KeystoreSession] = []

    @property
    def file(self) -> Path:
        """The database."""
        return self.folder / "keystore.db"

    @property
    def mark(self) -> Path:
        """The high-water mark; there must be exactly one."""
        (found,) = self.secret.parent.glob("*.mark")
        return found

    def manager(self, **options: Any) -> KeyManager:
        """A KeyManager of its own connection, with the cheapest PBKDF2 and the desk's clock."""
        settings: dict[str, Any] = {
            "host_secret_file": self.secret,
            "clock": self.clock,
            "pbkdf2_rounds": PBKDF2_MIN_ROUNDS,
            "actor": ACTOR,
            "recorder": self.heard,
        }
        manager = KeyManager(self.folder, **(settings | options))
        self._open.append(manager)
        return manager

    def session(
        self, machine: Callable[[], MachineFacts] | None = None, devices: DeviceSecrets | None = None
    ) -> KeystoreSession:
        """A session as the operations get it, on a made-up machine and with devices if they are given."""
        session = KeystoreSession(
            KeystorePaths(self.folder, self.secret),
            clock=self.clock,
            recorder=self.heard,
            actor=ACTOR,
            rounds=PBKDF2_MIN_ROUNDS,
            machine=machine,
            devices=devices,
        )
        self._open.append(session)
        return session

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every manager and session: nothing holds the file any more."""
        for each in self._open:
            each.close()

    def edit(self, *statements: str) -> int:
        """Do to the closed database what somebody with an SQLite shell can do; returns how many rows changed."""
        self.close()
        connection = sqlite3.connect(self.file)
        try:
            before = connection.total_changes
            for statement in statements:
                connection.execute(statement)
            connection.commit()
            return connection.total_changes - before
        finally:
            connection.close()

    def rows(self, query: str) -> list[Any]:
        """What a query gives over the closed database."""
        connection = sqlite3.connect(self.file)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A temporary folder that lives in memory where there is one: every operation syncs its files several times."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@contextmanager
def desk_in_memory() -> Iterator[Desk]:
    """A desk in such a folder."""
    with folder_in_memory() as folder, Desk(folder) as made:
        yield made


def container(key: ManagedKey, *more: ManagedKey, **changes: Any) -> ContainerRecord:
    """A registered container that `key` (and `more`) open."""
    keys = frozenset(one.key_id for one in (key, *more))
    record = ContainerRecord(FILE_ID, "/models/llama.ttm", key.model_id, "llama", keys, NOON)
    return replace(record, **changes)


def file_operation(
    operation: str, *, before: tuple[ManagedKey, ...] = (), after: tuple[ManagedKey, ...] = (), **more: Any
) -> FileIntent:
    """An intent about /models/llama.ttm."""
    members: dict[str, Any] = {"file_id": FILE_ID, "path": "/models/llama.ttm", "model_id": "llama", "name": "llama"}
    keys_before = frozenset(key.key_id for key in before)
    keys_after = frozenset(key.key_id for key in after)
    return FileIntent(operation=operation, keys_before=keys_before, keys_after=keys_after, **(members | more))


def error_of(call: Callable[[], object]) -> TikTrueKeysError | None:
    """The error of ours that the call ends in, or None; any other exception passes and fails the test."""
    try:
        call()
    except TikTrueKeysError as error:
        return error
    return None


def answers(manager: KeyManager) -> dict[str, Any]:
    """Everything that the manager tells about its keystore, in comparable form."""
    keys = sorted(manager.keys(), key=lambda key: key.key_id)
    return {
        "keys": keys,
        "found": [manager.find(key.key_id) for key in keys],
        "chains": [manager.chain(key) for key in keys],
        "containers": manager.containers(),
        "of a key": [manager.containers(key.key_id) for key in keys],
        "intents": manager.open_intents(),
        "rotations": [manager.rotation_event(key.key_id) for key in keys],
        "records": list(manager.audit_records()),
        "verified": manager.audit_verify(),
        "checkpoint": manager.audit_checkpoint(),
        "document": manager.document(),
    }


def models(manager: KeyManager) -> list[str]:
    """The model ids of all keys, sorted."""
    found = manager.keys()
    return sorted(key.model_id for key in found)


def events(manager: KeyManager) -> list[tuple[str, str]]:
    """Event and outcome of every audit record, in order."""
    return [(record.event, record.outcome) for record in manager.audit_records()]


def in_a_child(work: Callable[[], bytes]) -> bytes:
    """What `work` gives in a forked child, at most 64 KiB; its exception as text when it raises."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads, our subject
        child = os.fork()
    if child == 0:
        try:
            leave_measurement()
            said = work()
        except BaseException as error:  # noqa: BLE001  the parent has to hear of it
            said = repr(error).encode()
        os.write(writing, said)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said
