"""Sends the outbox: records it first, seals it node by node as the transport writes, then marks it as sent.

Come here for delivery and its retries. A failed transport does not fail the operation that queued the envelopes: they
stay queued, and the pause before the next attempt doubles from 30 s up to an hour.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.dispatch import outbox, peers
from tiktrue_keys.core.dispatch.outbox import KEY, VOID
from tiktrue_keys.core.dispatch.peers import Peer
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import get_key
from tiktrue_keys.core.keys.licenses import License, recognise
from tiktrue_keys.core.keys.wrapping import unwrap_managed_key
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.once import Repeatable, repeatable
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import UnavailableError
from tiktrue_keys.fleet import hpke
from tiktrue_keys.fleet.backlog import Job, Plan, make_plan
from tiktrue_keys.fleet.envelopes import VALID_FOR, Address, Contents, seal_envelope
from tiktrue_keys.fleet.own_identity import own_node_id
from tiktrue_keys.fleet.transports.interface import Posted, Transport

if TYPE_CHECKING:
    from tiktrue_keys.core.keystore.transaction import Transaction

_RECEIPT_LENGTH = 16
_PEERS_AT_ONCE = 4096
_FIRST_WAIT, _LONGEST_WAIT = 30, 3_600
_BACKOFF = "backoff"


@dataclass(frozen=True, kw_only=True)
class Sent(OperationResult):
    """The number of envelopes sent, and of their nodes.

    `outage` says why none was sent. `waiting` are the keys that were not sent for want of their license.
    """

    envelopes: int = 0
    nodes: int = 0
    outage: UnavailableError | None = None
    waiting: tuple[str, ...] = ()


def send_pending(
    manager: KeyManager,
    transport: Transport,
    *,
    license_key: License | None = None,
    patient: bool = False,
    operation: Repeatable | None = None,
) -> Sent:
    """Send the envelopes that nodes lack. With `patient`, wait for the pause after an outage to end.

    The license is read only when a licensed key is to be sent. An outage is in the result and is not raised.
    `operation` is the one that this is a part of, if any.
    """
    session = manager.session
    operation = operation or repeatable(session, "distribute", None, {})
    with session.read() as (view, now):
        sign = session.signer(view)
        issuer = own_node_id(view.document)
        plan = make_plan(view, now, issuer, sign)
        pause = (view.rows.get(RecordKind.NODE, _BACKOFF) or {}).get("until", 0)
    if not plan.count:
        return Sent(operation_id=operation.id, changed=False)
    if patient and now < pause:
        words = f"the transport failed before; the next attempt is in {pause - now} s"
        return Sent(operation_id=operation.id, changed=False, warnings=(Notice("outage", words),))
    with ExitStack() as stack:
        secrets = _open_secrets(session, plan, license_key, stack)
        waiting = _drop_unopened(plan, secrets)
        if not plan.count:
            return Sent(operation_id=operation.id, changed=False, warnings=_unopened(waiting), waiting=waiting)
        with operation.write() as transaction:
            _record_release(transaction, plan)
            number = peers.next_round(transaction.rows)
        sealer = _Sealer(session, plan, secrets, issuer, sign, now)
        try:
            transport.publish(issuer, number, sealer.posts(), sign)
        except UnavailableError as error:
            return _note_outage(operation, error)
    with operation.write() as transaction:
        _mark_sent(transaction, sealer.sent)
    return Sent(
        operation_id=operation.id,
        changed=True,
        warnings=_unopened(waiting),
        envelopes=plan.count,
        nodes=len(sealer.sent),
        waiting=waiting,
    )


class _Sealer:
    """Seals the envelopes of a plan one after the other.

    `sent` maps each node id that is done to its highest number.
    """

    def __init__(
        self,
        session: KeystoreSession,
        plan: Plan,
        secrets: Mapping[str, SecretBuffer],
        issuer: str,
        sign: Signer,
        now: Instant,
    ) -> None:
        self._session = session
        self._plan = plan
        self._secrets = secrets
        self._issuer = issuer
        self._sign = sign
        self._now = now
        self.sent: dict[str, int] = {}

    def posts(self) -> Iterator[Posted]:
        """Yield every envelope, node by node, in the order of its numbers."""
        with derivation.subkey(self._session.root, derivation.RECEIPT) as receipt_key:
            for peer in self._peers():
                public = hpke.public_key(peer.identity_hpke)
                for job in self._plan.jobs[peer.node_id]:
                    address = self._address(peer, job)
                    item = self._plan.items[job.dispatch.number]
                    contents = Contents(
                        self._plan.vouched(job),
                        receipt_of(receipt_key.view, address.node, address.epoch, address.number),
                        item.payload,
                        self._secrets[address.key_id] if item.kind == KEY else None,
                    )
                    line = seal_envelope(address, contents, public, self._sign)
                    yield Posted(peer.node_id, (address.epoch, 1, address.number), line)
                self.sent[peer.node_id] = self._plan.jobs[peer.node_id][-1].number

    def _peers(self) -> Iterator[Peer]:
        """Yield the nodes of the plan, read 4096 at a time: a bucket of rows is verified once for each snapshot."""
        wanted = list(self._plan.jobs)
        for at in range(0, len(wanted), _PEERS_AT_ONCE):
            with self._session.read() as (view, _):
                found = [peers.get_peer(view.rows, node_id) for node_id in wanted[at : at + _PEERS_AT_ONCE]]
            yield from (peer for peer in found if peer is not None)

    def _address(self, peer: Peer, job: Job) -> Address:
        kind = self._plan.items[job.dispatch.number].kind
        return Address(
            issuer=self._issuer,
            node=peer.node_id,
            epoch=self._plan.epoch,
            number=job.number,
            kind=kind,
            key_id="" if kind == VOID else job.dispatch.key_id,
            generation=0 if kind == VOID else job.dispatch.generation,
            issued_at=self._now,
            valid_until=Instant(self._now + VALID_FOR),
        )


def receipt_of(key: memoryview, node_id: str, epoch: int, number: int) -> bytes:
    """Return the 16 bytes that the acknowledgement of this envelope must repeat.

    They are never stored, but derived again.
    """
    message = joined(node_id.encode(), epoch.to_bytes(8, "big"), number.to_bytes(8, "big"))
    return hmac.digest(key, message, "sha256")[:_RECEIPT_LENGTH]


def _open_secrets(
    session: KeystoreSession, plan: Plan, license_key: License | None, stack: ExitStack
) -> dict[str, SecretBuffer]:
    """Return the secrets of the keys in the plan that this license (or none) opens."""
    wanted = {
        job.dispatch.key_id
        for jobs in plan.jobs.values()
        for job in jobs
        if plan.items[job.dispatch.number].kind == KEY
    }
    if not wanted:
        return {}
    with session.read() as (view, now):
        stored = [each for each in (get_key(view.rows, key_id, now) for key_id in sorted(wanted)) if each]
    licensed = any(each.key.license_tag is not None for each in stored)
    prepared = session.prepare(license_key) if licensed and license_key is not None else None
    secrets: dict[str, SecretBuffer] = {}
    with session.read() as (view, _):
        opened = recognise(prepared, view.rows, session.root_keys) if prepared is not None else None
        for each in stored:
            tag = each.key.license_tag
            if tag is None or (opened is not None and opened.tag == tag):
                secret = unwrap_managed_key(session.root_keys, each, opened)
                secrets[each.key.key_id] = stack.enter_context(secret)
    return secrets


def _drop_unopened(plan: Plan, secrets: Mapping[str, SecretBuffer]) -> tuple[str, ...]:
    """Cut each node's jobs before the first whose key was not opened, so that no gap is sent. Return those keys."""
    waiting: set[str] = set()
    for node_id, jobs in list(plan.jobs.items()):
        for place, job in enumerate(jobs):
            if plan.items[job.dispatch.number].kind == KEY and job.dispatch.key_id not in secrets:
                waiting.add(job.dispatch.key_id)
                plan.jobs[node_id] = jobs[:place]
                break
        if not plan.jobs[node_id]:
            del plan.jobs[node_id]
    return tuple(sorted(waiting))


def _unopened(waiting: tuple[str, ...]) -> tuple[Notice, ...]:
    if not waiting:
        return ()
    words = f"{plural(len(waiting), 'key')} not sent: the license was not given; the first is {waiting[0]}"
    return (Notice("needs-license", words, waiting[0], remedy="needs-license"),)


def _record_release(transaction: Transaction, plan: Plan) -> None:
    """Record before any key leaves which key goes to which nodes. Nothing is sent when this fails."""
    names = {node_id: each.name for node_id, each in peers.all_progress(transaction.rows).items()}
    recipients: dict[str, list[str]] = {}
    for node_id, jobs in plan.jobs.items():
        for job in jobs:
            if plan.items[job.dispatch.number].kind == KEY:
                recipients.setdefault(job.dispatch.key_id, []).append(names.get(node_id, node_id))
    for key_id, told in recipients.items():
        transaction.record("distribute", key_id=key_id, detail=outbox.described(KEY, len(told), told))
    if not recipients:
        transaction.record("distribute", detail={"envelopes": plan.count, "nodes": len(plan.jobs)})


def _mark_sent(transaction: Transaction, sent: Mapping[str, int]) -> None:
    rows = transaction.rows
    for shard, members in peers.progress_rows(rows):
        touched = [node_id for node_id in members if node_id in sent]
        for node_id in touched:
            before = members[node_id]
            members[node_id] = replace(before, sent=max(before.sent, sent[node_id]), sent_at=transaction.now)
        if touched:
            peers.put_progress(rows, shard, members)
    rows.delete(RecordKind.NODE, _BACKOFF)
    transaction.record("sent", detail={"nodes": len(sent)})


def _note_outage(operation: Repeatable, error: UnavailableError) -> Sent:
    with operation.write() as transaction:
        before = transaction.rows.get(RecordKind.NODE, _BACKOFF) or {"failures": 0}
        failures = before["failures"] + 1
        pause = min(_FIRST_WAIT * 2 ** (failures - 1), _LONGEST_WAIT)
        until = {"failures": failures, "until": transaction.now + pause}
        transaction.rows.put(RecordKind.NODE, _BACKOFF, until)
        transaction.record("sent", outcome="failed", detail={"reason": error.message, "failures": failures})
    notice = Notice("outage", f"nothing was sent: {error.message}; the envelopes stay queued", remedy="send-later")
    return Sent(operation_id=operation.id, changed=False, warnings=(notice,), outage=error)
