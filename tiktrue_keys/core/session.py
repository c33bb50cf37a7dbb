"""An opened keystore in use: opened when first needed, one caller at a time, its licenses stretched once.

Acts (core/acts) get a session and nothing else. What it does not handle: what the acts do.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from tiktrue_keys.core import derivation
from tiktrue_keys.core.acts.licenses import License, LicenseCache, PreparedLicense
from tiktrue_keys.core.audit import system_log
from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore import database
from tiktrue_keys.core.keystore.opening import Place, new_keystore, open_keystore
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.store import Keystore, Snapshot, Transaction
from tiktrue_keys.core.machine import MachineFacts, read_facts
from tiktrue_keys.core.names import OperationId, new_operation_id, parse_operation_id
from tiktrue_keys.errors import (
    BusyError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    TikTrueKeysError,
    UsageError,
)

_ITEMS_A_PART = 64  # two key ids of 113 characters each: a part stays below schema.MAX_RECORD
_UNRECORDED = (UsageError, NotFoundError, BusyError, IntegrityError)
# Usage and absence change nothing worth a record, busy and integrity mean that the log cannot be written to.


class Session:
    """One keystore folder as one process uses it. Thread-safe; a forked child opens its own."""

    def __init__(
        self,
        place: Place,
        *,
        clock: Callable[[], float],
        actor: Actor | None = None,
        rounds: int = derivation.PBKDF2_ROUNDS,
    ) -> None:
        if not derivation.PBKDF2_MIN_ROUNDS <= rounds <= derivation.PBKDF2_MAX_ROUNDS:
            raise UsageError(f"PBKDF2 takes at least {derivation.PBKDF2_MIN_ROUNDS} rounds, not {rounds}")
        self.place = place
        self.clock = clock
        self.actor = actor or actor_of_process("python")
        self.licenses = LicenseCache()
        self._rounds = rounds
        self._guard = threading.RLock()
        self._keystore: Keystore | None = None
        self._facts: MachineFacts | None = None
        self._process = os.getpid()
        _sessions.add(self)

    def exists(self) -> bool:
        """Whether there is a keystore in the folder."""
        return database.is_keystore(self.place.folder)

    def facts(self) -> MachineFacts:
        """This machine's facts, read once a session."""
        if self._facts is None:
            self._facts = read_facts()
        return self._facts

    @property
    def keystore(self) -> Keystore:
        """The keystore, opened now if it is not yet."""
        with self._guard:
            if self._keystore is not None and self._process != os.getpid():
                self._keystore = (
                    None  # the parent's connection must not be used here; no transaction was open at the fork
                )
            if self._keystore is None:
                self._process = os.getpid()
                try:
                    self._keystore = open_keystore(self.place, self.facts())
                except TikTrueKeysError as error:
                    if not isinstance(error, NotFoundError):
                        system_log.report(self.actor, error)
                    raise
            return self._keystore

    def close(self) -> None:
        """Close the keystore and forget every secret."""
        with self._guard:
            if self._keystore is not None and self._process == os.getpid():
                self._keystore.close()
            self._keystore = None
            self.licenses.clear()

    @contextlib.contextmanager
    def read(self) -> Iterator[tuple[Snapshot, Instant]]:
        """A snapshot and the effective time in it."""
        with self._guard, self.keystore.read() as view:
            yield view, Instant(max(int(self.clock()), view.audit.newest_time()))

    @contextlib.contextmanager
    def write(self, event: str, operation_id: OperationId, *, accept_clock: bool = False) -> Iterator[Transaction]:
        """A transaction of one act; a refusal or failure inside it is recorded in a transaction of its own."""
        with self._guard:
            try:
                with self.keystore.write(
                    self.clock, actor=self.actor, operation_id=operation_id, accept_clock=accept_clock
                ) as transaction:
                    yield transaction
            except TikTrueKeysError as error:
                self.note_failure(event, operation_id, error)
                raise

    @contextlib.contextmanager
    def create(self, operation_id: OperationId) -> Iterator[Transaction]:
        """The transaction that makes the keystore; the session then has it open."""
        with (
            self._guard,
            new_keystore(
                self.place,
                self.facts(),
                self.clock,
                rounds=self._rounds,
                actor=self.actor,
                operation_id=operation_id,
            ) as (keystore, transaction),
        ):
            self._keystore, self._process = keystore, os.getpid()
            try:
                yield transaction
            except BaseException:
                self._keystore = None
                raise

    def note_failure(self, event: str, operation_id: OperationId, error: TikTrueKeysError) -> None:
        """Record that an act was refused or failed, where the log can be written to."""
        if isinstance(error, _UNRECORDED):
            return
        with (
            contextlib.suppress(TikTrueKeysError),
            self._guard,
            self.keystore.write(self.clock, actor=self.actor, operation_id=operation_id) as transaction,
        ):
            transaction.record(
                event,
                outcome="refused" if isinstance(error, RefusedError) else "failed",
                key_id=error.key_id,
                detail={"error": error.code, "reason": error.message},
            )

    def prepare(self, license_key: License | None) -> PreparedLicense | None:
        """Stretch the license for the keystore's costs, outside any transaction; None stays None."""
        if license_key is None:
            return None
        with self.read() as (view, _):
            costs = view.document.costs
        return self.licenses.prepare(license_key, costs)


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()
_held: list[threading.RLock] = []


def _before_fork() -> None:
    """Wait until no session is inside a transaction: a child that closed its copy of one would roll the parent's back."""
    for session in sorted(_sessions, key=id):
        session._guard.acquire()
        _held.append(session._guard)


def _after_fork() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def chosen_operation_id(operation_id: str | None) -> tuple[OperationId, bool]:
    """The operation id to act under, and whether the caller chose it (then a repetition returns the first result)."""
    if operation_id is None:
        return new_operation_id(), False
    return parse_operation_id(operation_id), True


def first_result(rows: Rows, operation_id: OperationId, act: str) -> list[list[str]] | None:
    """The ids that the act of this operation id gave; None when it was not done; RefusedError for another."""
    payload = rows.get(RecordKind.OPERATION, operation_id)
    if payload is None:
        return None
    if payload["act"] != act:
        raise RefusedError(f"operation {operation_id} was a {payload['act']}", "choose another --operation-id")
    items: list[list[str]] = []
    for part in range(payload["parts"]):
        stored = rows.get(RecordKind.OPERATION, f"{operation_id} {part}")
        items += stored["items"] if stored else []
    return items


def remember_result(transaction: Transaction, act: str, items: list[list[str]]) -> None:
    """Store the ids that an act with a chosen operation id gave, in parts that fit a record."""
    parts = [items[at : at + _ITEMS_A_PART] for at in range(0, len(items), _ITEMS_A_PART)]
    header = {"act": act, "at": transaction.now, "parts": len(parts)}
    transaction.rows.put(RecordKind.OPERATION, transaction.operation_id, header)
    for number, part in enumerate(parts):
        transaction.rows.put(RecordKind.OPERATION, f"{transaction.operation_id} {number}", {"items": part})


def actor_of_process(command: str) -> Actor:
    """Who runs this process, as the system names them; never from the environment, which anybody can set."""
    user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    with contextlib.suppress(ImportError, KeyError):
        import pwd

        user = pwd.getpwuid(os.getuid()).pw_name
    return Actor(user, socket.gethostname(), command)


def default_folder() -> Path:
    """Root: /var/lib/tiktrue-keys; anybody else: the platform's data folder."""
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/tiktrue-keys")
    from platformdirs import user_data_path

    return user_data_path("tiktrue-keys")
