"""The operations `restore` and `escrow recover`: put a backup in the keystore's place.

Come here for what is carried over from the replaced keystore: revocations, destructions, containers, the escrow, the
approval policy (restored_policy.py) and releases (restored_releases.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tiktrue_keys.core.approvals.proposals import Proposal
from tiktrue_keys.core.containers.intents import FileIntent, every_intent, put_intent
from tiktrue_keys.core.containers.registry import ContainerRecord, every_container, get_container, put_container
from tiktrue_keys.core.dispatch.releases import Release, all_releases
from tiktrue_keys.core.keys.keyring import all_keys, get_key, put_key, verify_keys
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore import database
from tiktrue_keys.core.keystore.backup import Restored, blamed_on_backup, clear_header, restoring
from tiktrue_keys.core.keystore.document import Slot
from tiktrue_keys.core.keystore.open import WayIn, open_at
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.slots import escrow_slots
from tiktrue_keys.core.keystore.transaction import REGISTRY, Snapshot, Transaction
from tiktrue_keys.core.keystore.volatile import volatile_of
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.backup import BACKUP, no_backup_holds_it
from tiktrue_keys.core.operations.restored_policy import ReplacedPolicy, carry_policy, proposal_of, replaced_policy
from tiktrue_keys.core.operations.restored_releases import carry_releases
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.operations.standing_notices import ESCROW_RECORD, storage_notices
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import BusyError, TikTrueKeysError

RESTORE = "restore"


@dataclass(frozen=True, kw_only=True)
class RestoredKeystore(OperationResult):
    """The keystore that was restored."""

    restored: Restored


def restore(
    session: KeystoreSession,
    source: Path,
    way_in: WayIn | None = None,
    *,
    event: str = RESTORE,
    also: Callable[[Transaction], None] | None = None,
    accept_clock: bool = False,
    reset_policy: bool = False,
    operation_id: str | None,
) -> RestoredKeystore:
    """Put a backup in the keystore's place as a new epoch.

    It is opened by this machine unless `way_in` is given; then it is bound to this machine. The caller has asked for
    confirmation: the present keystore is replaced, with its approval where its policy wants one. `also` runs in the
    same transaction. `reset_policy` removes the approval policy, for the holders of an escrow.
    """
    arguments = {"source": str(source.absolute()), "accept_clock": accept_clock, "reset_policy": reset_policy}
    asked = OperationRequest.of(event, operation_id, arguments)
    do = partial(_restore, session, source, way_in, event, also, accept_clock, reset_policy)
    return once(session, asked, do, _repeated, must_open=False)


def _restore(
    session: KeystoreSession,
    source: Path,
    way_in: WayIn | None,
    event: str,
    also: Callable[[Transaction], None] | None,
    accept_clock: bool,
    reset_policy: bool,
    operation: Operation,
) -> RestoredKeystore:
    way_in = way_in or session.way_in()
    session.close()
    last_epoch = _present_epoch(session, source, way_in)
    with (
        session.storing_plans(),
        restoring(
            session.place,
            source,
            way_in,
            session.facts(),
            session.clock,
            session.read_clock,
            event=event,
            actor=session.actor,
            operation_id=operation.id,
            accept_clock=accept_clock,
            last_epoch=last_epoch,
        ) as (transaction, restored),
    ):
        with blamed_on_backup(source):
            verify_keys(transaction.rows, transaction.now)
        proposal = proposal_of(transaction, source, accept_clock=accept_clock)
        remembered, notices = _remembered(
            session, source, way_in, proposal
        )  # under the lock, so that no other process writes there
        _note_backup(transaction, source, restored)
        carry_policy(transaction, remembered.policy, restored.policy, reset=reset_policy)
        revived = [_withdraw(transaction, key) for key in remembered.withdrawn]
        _carry_registry(transaction, remembered)
        notices += _carry_escrow(transaction, remembered)
        if remembered.keystore_id == transaction.document.keystore_id:
            carry_releases(transaction, remembered.releases)
        notices += storage_notices(volatile_of(transaction.document, session.place))
        if also is not None:
            also(transaction)
        operation.remember(transaction, [[str(restored.epoch), str(restored.audit_size)]])
    session.used_approval |= transaction.used_approval
    if remembered.rekeys > len(transaction.document.former):
        words = "the backup is from before the newest rekey: what opened the keystore until then opens it again"
        notices.append(Notice("rekey-undone", words, remedy="rekey-again"))
    if any(revived):
        notices.append(
            Notice("carried-over", f"kept revoked or destroyed, as before the restore: {plural(sum(revived), 'key')}")
        )
    if restored.replaced is not None:
        words = f"the replaced keystore is kept as {restored.replaced}: delete it when you no longer need it"
        notices.append(Notice("replaced-keystore", words))
    if restored.leaves_another:
        words = "if this keystore lies in another folder of this machine too, it no longer opens there"
        notices.append(Notice("other-copy", words, remedy="restore-the-other"))
    notices.append(Notice("new-epoch", f"epoch {restored.epoch} has begun; nodes must accept it"))
    return RestoredKeystore(operation_id=operation.id, changed=True, restored=restored, warnings=tuple(notices))


def _repeated(first: FirstRun) -> RestoredKeystore:
    ((epoch, records),) = first.items
    restored = Restored(int(epoch), int(records), None)
    return RestoredKeystore(operation_id=first.operation_id, changed=False, restored=restored)


@dataclass(frozen=True)
class _Remembered:
    """The facts of the replaced keystore that a restore carries over. `whole` is False when it does not open.

    `rekeys` is how often its root secret was renewed.
    """

    keystore_id: bytes = b""
    rekeys: int = 0
    withdrawn: tuple[ManagedKey, ...] = ()
    containers: tuple[ContainerRecord, ...] = ()
    intents: tuple[FileIntent, ...] = ()
    escrow: tuple[Slot, ...] = ()
    escrow_record: dict[str, Any] | None = None
    policy: ReplacedPolicy | None = None
    releases: tuple[Release, ...] = ()
    whole: bool = True


def _remembered(
    session: KeystoreSession, source: Path, way_in: WayIn, proposal: Proposal
) -> tuple[_Remembered, list[Notice]]:
    present = session.place.folder / database.FILE_NAME
    if _is_same_file(source, present):
        return _Remembered(), []
    try:
        if not session.exists():
            return _Remembered(whole=False), [_lost("there was no keystore here")]
        with _opened_present(session, present, way_in) as view:
            return _memory_of(session, view, proposal), []
    except BusyError:
        raise
    except TikTrueKeysError as error:
        return _Remembered(whole=False), [_lost(f"the replaced keystore does not open ({error.message})")]


def _present_epoch(session: KeystoreSession, source: Path, way_in: WayIn) -> int:
    """Return the epoch of the keystore to be replaced if the backup is of the same one and both open, else 0."""
    present = session.place.folder / database.FILE_NAME
    try:
        if not session.exists():
            return 0
        with _opened_present(session, present, way_in) as view:
            here = view.document
            return here.epoch if here.keystore_id == clear_header(source).keystore_id else 0
    except BusyError:
        raise
    except TikTrueKeysError:
        return 0


def _lost(why: str) -> Notice:
    words = f"{why}: keys revoked since the backup are usable again, and containers created since are not registered"
    return Notice("revocations-lost", words, remedy="registry-lost")


@contextlib.contextmanager
def _opened_present(session: KeystoreSession, present: Path, way_in: WayIn) -> Iterator[Snapshot]:
    """Yield a snapshot of the keystore to be replaced.

    It is opened by this machine, or else by `way_in`, which needs no mark.
    """
    with contextlib.ExitStack() as stack:
        try:
            keystore = open_at(present, session.way_in(), session.place)
            stack.callback(keystore.close)
            view = stack.enter_context(keystore.read())
        except BusyError:
            raise
        except TikTrueKeysError:
            keystore = open_at(present, way_in, session.place)
            stack.callback(keystore.close)
            if keystore.host_secret is None:
                keystore.verify_whole()
            view = stack.enter_context(keystore.read())
        yield view


def _memory_of(session: KeystoreSession, view: Snapshot, proposal: Proposal) -> _Remembered:
    now = session.read_clock(view).effective
    keys = [stored.key for stored in all_keys(view.rows, now)]
    return _Remembered(
        keystore_id=view.document.keystore_id,
        rekeys=len(view.document.former),
        withdrawn=tuple(key for key in keys if key.revoked_at is not None or key.destroyed_at is not None),
        containers=tuple(every_container(view.rows)),
        intents=tuple(every_intent(view.rows)),
        escrow=escrow_slots(view.document),
        escrow_record=view.rows.get(RecordKind.ESCROW, ESCROW_RECORD),
        policy=replaced_policy(view, now, session.approval, proposal),
        releases=all_releases(view.rows),
    )


def _is_same_file(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return False


def _note_backup(transaction: Transaction, source: Path, restored: Restored) -> None:
    """Note that this backup is a kept one: it holds every key of the keystore as it is now."""
    note = {
        "at": transaction.audit.get(restored.copied_size - 1).time if restored.copied_size else transaction.now,
        "path": str(source.absolute()),
        "done": bool(escrow_slots(transaction.document)),
        "operation_id": transaction.operation_id,
        "size": restored.copied_size,
        "epoch": restored.epoch,
    }
    if transaction.rows.has_agenda:
        transaction.rows.put(RecordKind.BACKUP, BACKUP, note)


def _carry_registry(transaction: Transaction, remembered: _Remembered) -> None:
    """Carry over containers and open file operations that are newer than the backup: they still need their keys."""
    for record in remembered.containers:
        known = get_container(transaction.rows, record.file_id, record.path)
        put_container(transaction, replace(record, keys=record.keys | (known.keys if known else frozenset())))
    for intent in remembered.intents:
        put_intent(transaction, intent)
    if not remembered.whole:
        at = {"since": transaction.now, "until": transaction.now}
        transaction.rows.put(RecordKind.CLOCK_GAP, REGISTRY, at)


def _carry_escrow(transaction: Transaction, remembered: _Remembered) -> list[Notice]:
    """Keep the newer escrow where H is the same, so that its slot still fits. Return the notice of it."""
    here = transaction.document
    same = (remembered.keystore_id, remembered.rekeys) == (here.keystore_id, len(here.former))
    if not same or remembered.escrow_record is None or remembered.escrow == escrow_slots(transaction.document):
        return []
    transaction.replace_document(transaction.document.with_slots(remembered.escrow))
    transaction.rows.put(RecordKind.ESCROW, ESCROW_RECORD, remembered.escrow_record)
    no_backup_holds_it(transaction.rows)
    words = "the escrow created after this backup was kept: its shares open the keystore, older ones do not"
    return [Notice("carried-escrow", words)]


def _withdraw(transaction: Transaction, known: ManagedKey) -> bool:
    """Revoke or destroy a restored key again. Return False when it already is, or is not in the backup."""
    stored = get_key(transaction.rows, known.key_id, transaction.now)
    if stored is None or (stored.key.revoked_at, stored.key.destroyed_at) == (known.revoked_at, known.destroyed_at):
        return False
    key = replace(
        stored.key,
        revoked_at=known.revoked_at,
        revoke_reason=known.revoke_reason,
        destroyed_at=known.destroyed_at,
        destroy_at=known.destroy_at,
    ).at(transaction.now)
    put_key(transaction.rows, key, b"" if key.destroyed_at is not None else stored.wrapped)
    transaction.record(
        "carry-over",
        key_id=key.key_id,
        model_id=key.model_id,
        before=stored.key.status.value,
        after=key.status.value,
    )
    return True
