"""A keystore in use by one process: opened when first needed, used by one thread at a time, licenses stretched once.

Come here for how operations get their snapshots and transactions, and how refusals and failures are recorded. Each
operation in core/operations takes a KeystoreSession. core/forks.py handles forks.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tiktrue_keys.core import derivation
from tiktrue_keys.core.approvals.proposals import PlanNeeded, Proposal, approved_plan, needs_approval, store_plan
from tiktrue_keys.core.audit.record import Actor, actor_of_process
from tiktrue_keys.core.audit.system_log import Recorder
from tiktrue_keys.core.forks import keep_over_forks
from tiktrue_keys.core.instants import Instant, Seconds, instant_of
from tiktrue_keys.core.keys.cache import OpenedKeyCache
from tiktrue_keys.core.keys.failure_record import record_failure
from tiktrue_keys.core.keys.license_entries import stretch_of_new, stretches
from tiktrue_keys.core.keys.license_renewal import is_outdated, renew_entry
from tiktrue_keys.core.keys.licenses import License, LicenseCache, PreparedLicense, recognise
from tiktrue_keys.core.keys.list_freshness import RevocationMemory
from tiktrue_keys.core.keystore import database, rehearsal, schema
from tiktrue_keys.core.keystore.bind import renew_slots
from tiktrue_keys.core.keystore.clock import SILENCE, ClockReading, TimeRule, accepted_time, must_not_leap, noted_time
from tiktrue_keys.core.keystore.device_secrets import DeviceSecrets, NoDevices
from tiktrue_keys.core.keystore.document import Cost, Document
from tiktrue_keys.core.keystore.drift_reseal import reseal_is_due, reseal_one, resealed_notice
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.keystore.lock import writers_lock
from tiktrue_keys.core.keystore.machine_secrets import MachineSecret, secrets_with_facts
from tiktrue_keys.core.keystore.make import new_keystore
from tiktrue_keys.core.keystore.open import WayIn, by_machine, open_keystore
from tiktrue_keys.core.keystore.paths import KeystorePaths
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.keystore.secret_place import HostSecret, secret_paths
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.keystore.subject import NOTHING, Subject
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction, unconfirmed_gap
from tiktrue_keys.core.keystore.volatile import VolatileParts, volatile_of, volatile_when_created
from tiktrue_keys.core.machine import FactKind, MachineFacts, read_facts
from tiktrue_keys.core.machine.kernel_clock import kernel_clock_is_synchronised
from tiktrue_keys.core.names import OperationId, new_operation_id, parse_operation_id
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.outputs import KEYSTORES_ONLY, OutputGate
from tiktrue_keys.core.upgrade import upgrade
from tiktrue_keys.errors import (
    BusyError,
    IntegrityError,
    NotFoundError,
    Termination,
    TikTrueKeysError,
    UsageError,
)

_FACTS_HOLD = Seconds(600)
_MAX_GIVEN = 4
"""How many licenses wait for a transaction: a process that only reads may be given many, wrong ones among them."""

_UNRECORDED = (UsageError, NotFoundError, BusyError)
# Usage errors and missing objects are not worth a record; busy means that the log cannot be written to.


class KeystoreSession:
    """One keystore folder as one process uses it. Thread-safe; a forked child opens the keystore again.

    `notices` are those that belong to no operation's result: an upgrade of the schema. With `keeps_version` a keystore
    of an older schema version is written to as it is. `approval` is the number of the approved plan that operations
    under the approval policy may use, `used_approval` whether one did. `after_commit` is called with the number of the
    first record of each commit, once the lock is released; it raises nothing. `first_recorded` is that of this
    session's first commit. `devices` are those that may have a secret in the host secret's place.
    """

    def __init__(
        self,
        place: KeystorePaths,
        *,
        clock: Callable[[], float],
        recorder: Recorder,
        actor: Actor | None = None,
        rounds: int = derivation.PBKDF2_ROUNDS,
        synchronised: Callable[[], bool | None] | None = None,
        protected: OutputGate = KEYSTORES_ONLY,
        machine: Callable[[], MachineFacts] | None = None,
        devices: DeviceSecrets | None = None,
    ) -> None:
        if not derivation.PBKDF2_MIN_ROUNDS <= rounds <= derivation.PBKDF2_MAX_ROUNDS:
            raise UsageError(f"PBKDF2 takes at least {derivation.PBKDF2_MIN_ROUNDS} rounds, not {rounds}")
        self.place = place
        self.clock = clock
        self._synchronised = synchronised or (kernel_clock_is_synchronised if clock is time.time else _unknown)
        self.recorder = recorder
        self.devices = devices or NoDevices()
        self.actor = actor or actor_of_process("python")
        self.licenses = LicenseCache()
        self.opened = OpenedKeyCache()
        self.revocations = RevocationMemory()
        self.notices: list[Notice] = []
        self.keeps_version = False
        self.approval: int | None = None
        self.used_approval = False
        self._given: deque[PreparedLicense] = deque(maxlen=_MAX_GIVEN)
        self.after_commit: Callable[[KeystoreSession, int], None] | None = None
        self.first_recorded: int | None = None
        self._rounds = rounds
        self._protected = protected
        self.guard = threading.RLock()
        self._reading_aside = threading.RLock()
        self.guards = (self.guard, self._reading_aside)
        self._depth = threading.local()
        self._reported: Exception | None = None
        self._keystore: Keystore | None = None
        self._read_machine = machine
        self._facts: MachineFacts | None = None
        self._facts_read_at = 0.0
        self._slots_renewed: Keystore | None = None
        keep_over_forks(self)

    def exists(self) -> bool:
        """Return whether there is a keystore in the folder."""
        if self._keystore is not None:
            return True
        with self.guard:
            return database.is_keystore(self.place.folder, timeout=self.place.timeout)

    def volatile_parts(self) -> VolatileParts:
        """Return what of the keystore, or of one that would be created, is on storage that vanishes."""
        if not self.exists():
            return volatile_when_created(self.place)
        with self.read() as (view, _):
            return volatile_of(view.document, self.place)

    def is_read_only(self) -> bool:
        """Return whether there is a keystore that this process may not write to: a read-only mount, or permissions."""
        places = (self.place.folder, self.place.folder / database.FILE_NAME)
        return self.exists() and not all(os.access(place, os.W_OK) for place in places)

    def facts(self, *, again: bool = False) -> MachineFacts:
        """Return this machine's facts, which are read when the session begins and then every ten minutes.

        `again` reads them now: a part may have changed while the keystore was open.
        """
        age = abs(self.clock() - self._facts_read_at)
        if self._facts is None or again or age >= _FACTS_HOLD:
            self._facts = (self._read_machine or read_facts)()
            self._facts_read_at = self.clock()
        return self._facts

    @property
    def keystore(self) -> Keystore:
        """Return the keystore, and open it if it is not open or was replaced by a restore.

        Raises NotFoundError, InsecureError, IntegrityError or WrongMachineError when it does not open.
        """
        known = self._keystore
        if known is not None and not known.is_replaced():
            return known  # without the guard: a reader must not wait for a writer that waits for the reader
        with self.guard:
            if self._keystore is not None and self._keystore.is_replaced():
                with self._reading_aside:
                    self._keystore.close()
                    self._keystore = None
            if self._keystore is None:
                try:
                    self._keystore = open_keystore(self.place, self.way_in())
                    self._keystore.read_secrets = self._secrets_to_seal
                except TikTrueKeysError as error:
                    if not isinstance(error, NotFoundError):
                        self.report(error)
                    raise
            return self._keystore

    def way_in(self) -> WayIn:
        """Return the way in by this machine."""
        return by_machine(self.place, self.facts(), self.devices)

    def _secrets_to_seal(self, document: Document, known: MachineSecret) -> tuple[MachineSecret, ...]:
        return secrets_with_facts(self.place, self.devices, document, known)

    def close(self) -> None:
        """Close the keystore and forget every secret."""
        with self.guard, self._reading_aside:
            if self._keystore is not None:
                self._keystore.close()
            self._keystore = None
            self._facts = None
            self._given.clear()
            self.licenses.clear()
            self.opened.clear()

    def forget(self) -> None:
        """Drop the parent's keystore in a forked child.

        The fork wiped every secret, and the connection is the parent's. No transaction was open at the fork, so
        closing the child's copy does not affect the parent's file.
        """
        if self._keystore is not None:
            self._keystore.close_connection()
        self._keystore = None
        self._given.clear()
        self.licenses = LicenseCache()
        self.opened = OpenedKeyCache()

    @contextlib.contextmanager
    def read(self) -> Iterator[tuple[Snapshot, Instant]]:
        """Yield a snapshot and the effective time in it. It does not wait for a transaction of another thread."""
        if self.guard.acquire(blocking=False):
            try:
                with self._snapshot() as view:
                    yield view, self.read_clock(view).effective
            finally:
                self.guard.release()
            return
        with self._reading_aside:
            keystore = self._keystore
            if keystore is not None and not keystore.is_replaced():
                with keystore.read(aside=True) as view:
                    yield view, self.read_clock(view).effective
                return
        with self.guard, self._snapshot() as view:  # another thread is opening the keystore
            yield view, self.read_clock(view).effective

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[Snapshot]:
        """Yield a snapshot of the keystore, opened again if a rekey replaced its file and its marks meanwhile."""
        with contextlib.ExitStack() as stack:
            keystore = self.keystore
            try:
                view = stack.enter_context(keystore.read())
            except IntegrityError:
                if not keystore.is_replaced():
                    raise
                view = stack.enter_context(self.keystore.read())
            yield view

    @contextlib.contextmanager
    def write(self, operation_id: OperationId, *, accept_clock: bool = False) -> Iterator[Transaction]:
        """Yield the transaction of one operation. A keystore of an older schema version is upgraded before it.

        With a license that was given since the last transaction, an entry of an older version is renewed before it,
        and one drifted fact is sealed again in it.
        """
        rule = accepted_time if accept_clock else must_not_leap
        given, self._given = self._given, deque(maxlen=_MAX_GIVEN)
        with self.storing_plans():
            for prepared in given:
                if prepared.may_be_outdated:
                    self._renew_license(prepared, rule)
            sealed = None
            with self._write(operation_id, rule) as transaction:
                transaction.approval = self.approval
                yield transaction
                for check in transaction.last_checks:
                    check(transaction)
                if given and transaction.audit.appended:
                    sealed = self._reseal_one(transaction, given)
        self.used_approval |= transaction.used_approval
        if sealed is not None:
            self.notices.append(resealed_notice(sealed))

    @contextlib.contextmanager
    def _write(self, operation_id: OperationId, rule: TimeRule) -> Iterator[Transaction]:
        with self.guard:
            if not self.keeps_version and self.keystore.is_outdated():
                self._upgrade(rule)
        with self.guard:
            keystore = self.keystore
            with keystore.write(
                self.read_clock, actor=self.actor, operation_id=operation_id, time_rule=rule
            ) as transaction:
                first = transaction.audit.size
                renewed: tuple[Notice, ...] = ()
                if self._slots_renewed is not keystore:
                    renewed = renew_slots(keystore, transaction, self.facts())
                yield transaction
            self._slots_renewed = keystore
            self.notices += renewed
            self._committed(transaction, first)

    def _committed(self, transaction: Transaction, first: int) -> None:
        """Tell others of the records of a transaction from the number `first` on."""
        if not transaction.audit.appended:
            return
        if self.first_recorded is None:
            self.first_recorded = first
        if self.after_commit is not None and not transaction.document.rehearsal:
            self.after_commit(self, first)

    @contextlib.contextmanager
    def storing_plans(self) -> Iterator[None]:
        """Run an operation under the approval policy. When it lacks an approval, store its plan.

        Raises NeedsApprovalError then.
        """
        try:
            yield
        except PlanNeeded as needed:
            with self._write(new_operation_id(), noted_time) as transaction:
                plan, count = store_plan(transaction, needed.proposal)
            raise needs_approval(plan, count) from None

    def check_approval(self, proposal: Proposal) -> None:
        """Raise what must_be_approved will raise in the transaction, before anything leaves or is written."""
        with self.storing_plans(), self.read() as (view, now):
            approved_plan(view, now, self.approval, proposal)

    def _reseal_one(self, transaction: Transaction, given: Sequence[PreparedLicense]) -> FactKind | None:
        """Seal to one drifted fact again if that is due and one of the licenses is enrolled here."""
        if not reseal_is_due(transaction, self.facts(), transaction.now):
            return None
        if not any(recognise(each, transaction.rows, self.root_keys) for each in given):
            return None
        return reseal_one(self.keystore, transaction, self.facts())

    def _renew_license(self, prepared: PreparedLicense, rule: TimeRule) -> None:
        """Renew the entry of a license that an older program enrolled. A damaged keystore stays as it is."""
        if self.keeps_version:
            return
        with self.guard:
            if self.keystore.is_outdated():
                self._upgrade(rule)
            with self.read() as (view, _):
                if not view.rows.has_agenda or not is_outdated(prepared, view.rows, self.root_keys):
                    return
            try:
                with self._write(new_operation_id(), rule) as transaction:
                    renew_entry(transaction, self.root_keys, prepared)
            except IntegrityError as error:
                words = f"the license's entry was not renewed: {error.message}"
                self.notices.append(Notice("license-not-renewed", words, remedy="damaged-keystore"))

    def _upgrade(self, rule: TimeRule) -> None:
        """Upgrade the keystore. One that is damaged stays as it is: a revocation must be possible all the same."""
        try:
            self.notices.append(upgrade(self.keystore, self.read_clock, self.actor, rule))
        except IntegrityError as error:
            self.keeps_version = True
            words = f"the keystore's schema was not upgraded: {error.message}"
            self.notices.append(Notice("schema-not-upgraded", words, remedy="damaged-keystore", urgent=True))

    def clock_reading(self, view: Snapshot) -> ClockReading:
        """Return the clock and everything that it is judged by."""
        reading = self.read_clock(view)
        return replace(reading, synchronised=self._synchronised(), unconfirmed=unconfirmed_gap(view.rows))

    def renew_heartbeat(self) -> None:
        """Write the heartbeat of a scheduled run into the mark, once a day.

        Raises BusyError, or UnavailableError when the mark cannot be written.
        """
        with self.guard:
            self.keystore.renew_heartbeat(self.clock_reading, actor=self.actor)

    def read_clock(self, view: Snapshot) -> ClockReading:
        """Return the clock as a transaction needs it: the kernel is asked only about a long silence."""
        reading = ClockReading(instant_of(self.clock()), view.audit.newest_time(), view.heartbeat)
        return replace(reading, synchronised=self._synchronised()) if reading.ahead > SILENCE else reading

    @contextlib.contextmanager
    def noting(self, event: str, operation_id: str | None = None, subject: Subject = NOTHING) -> Iterator[None]:
        """Run a whole operation on `subject`, and record its refusal or failure in a transaction of its own."""
        depth = getattr(self._depth, "noting", 0)
        self._depth.noting = depth + 1
        try:
            yield
        except TikTrueKeysError as error:
            if depth == 0:  # the operation that was requested, not one that is part of it
                self.note_failure(event, error, operation_id, subject)
            raise
        except Termination as stopped:
            if depth == 0:
                self.note_failure(event, stopped.error(stopped.message), operation_id, subject)
            raise
        finally:
            self._depth.noting = depth

    def output_gate(self) -> OutputGate:
        """Return the gate that protects the keystore, its host secret and marks, and what the caller named."""
        with self.read() as (view, _):
            document = view.document
        gate = self._protected
        for path in secret_paths(self.place, document):
            gate = gate.also("the host secret", path)
        folders = [path.parent for path in self.mark_paths()]
        return gate.of_keystore(self.place.folder, self.secret_path(), *folders)

    def secret_path(self) -> Path:
        """Return the path of the host secret in use."""
        secret = self.keystore.host_secret
        return secret.path if isinstance(secret, HostSecret) else Path(self.keystore.document_now().host_secret_path)

    @contextlib.contextmanager
    def accepting_lost_marks(self) -> Iterator[None]:
        """Let the block use a keystore of which no mark is left, to replace the mark."""
        with self.guard, self.keystore.accepting_lost_marks():
            yield

    def mark_paths(self) -> tuple[Path, ...]:
        """Return the paths of the keystore's high-water marks."""
        keystore = self.keystore
        return keystore.marks.paths(keystore.document_now())

    @property
    def root_keys(self) -> RootKeys:
        """The opened keystore's secret H and its id: what managed keys are wrapped under."""
        return self.keystore.keys

    @property
    def root(self) -> memoryview:
        """H itself, 32 bytes."""
        return self.keystore.keys.root.view

    def signer(self, view: Snapshot) -> Signer:
        """Signs as this keystore: containers, manifests, cards, envelopes. Raises RefusedError in a rehearsal."""
        if view.document.rehearsal:
            raise rehearsal.refused("a signature")
        return self.keystore.signers.identity(view.rows)

    def must_be_rehearsed(self, operation: str) -> None:
        """Raise RefusedError for an operation that the opened keystore, a rehearsal, would refuse to record."""
        if self._keystore is not None and self._keystore.is_rehearsal and operation not in rehearsal.REHEARSED:
            raise rehearsal.refused(operation)

    def release_reserve(self) -> bool:
        """Free the disk space that is reserved for a revocation. Return False when there is none."""
        with self.guard:
            return self.keystore.release_reserve()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[Keystore]:
        """Yield the keystore outside any transaction while no other process can write; for copying the file."""
        with self.guard:
            keystore = self.keystore
            with writers_lock(self.place.folder, timeout=self.place.timeout, actor=self.actor):
                keystore.must_be_in_place()
                yield keystore

    def new_cost(self) -> Cost:
        """Return the PBKDF2 setting of a keystore about to be created, so that its license can be stretched first."""
        return Cost(os.urandom(derivation.SALT_LENGTH), self._rounds)

    @contextlib.contextmanager
    def create(self, operation_id: OperationId, cost: Cost) -> Iterator[Transaction]:
        """Yield the transaction that creates the keystore. The session has the keystore open from then on."""
        with self.guard:
            try:
                with new_keystore(
                    self.place, self.facts(), self.clock, cost=cost, actor=self.actor, operation_id=operation_id
                ) as (keystore, transaction):
                    self._keystore = keystore
                    yield transaction
            except BaseException:
                self._keystore = None
                raise
            self._committed(transaction, 0)

    def note_failure(
        self, event: str, error: TikTrueKeysError, operation_id: str | None = None, subject: Subject = NOTHING
    ) -> None:
        """Record that an operation was refused or failed. A keystore that did not open has been reported.

        Waits for the lock as an operation does. What the audit log cannot hold goes to the system log, and a notice
        says so. A doubtful clock does not get into the log by it: the record then bears the last known time.
        """
        if isinstance(error, _UNRECORDED) or error is self._reported:
            return
        try:
            with self.guard:
                if self.exists():
                    self._record_failure(event, error, operation_id, subject)
        except TikTrueKeysError as reason:
            self.report(error)
            if reason.message == error.message:
                return  # the error says itself that nothing can be written
            words = f"this {event} is not in the audit log: {reason.message}"
            self.notices.append(Notice("not-recorded", words, remedy="system-log", urgent=True))

    def report(self, error: Exception) -> None:
        """Report an error of an operation to the system log, once."""
        if error is not self._reported:
            self._reported = error
            self.recorder.report(self.actor, error)

    def _record_failure(self, event: str, error: TikTrueKeysError, operation_id: str | None, subject: Subject) -> None:
        operation = parse_operation_id(operation_id) if operation_id else new_operation_id()
        with self.keystore.write(
            self.read_clock, actor=self.actor, operation_id=operation, time_rule=noted_time
        ) as transaction:
            first = transaction.audit.size
            record_failure(transaction, event, error, subject)
        self._committed(transaction, first)

    def prepare(self, license_key: License | None) -> PreparedLicense | None:
        """Return the license stretched as this keystore needs it, outside any transaction. None stays None.

        The next transaction does what only a license may, if this one is enrolled: see `write`.
        """
        if license_key is None:
            return None
        with self.read() as (view, _):
            wanted = stretches(view.rows, view.document, self.root_keys)
        prepared = self.licenses.prepare(license_key, wanted)
        if not any(prepared.is_same(each) for each in self._given):
            self._given.append(prepared)
        return prepared

    def prepare_first(self, license_key: License | None, cost: Cost) -> PreparedLicense | None:
        """Return the license stretched for a keystore that is about to be created with this cost. None stays None."""
        if license_key is None:
            return None
        return self.licenses.prepare(license_key, stretch_of_new(cost, schema.VERSION))


def _unknown() -> None:
    """The kernel's word is about its own clock, and says nothing about a clock of the caller's."""
