"""Collects acknowledgements: verifies them, compares them with the keystore's own audit log, and updates the roster.

Come here for what an issuer believes about its nodes, and how it detects a conflicting audit history or a node that
went back. Only an answer to a newer challenge than any before shows where a node is now: an older acknowledgement may
have been delayed or put back by the transport.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tiktrue_keys.core import derivation
from tiktrue_keys.core.dispatch import outbox, peers
from tiktrue_keys.core.dispatch.node_progress import PeerProgress, Place
from tiktrue_keys.core.dispatch.node_streams import EVERYTHING, begin_streams
from tiktrue_keys.core.dispatch.peers import NODE
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.once import Repeatable, repeatable
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.errors import IntegrityError, TikTrueKeysError
from tiktrue_keys.fleet.acknowledgements import Acknowledgement, parse_acknowledgement
from tiktrue_keys.fleet.challenges import derive_challenge
from tiktrue_keys.fleet.own_identity import own_node_id
from tiktrue_keys.fleet.posts import receipt_of
from tiktrue_keys.fleet.refusals import refusals_after
from tiktrue_keys.fleet.transports.interface import Junk, Transport

_NAMES_A_RECORD = 32
_SEEN_EVERY = 3_600
_REISSUE = ("stale", "expired", "integrity", "gap")
"""The reasons for a blocked queue that a new copy of the envelope may remove."""


@dataclass(frozen=True, kw_only=True)
class Collected(OperationResult):
    """The names of the nodes that have advanced, and of those that went back.

    A warning names each acknowledgement that does not verify.
    """

    acknowledged: tuple[str, ...] = ()
    went_back: tuple[str, ...] = ()


@dataclass(frozen=True)
class _News:
    """The progress of nodes that has changed, by node id; of those that went back, the place and the size of the head.

    All that a node lacks lies behind that place, and is proven from that head on.
    """

    progress: dict[str, PeerProgress]
    back: dict[str, tuple[Place, int]]

    def worth_a_record(self, fleet: Mapping[str, PeerProgress]) -> dict[str, PeerProgress]:
        """Return what is recorded; that a node was heard again at the same place is not."""
        return {
            node_id: each
            for node_id, each in self.progress.items()
            if (each.acked, each.conflict) != (fleet[node_id].acked, fleet[node_id].conflict)
        }


def collect_acknowledgements(
    manager: KeyManager, transport: Transport, *, operation: Repeatable | None = None
) -> Collected:
    """Read the acknowledgement of every node and update the roster, in one transaction if anything is new.

    Without nodes, the transport is read all the same: one that is missing is found. A node that went back gets a new
    stream. `operation` is the one that this is a part of, if any.
    """
    session = manager.session
    operation = operation or repeatable(session, "acknowledge", None, {})
    with session.read() as (view, _):
        issuer = own_node_id(view.document)
        fleet = {node_id: each for node_id, each in peers.all_progress(view.rows).items() if each.role == NODE}
    junk = Junk()
    found, wrong = _verified(manager, transport, issuer, fleet, junk)
    news = _news(manager, found, fleet, wrong)
    recorded = news.worth_a_record(fleet)
    if news.progress:
        with operation.write() as transaction:
            _store(transaction, news, recorded)
    notices = [Notice("bad-acknowledgement", f"node '{name}': {error.message}") for name, error in wrong]
    if junk.total:
        notices.append(Notice("bad-acknowledgement", f"acknowledgements were skipped: {junk}"))
    back = tuple(sorted(fleet[node_id].name for node_id in news.back))
    notices += [
        Notice("went-back", f"node '{name}' went back to an older state; what it lacks is sent again") for name in back
    ]
    names = tuple(sorted(each.name for node_id, each in recorded.items() if each.acked > fleet[node_id].acked))
    return Collected(
        operation_id=operation.id,
        changed=bool(recorded or back),
        warnings=tuple(notices),
        acknowledged=names,
        went_back=back,
    )


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
) -> _News:
    news = _News({}, {})
    with manager.session.read() as (view, _):
        root = manager.session.root
        with (
            derivation.subkey(root, derivation.RECEIPT) as receipts,
            derivation.subkey(root, derivation.CHALLENGE) as challenges,
        ):
            for node_id, each in found.items():
                before = fleet[node_id]
                try:
                    heard = _heard(view, challenges.view, before, each)
                    if heard is None:
                        continue
                    after = _advanced(view, receipts.view, heard, each)
                except IntegrityError as error:
                    wrong.append((before.name, error))
                    continue
                if not after.conflict and _newest(heard) > _newest(before) and _named(view, each)[0] < before.reached:
                    news.back[node_id] = _named(view, each)
                if node_id in news.back or _is_news(before, after):
                    news.progress[node_id] = after
    return news


def _is_news(before: PeerProgress, after: PeerProgress) -> bool:
    """Return whether there is anything to store. That a node was heard again at the same place is, once an hour."""
    same = replace(after, seen_at=before.seen_at, answered=before.answered, heard_at=before.heard_at) == before
    later = max(after.seen_at - before.seen_at, after.heard_at - before.heard_at)
    return not same or later > _SEEN_EVERY


def _heard(view: Snapshot, key: memoryview, before: PeerProgress, ack: Acknowledgement) -> PeerProgress | None:
    """Return the progress with the challenge that was answered, or None for an answer that is older than another.

    Raises IntegrityError for a challenge that was not sent.
    """
    challenge = ack.challenge
    if challenge is None or challenge.epoch != view.document.epoch:
        return None if before.answered else before
    if challenge != derive_challenge(key, challenge.epoch, challenge.round, challenge.at):
        raise IntegrityError("the acknowledgement answers a challenge that this keystore did not send")
    if (challenge.round, challenge.at) < _newest(before):
        return None
    return replace(before, answered=challenge.round, heard_at=challenge.at)


def _newest(progress: PeerProgress) -> tuple[int, int]:
    """Return round and time of the newest challenge that was answered. A round that was forgotten comes again later."""
    return progress.answered, progress.heard_at


def _advanced(view: Snapshot, key: memoryview, before: PeerProgress, ack: Acknowledgement) -> PeerProgress:
    """Return the progress after an acknowledgement. A node that went back keeps its progress here."""
    conflict = _conflict(view, before, ack)
    if conflict:
        return replace(before, conflict=conflict)
    if ack.epoch < view.document.epoch:
        return replace(before, conflict="", blocked=ack.blocked)  # it has not accepted this epoch yet
    for each in ack.results:
        if each.receipt != receipt_of(key, before.node_id, (ack.epoch, ack.stream, each.number)):
            raise IntegrityError(f"the acknowledgement of envelope {each.number} has the wrong receipt")
    if (ack.stream, ack.number) < (before.stream, before.acked):
        return _in_an_earlier_stream(before, ack)
    if ack.number > before.acked and ack.number not in {each.number for each in ack.results}:
        raise IntegrityError("the acknowledgement lacks the result of its newest envelope")
    again = _wants_it_again(before, ack)
    return replace(
        before,
        acked=ack.number,
        acked_size=ack.head.size if ack.number else before.acked_size,
        sent=ack.number if again else max(before.sent, ack.number),
        seen_at=ack.at,
        conflict="",
        blocked=ack.blocked,
        refusals=refusals_after(view.rows, before, ack),
        reissued=ack.at if again else before.reissued,
        went_back_at=before.went_back_at if ack.number < before.issued else 0,
    )


def _in_an_earlier_stream(before: PeerProgress, ack: Acknowledgement) -> PeerProgress:
    """Return the progress of a node that has not begun its stream, whose first envelope must continue what it holds."""
    if before.acked or (ack.stream, ack.number) < before.reached:
        return replace(before, conflict="")
    again = _wants_it_again(before, ack)
    return replace(
        before,
        acked_size=ack.head.size,
        sent=0 if again else before.sent,
        seen_at=ack.at,
        conflict="",
        blocked=ack.blocked,
        reissued=ack.at if again else before.reissued,
    )


def _wants_it_again(before: PeerProgress, ack: Acknowledgement) -> bool:
    """Return whether a new copy may help: once for each acknowledgement, so that no round sends the same to all."""
    return ack.blocked.partition(":")[0] in _REISSUE and ack.at > before.reissued


def _named(view: Snapshot, ack: Acknowledgement) -> tuple[Place, int]:
    """Return place and head size of a node; one that follows an earlier epoch has to be sent everything of this one."""
    is_current = ack.epoch == view.document.epoch
    return ((ack.stream, ack.number), ack.head.size) if is_current else (EVERYTHING, 0)


def _conflict(view: Snapshot, before: PeerProgress, ack: Acknowledgement) -> str:
    """Return how the acknowledgement contradicts this keystore's audit log, or an empty text when they agree."""
    if ack.epoch > view.document.epoch:
        return f"it follows epoch {ack.epoch}, this keystore is in epoch {view.document.epoch}"
    if ack.epoch < view.document.epoch:
        return ""
    if ack.challenge is not None and ack.challenge.round > peers.roster(view.rows).round:
        return f"it answers round {ack.challenge.round}, this keystore has sent {peers.roster(view.rows).round}"
    if ack.head.size > view.audit.size:
        return f"it holds an audit head over {ack.head.size} records, this keystore has {view.audit.size}"
    if ack.head.size and view.audit.head_at(ack.head.size) != ack.head.root:
        return f"its audit head over {ack.head.size} records differs from this keystore's"
    if (ack.stream, ack.number) > (before.stream, before.issued):
        return (
            f"it has consumed envelope {ack.number} of stream {ack.stream},"
            f" this keystore has issued {before.issued} of stream {before.stream}"
        )
    return ""


def _store(transaction: Transaction, news: _News, recorded: Mapping[str, PeerProgress]) -> None:
    rows = transaction.rows
    for shard, members in peers.progress_rows(rows, news.progress):
        touched = [node_id for node_id in members if node_id in news.progress]
        for node_id in touched:
            members[node_id] = news.progress[node_id]
        if touched:
            peers.put_progress(rows, shard, members)
    for detail in _details(recorded):
        transaction.record("acknowledge", detail=detail)
    if not recorded:
        transaction.record("acknowledge", detail={"heard": len(news.progress)})
    for each in recorded.values():
        if each.conflict:
            transaction.record("acknowledge", outcome="refused", detail={"node": each.name, "reason": each.conflict})
    if news.back:
        _begin_again(transaction, news)
    if recorded:
        outbox.close_done(rows)


def _begin_again(transaction: Transaction, news: _News) -> None:
    """Record each node that went back, and queue what it lacks in a new stream."""
    for node_id, ((stream, number), _) in news.back.items():
        each = news.progress[node_id]
        detail = {"node": each.name, "stream": stream, "number": number, "before": [each.stream, each.acked]}
        transaction.record("node-went-back", outcome="refused", detail=detail)
    places = {node_id: place for node_id, (place, _) in news.back.items()}
    sizes = {node_id: size for node_id, (_, size) in news.back.items()}
    begin_streams(transaction, places, sizes, went_back=True)


def _details(news: Mapping[str, PeerProgress]) -> Iterator[dict[str, object]]:
    """Yield the name and number of every node that has advanced, 32 to a record."""
    told = [f"{each.name} {each.acked}" for each in news.values()]
    for at in range(0, len(told), _NAMES_A_RECORD):
        yield {"nodes": told[at : at + _NAMES_A_RECORD]}
