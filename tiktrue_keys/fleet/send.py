"""Sends the outbox: records it first, seals it node by node as the transport writes, then marks it as sent.

Come here for delivery and its retries. A failed transport does not fail the operation that queued the envelopes: they
stay queued, and the pause before the next attempt doubles from 30 s up to an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tiktrue_keys.core.dispatch import outbox, peers
from tiktrue_keys.core.dispatch.node_progress import Place
from tiktrue_keys.core.dispatch.outbox import KEY
from tiktrue_keys.core.keys.keyring import get_key
from tiktrue_keys.core.keys.licenses import License, recognise
from tiktrue_keys.core.keys.wrapping import unwrap_managed_key
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.once import Repeatable, repeatable
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import UnavailableError
from tiktrue_keys.fleet.backlog import Plan, make_plan
from tiktrue_keys.fleet.own_identity import own_node_id
from tiktrue_keys.fleet.posts import RoundPosts
from tiktrue_keys.fleet.transports.interface import Transport

if TYPE_CHECKING:
    from tiktrue_keys.core.keystore.transaction import Transaction

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
    challenge_all: bool = False,
    operation: Repeatable | None = None,
) -> Sent:
    """Send the envelopes that nodes lack. With `patient`, wait for the pause after an outage to end.

    A challenge goes with them, and with `challenge_all` to the other nodes too. The license is read only when a
    licensed key is to be sent. An outage is in the result and is not raised.
    `operation` is the one that this is a part of, if any.
    """
    session = manager.session
    operation = operation or repeatable(session, "distribute", None, {})
    with session.read() as (view, now):
        sign = session.signer(view)
        issuer = own_node_id(view.document)
        plan = make_plan(view, now, issuer, sign)
        pause = (view.rows.get(RecordKind.NODE, _BACKOFF) or {}).get("until", 0)
    challenged = tuple(plan.streams) if challenge_all else ()
    if not plan.count and not challenged:
        return Sent(operation_id=operation.id, changed=False)
    if patient and now < pause:
        words = f"the transport failed before; the next attempt is in {pause - now} s"
        return Sent(operation_id=operation.id, changed=False, warnings=(Notice("outage", words),))
    with ExitStack() as stack:
        secrets = _open_secrets(session, plan, license_key, stack)
        waiting = _drop_unopened(plan, secrets)
        if not plan.count and not challenged:
            return Sent(operation_id=operation.id, changed=False, warnings=_unopened(waiting), waiting=waiting)
        with operation.write() as transaction:
            number = peers.next_round(transaction.rows)
            if plan.count:
                _record_release(transaction, plan)
            else:
                transaction.record("challenge", detail={"round": number, "nodes": len(challenged)})
        lines = RoundPosts(session, plan, secrets, issuer, sign, now, number)
        try:
            transport.publish(issuer, number, lines.posts(challenged), sign)
        except UnavailableError as error:
            return _note_outage(operation, error) if plan.count else _unheard(operation, error)
    if lines.sent:
        with operation.write() as transaction:
            _mark_sent(transaction, lines.sent)
    return Sent(
        operation_id=operation.id,
        changed=bool(plan.count),
        warnings=_unopened(waiting),
        envelopes=plan.count,
        nodes=len(lines.sent),
        waiting=waiting,
    )


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


def _mark_sent(transaction: Transaction, sent: Mapping[str, Place]) -> None:
    rows = transaction.rows
    for shard, members in peers.progress_rows(rows, sent):
        touched = [node_id for node_id in members if node_id in sent]
        for node_id in touched:
            before, (stream, number) = members[node_id], sent[node_id]
            if before.stream == stream:
                members[node_id] = replace(before, sent=max(before.sent, number), sent_at=transaction.now)
        if touched:
            peers.put_progress(rows, shard, members)
    rows.delete(RecordKind.NODE, _BACKOFF)
    transaction.record("sent", detail={"nodes": len(sent)})


def _unheard(operation: Repeatable, error: UnavailableError) -> Sent:
    """Return the outage of a round that had only challenges: nothing stays queued, so that nothing is recorded."""
    notice = Notice("outage", f"no node was asked for its state: {error.message}", remedy="send-later")
    return Sent(operation_id=operation.id, changed=False, warnings=(notice,), outage=error)


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
