"""The operation `rekey`: renews the root secret of the keystore, and the host secret that binds it to the machine.

Come here for what is done after the root may have become known: the keystore as it is from then on opens with nothing
that opened it before. Managed keys stay as they are, so that models go on opening; rotating them and encrypting their
containers again is up to the operator, and the finding `rekeyed` says so until it is done. keystore/renewal.py has the
order of the writes.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tiktrue_keys.core.approvals.plans import put_plan
from tiktrue_keys.core.approvals.policy import BINDING as BINDING_POLICY
from tiktrue_keys.core.approvals.policy import REKEY, get_policy
from tiktrue_keys.core.approvals.proposals import Proposal, approved_plan, record_approval
from tiktrue_keys.core.dispatch.peers import NODE, peers
from tiktrue_keys.core.fingerprint import Binding
from tiktrue_keys.core.keys.keyring import all_keys
from tiktrue_keys.core.keys.wrapping import rewrap_for_machine
from tiktrue_keys.core.keystore.bind import BINDING, store_binding
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.former_ways import forget_all_former
from tiktrue_keys.core.keystore.identity import renewed_identity, store_identity
from tiktrue_keys.core.keystore.renewal import NewSecrets, Renewal, renewing, secret_path_of
from tiktrue_keys.core.keystore.replay import OperationRequest, arguments_of
from tiktrue_keys.core.keystore.retired import RetiredRoot, put_containers, put_retired_root
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.slots import MACHINE, has_escrow, slots_of, takes_facts, ways_of
from tiktrue_keys.core.keystore.transfer import Changes
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.backup import BACKUP
from tiktrue_keys.core.operations.old_copies import old_copies
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.operations.standing_notices import ESCROW_RECORD
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.core.upgrade import COPY
from tiktrue_keys.errors import TikTrueKeysError

OPERATION = "rekey"


@dataclass(frozen=True)
class RekeyRequest:
    """How to renew the root: `compromised` if others may know it, `new_host_secret` where its host secret goes.

    Without a path the new host secret lies beside the one in use, in a file of this keystore alone. A device that opens
    the keystore seals a new secret too; `remove` is a way that opens it no longer.
    """

    compromised: bool = False
    new_host_secret: Path | None = None
    dry_run: bool = False
    remove: str = ""


@dataclass(frozen=True, kw_only=True)
class RekeyResult(OperationResult):
    """The new epoch, the path of the new host secret, and what is left to do. `ways` open the keystore from now on.

    Without a host secret among them it has no path.
    `keys` are the managed keys that are older than the renewal and not destroyed; `machine_keys` of them were wrapped
    under the root itself, and are wrapped under the new one. `old_copies` are files on this machine that the old root
    still opens. `had_escrow`: there was an escrow, whose shares open nothing new. `nodes` are those that have to accept
    the new epoch.
    """

    epoch: int
    host_secret: Path | None
    keys: int
    machine_keys: int
    had_escrow: bool
    nodes: int = 0
    old_copies: tuple[Path, ...] = ()
    ways: tuple[str, ...] = ()
    compromised: bool = False
    dry_run: bool = False


def rekey(session: KeystoreSession, request: RekeyRequest, *, operation_id: str | None) -> RekeyResult:
    """Draw a new root secret and a new host secret, and seal every record but those of the audit log again.

    Needs no license. The old root, its escrow's shares, the old host secret and older copies of the keystore open
    nothing that is written from then on. Nodes have to accept the new epoch. Raises RefusedError where the new host
    secret cannot be written, IntegrityError when a record was modified.
    """
    asked = OperationRequest.of(OPERATION, operation_id, arguments_of(request, without=("dry_run",)))
    do = _preview if request.dry_run else _rekey
    return once(session, asked, partial(do, session, request), partial(_repeated, request))


def _preview(session: KeystoreSession, request: RekeyRequest, operation: Operation) -> RekeyResult:
    with session.read() as (view, now):
        document = view.document
        secrets = _new_secrets(session, request)
        path = secret_path_of(session.keystore, document, secrets)
        living = [stored.key.license_tag is None for stored in all_keys(view.rows, now) if _lives(stored.wrapped)]
        return RekeyResult(
            operation_id=operation.id,
            changed=False,
            epoch=document.epoch + 1,
            host_secret=path,
            keys=len(living),
            machine_keys=sum(living),
            had_escrow=has_escrow(document),
            nodes=len(list(peers(view.rows, NODE))),
            old_copies=old_copies(view, session.place.folder),
            ways=secrets.ways(document),
            compromised=request.compromised,
            dry_run=True,
        )


def _rekey(session: KeystoreSession, request: RekeyRequest, operation: Operation) -> RekeyResult:
    proposal = _proposal(request)
    session.check_approval(proposal)
    with session.write(operation.id):
        pass  # takes an older schema to the present one, and removes what killed operations left
    secrets, before = _new_secrets(session, request), session.keystore.document_now()
    secret_path_of(session.keystore, before, secrets)
    if request.new_host_secret is not None:
        session.output_gate().check(request.new_host_secret)
    keys = _KeyChanges()
    with (
        session.storing_plans(),
        session.exclusive() as keystore,
        renewing(
            keystore,
            session.read_clock,
            changes=keys.of,
            secrets=secrets,
            actor=session.actor,
            operation_id=operation.id,
        ) as renewal,
        operation.within(renewal.transaction),
    ):
        _approve(session, renewal, proposal)
        had_escrow = _retire(renewal, list(keys.containers), request.compromised)
        copies = old_copies(renewal.view, session.place.folder)
        result = RekeyResult(
            operation_id=operation.id,
            changed=True,
            epoch=renewal.transaction.document.epoch,
            host_secret=_path_in(renewal.transaction.document),
            keys=keys.living,
            machine_keys=keys.rewrapped,
            had_escrow=had_escrow,
            nodes=len(list(peers(renewal.view.rows, NODE))),
            old_copies=copies,
            ways=ways_of(renewal.transaction.document),
            compromised=request.compromised,
        )
        _record(renewal, result, request.remove)
        operation.remember(renewal.transaction, _items(result))
    session.used_approval |= renewal.transaction.used_approval
    if request.remove not in ("", MACHINE):
        with contextlib.suppress(TikTrueKeysError):  # it is gone, perhaps: then there is nothing to remove
            session.devices.discard(request.remove, slots_of(before, request.remove)[0].blob)
    return replace(result, warnings=(*_notices(result), *_name_new_secret(session, request, result.host_secret)))


def _new_secrets(session: KeystoreSession, request: RekeyRequest) -> NewSecrets:
    return NewSecrets(session.devices, request.new_host_secret, request.remove)


def _path_in(document: Document) -> Path | None:
    return Path(document.host_secret_path) if MACHINE in ways_of(document) else None


def _name_new_secret(session: KeystoreSession, request: RekeyRequest, path: Path | None) -> tuple[Notice, ...]:
    """Let the session open the keystore with a host secret elsewhere. Return a notice where another one was named."""
    given = session.place.host_secret
    if request.new_host_secret is None or given is None:
        return ()
    session.place = replace(session.place, host_secret=path)
    words = f"the host secret that was named, {given}, does not open the keystore any more"
    return (Notice("host-secret-moved", words, remedy="use-new-secret", about={"path": str(path)}),)


class _KeyChanges:
    """Rewraps keys that lie under the root, gives each license entry the salt that was H, and notes what there is."""

    def __init__(self) -> None:
        self.living = 0
        self.rewrapped = 0
        self.containers: dict[str, None] = {}

    def of(self, old: RootKeys, new: RootKeys) -> Changes:
        """Return what changes in the records."""
        return {
            RecordKind.KEY: partial(self._key, old, new),
            RecordKind.LICENSE: partial(_license, old),
            RecordKind.CONTAINER: self._container,
        }

    def _key(self, old: RootKeys, new: RootKeys, payload: dict[str, Any]) -> dict[str, Any] | None:
        self.living += _lives(payload["wrapped"])
        changed = rewrap_for_machine(old, new, payload)
        self.rewrapped += changed is not None
        return changed

    def _container(self, payload: dict[str, Any]) -> None:
        self.containers[payload["file_id"]] = None


def _lives(wrapped: str | bytes) -> bool:
    """Return whether a key still has its secret: a destroyed one has none."""
    return bool(wrapped)


def _license(old: RootKeys, payload: dict[str, Any]) -> dict[str, Any] | None:
    """Return the entry of a license with its salt where that was the root itself, so that no key of it changes."""
    if payload.get("salt") is not None:
        return None
    return payload | {"salt": old.root.view.hex(), "version": payload.get("version", 1)}


def _approve(session: KeystoreSession, renewal: Renewal, proposal: Proposal) -> None:
    """Use the approval, which is one of the old epoch."""
    transaction = renewal.transaction
    plan = approved_plan(renewal.view, transaction.now, session.approval, proposal)
    if plan is not None:
        put_plan(transaction.rows, replace(plan, used_at=transaction.now))
        record_approval(transaction, plan, get_policy(transaction.rows))


def _retire(renewal: Renewal, containers: list[str], compromised: bool) -> bool:
    """Give the keystore what depends on its root, and return whether an escrow ended."""
    rows, before = renewal.transaction.rows, renewal.view.document
    number = len(renewal.transaction.document.former)
    audit_key, wrapped = renewed_identity(renewal.before.keys, renewal.view.rows, renewal.after.keys)
    store_identity(rows, wrapped)
    renewal.transaction.replace_document(replace(renewal.transaction.document, audit_key=audit_key))
    root = RetiredRoot(
        size=renewal.view.audit.size,
        epoch=before.epoch,
        audit_key=before.audit_key,
        identity_key=before.identity_key,
        identity_hpke=before.identity_hpke,
        at=renewal.transaction.now,
        compromised=compromised,
        parts=put_containers(rows, number, containers),
    )
    put_retired_root(rows, number, root)
    forget_all_former(rows)
    ways = ways_of(renewal.transaction.document)
    if not any(takes_facts(renewal.transaction.document, way) for way in ways):
        store_binding(rows, Binding((), ways[0]))
    rows.delete(RecordKind.ESCROW, ESCROW_RECORD)
    for name in (BACKUP, COPY):  # none that was taken before holds the keystore as it is now
        rows.delete(RecordKind.BACKUP, name)
    return has_escrow(before)


def _record(renewal: Renewal, result: RekeyResult, removed: str) -> None:
    view, transaction = renewal.view, renewal.transaction
    last = {"epoch": view.document.epoch, "size": view.audit.size, "head": view.audit.head().hex()}
    epoch = {"epoch": result.epoch, "last_known": last, "at": transaction.now}
    transaction.rows.put(RecordKind.EPOCH, str(result.epoch), epoch)
    detail = {
        "new_epoch": result.epoch,
        "last_known": last,
        "compromised": result.compromised,
        "keys": result.keys,
        "machine_keys": result.machine_keys,
        "escrow_ended": result.had_escrow,
        "host_secret": str(result.host_secret or ""),
    }
    transaction.record(OPERATION, detail=detail | ({"removed": removed} if removed else {}))


def _proposal(request: RekeyRequest) -> Proposal:
    arguments: dict[str, Any] = {
        "compromised": request.compromised,
        "new_host_secret": _text(request.new_host_secret),
    }
    rows = [(RecordKind.BINDING, BINDING)]
    if request.remove:
        arguments |= {"remove": request.remove}
        return Proposal(REKEY, "this keystore", arguments, rows, also=(BINDING_POLICY,))
    return Proposal(REKEY, "this keystore", arguments, rows)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _notices(result: RekeyResult) -> tuple[Notice, ...]:
    notices = []
    if result.nodes:
        words = f"epoch {result.epoch} has begun, and {plural(result.nodes, 'node')} must accept it"
        notices.append(Notice("new-epoch", words))
    if result.had_escrow:
        words = "the escrow has ended: its shares open older copies only"
        notices.append(Notice("escrow-ended", words, remedy="create-escrow"))
    if result.old_copies:
        copies = ", ".join(str(path) for path in result.old_copies)
        words = f"older copies of the keystore open with the old root: {copies}"
        notices.append(Notice("old-copies", words, remedy="remove-old-copies"))
    return tuple(notices)


def _items(result: RekeyResult) -> list[list[str]]:
    counts = [str(result.epoch), str(result.keys), str(result.machine_keys), str(int(result.had_escrow))]
    path = [] if result.host_secret is None else [str(result.host_secret)]
    return [counts, path, [str(path) for path in result.old_copies], list(result.ways)]


def _repeated(request: RekeyRequest, first: FirstRun) -> RekeyResult:
    (epoch, keys, machine_keys, had_escrow), path, copies, ways = first.items
    return RekeyResult(
        operation_id=first.operation_id,
        changed=False,
        epoch=int(epoch),
        host_secret=Path(path[0]) if path else None,
        keys=int(keys),
        machine_keys=int(machine_keys),
        had_escrow=had_escrow == "1",
        old_copies=tuple(Path(copy) for copy in copies),
        ways=tuple(ways),
        compromised=request.compromised,
    )
