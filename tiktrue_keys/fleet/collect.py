"""Collects acknowledgements: verifies them, compares them with the keystore's own audit log, and updates the roster.

Come here for what an issuer believes about its nodes, and how it detects a conflicting audit history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tiktrue_keys.core import derivation
from tiktrue_keys.core.dispatch import outbox, peers
from tiktrue_keys.core.dispatch.peers import NODE, PeerProgress
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.once import Repeatable, repeatable
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import IntegrityError, TikTrueKeysError
from tiktrue_keys.fleet.acknowledgements import OK, Acknowledgement, parse_acknowledgement
from tiktrue_keys.fleet.own_identity import own_node_id
from tiktrue_keys.fleet.send import receipt_of
from tiktrue_keys.fleet.transports.interface import Junk, Transport

_NAMES_A_RECORD = 32
_SEEN_EVERY = 3_600
_REISSUE = ("stale", "expired", "integrity", "gap")
"""The reasons for a blocked queue that a new copy of the envelope may remove."""


@dataclass(frozen=True, kw_only=True)
class Collected(OperationResult):
    """The names of the nodes that have advanced. A warning names each acknowledgement that does not verify."""

    acknowledged: tuple[str, ...] = ()


def collect_acknowledgements(
    manager: KeyManager, transport: Transport, *, operation: Repeatable | None = None
) -> Collected:
    """Read the acknowledgement of every node and update the roster, in one transaction if anything is new.

    `operation` is the one that this is a part of, if any.
    """
    session = manager.session
    operation = operation or repeatable(session, "acknowledge", None, {})
    with session.read() as (view, _):
        issuer = own_node_id(view.document)
        fleet = {node_id: each for node_id, each in peers.all_progress(view.rows).items() if each.role == NODE}
    if not fleet:
        return Collected(operation_id=operation.id, changed=False)
    junk = Junk()
    found, wrong = _verified(manager, transport, issuer, fleet, junk)
    news = _news(manager, found, fleet, wrong)
    if news:
        with operation.write() as transaction:
            _store(transaction, news)
    notices = tuple(Notice("bad-acknowledgement", f"node '{name}': {error.message}") for name, error in wrong)
    if junk.total:
        notices += (Notice("bad-acknowledgement", f"acknowledgements were skipped: {junk}"),)
    names = tuple(sorted(each.name for node_id, each in news.items() if each.acked > fleet[node_id].acked))
    return Collected(operation_id=operation.id, changed=bool(news), warnings=notices, acknowledged=names)


def _verified(
    manager: KeyManager, transport: Transport, issuer: str, fleet: dict[str, PeerProgress], junk: Junk
) -> tuple[dict[str, Acknowledgement], list[tuple[str, TikTrueKeysError]]]:
    found: dict[str, Acknowledgement] = {}
    wrong: list[tuple[str, TikTrueKeysError]] = []
    for node_id, line in transport.acknowledgements(issuer, fleet, junk):
        with manager.session.read() as (view, _):
            peer = peers.get_peer(view.rows, node_id)
        if peer is None:
            continue
        try:
            each = parse_acknowledgement(line, peer.identity_key)
            if (each.node, each.issuer) != (node_id, issuer):
                raise IntegrityError("the acknowledgement names another node or issuer")
            found[node_id] = each
        except IntegrityError as error:
            wrong.append((peer.name, error))
    return found, wrong


def _news(
    manager: KeyManager,
    found: dict[str, Acknowledgement],
    fleet: dict[str, PeerProgress],
    wrong: list[tuple[str, TikTrueKeysError]],
) -> dict[str, PeerProgress]:
    """Return the progress of the nodes whose progress has changed."""
    news: dict[str, PeerProgress] = {}
    with manager.session.read() as (view, _):
        root = manager.session.root
        with derivation.subkey(root, derivation.RECEIPT) as key:
            for node_id, each in found.items():
                try:
                    after = _advanced(view, key.view, fleet[node_id], each)
                except IntegrityError as error:
                    wrong.append((fleet[node_id].name, error))
                    continue
                if after != fleet[node_id]:
                    news[node_id] = after
    return news


def _advanced(view: Snapshot, key: memoryview, before: PeerProgress, ack: Acknowledgement) -> PeerProgress:
    conflict = _conflict(view, before, ack)
    if conflict:
        return replace(before, conflict=conflict)
    if ack.epoch < view.document.epoch:
        return replace(before, conflict="")  # the node has not accepted this epoch yet, and reports that in `blocked`
    if ack.number < before.acked:
        return before  # an older acknowledgement: delayed by the transport, or replayed
    for each in ack.results:
        if each.receipt != receipt_of(key, before.node_id, ack.epoch, each.number):
            raise IntegrityError(f"the acknowledgement of envelope {each.number} has the wrong receipt")
    if ack.number > before.acked and ack.number not in {each.number for each in ack.results}:
        raise IntegrityError("the acknowledgement lacks the result of its newest envelope")
    refusals = dict(before.refusals)
    refusals |= {each.number: each.outcome for each in ack.results if each.outcome != OK}
    # Once for each acknowledgement, so that a slow node does not get the same envelopes in every round.
    again = ack.blocked.partition(":")[0] in _REISSUE and ack.at > before.reissued
    return replace(
        before,
        acked=ack.number,
        acked_size=ack.head.size if ack.number else before.acked_size,
        sent=ack.number if again else max(before.sent, ack.number),
        # A repeated acknowledgement updates the row at most once an hour.
        seen_at=ack.at if ack.at > before.seen_at + _SEEN_EVERY or ack.number > before.acked else before.seen_at,
        conflict="",
        blocked=ack.blocked,
        refusals=tuple(sorted(refusals.items()))[-peers.MAX_REFUSALS :],
        reissued=ack.at if again else before.reissued,
    )


def _conflict(view: Snapshot, before: PeerProgress, ack: Acknowledgement) -> str:
    """Return how the acknowledgement contradicts this keystore's audit log, or an empty text when they agree."""
    if ack.epoch > view.document.epoch:
        return f"it follows epoch {ack.epoch}, this keystore is in epoch {view.document.epoch}"
    if ack.epoch < view.document.epoch or ack.number == 0:
        return ""
    if ack.head.size > view.audit.size:
        return f"it holds an audit head over {ack.head.size} records, this keystore has {view.audit.size}"
    if view.audit.head_at(ack.head.size) != ack.head.root:
        return f"its audit head over {ack.head.size} records differs from this keystore's"
    if ack.number > before.issued:
        return f"it has consumed envelope {ack.number}, this keystore has issued {before.issued}"
    return ""


def _store(transaction: Transaction, news: dict[str, PeerProgress]) -> None:
    rows = transaction.rows
    for shard, members in peers.progress_rows(rows):
        touched = [node_id for node_id in members if node_id in news]
        for node_id in touched:
            members[node_id] = news[node_id]
        if touched:
            peers.put_progress(rows, shard, members)
    for detail in _details(news):
        transaction.record("acknowledge", detail=detail)
    for each in news.values():
        if each.conflict:
            transaction.record("acknowledge", outcome="refused", detail={"node": each.name, "reason": each.conflict})
    outbox.close_done(rows)


def _details(news: dict[str, PeerProgress]) -> Iterator[dict[str, object]]:
    """Yield the name and number of every node that has advanced, 32 to a record."""
    told = [f"{each.name} {each.acked}" for each in news.values()]
    for at in range(0, len(told), _NAMES_A_RECORD):
        yield {"nodes": told[at : at + _NAMES_A_RECORD]}
