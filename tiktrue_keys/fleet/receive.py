"""The node's side: collects what its issuers posted, applies it in order, records what it refuses, and acknowledges.

Each envelope is one transaction: what it says, how far the node is, the audit record. A kill between two finds the one
done and the other not begun; a gap is waited for, and its place kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from tiktrue_keys.core.dispatch import peers
from tiktrue_keys.core.dispatch.peers import ISSUER, Peer
from tiktrue_keys.core.dispatch.revocation_lists import known_list
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keys.licenses import License, PreparedLicense
from tiktrue_keys.core.keystore.identity import Signer, open_seed
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.once import repeatable
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import (
    ExpiredError,
    IntegrityError,
    RefusedError,
    TikTrueKeysError,
    UnavailableError,
    UsageError,
)
from tiktrue_keys.fleet import hpke
from tiktrue_keys.fleet.acknowledgements import OK, Acknowledgement, Result
from tiktrue_keys.fleet.apply import apply, needs_license, reason
from tiktrue_keys.fleet.envelopes import Contents, Head, Parcel, open_envelope, parse_envelope, peek
from tiktrue_keys.fleet.inbox import Inbox, StaleHeadError, get_inbox, must_continue, put_inbox, seen_as
from tiktrue_keys.fleet.own_identity import own_node_id
from tiktrue_keys.fleet.receive_result import Received, Refusal, Tally, notices
from tiktrue_keys.fleet.transports.interface import Transport

_EMPTY = Head(0, b"\x00" * 32)


def receive(
    manager: KeyManager,
    transport: Transport,
    *,
    license_key: License | None = None,
    operation_id: str | None = None,
) -> Received:
    """Apply everything that the pinned issuers posted for this keystore, and acknowledge it.

    The license is read when the first licensed key comes. What blocks an issuer's queue is in `blocked`. A transport
    that fails is raised when nothing came, else told in `outage`: what came by then is done, and the next call
    acknowledges it.
    """
    session = manager.session
    operation = repeatable(session, "receive", operation_id, {})
    with session.read() as (view, _):
        node_id = own_node_id(view.document)
        issuers = list(peers.peers(view.rows, ISSUER))
        sign = session.signer(view)
    if not issuers:
        raise RefusedError("no issuer is pinned here", "pin the issuer's card", remedy="pin-issuer")
    tally = Tally()
    for issuer in issuers:
        try:
            _Queue(session, issuer, node_id, license_key, tally).work(transport, sign)
        except UnavailableError as error:
            tally.outage = tally.outage or error
    if tally.outage is not None and not tally.consumed:
        raise tally.outage
    with session.read() as (view, now):
        lists = [(issuer.name, known_list(view.rows, issuer.node_id)) for issuer in issuers]
        tally.ended += [(name, known.valid_until) for name, known in lists if known and now >= known.valid_until]
    return Received(
        operation_id=operation.id,
        changed=bool(tally.consumed),
        warnings=notices(tally),
        consumed=tally.consumed,
        keys=tuple(tally.keys),
        superseded=tuple(tally.superseded),
        refusals=tuple(tally.refusals),
        blocked=tuple(tally.blocked),
        waits_for=tuple(tally.waits_for),
        ended=tuple(tally.ended),
        outage=tally.outage,
    )


class _Queue:
    """One issuer's envelopes for this node."""

    def __init__(
        self, session: KeystoreSession, issuer: Peer, node_id: str, license_key: License | None, tally: Tally
    ) -> None:
        self._session = session
        self._issuer = issuer
        self._node_id = node_id
        self._license_key = license_key
        self._tally = tally
        self._missed = False
        self._present: set[str] = set()
        with session.read() as (view, _):
            self._inbox = get_inbox(view.rows, issuer.node_id) or Inbox(issuer.node_id, issuer.epoch)
            with open_seed(session.root_keys, view.rows, "identity-hpke") as seed:
                self._private = hpke.private_key(seed.view)

    def work(self, transport: Transport, sign: Signer) -> None:
        """Collect, consume, acknowledge."""
        before = self._inbox
        lines = transport.collect(self._issuer.node_id, self._node_id, (before.epoch, before.number))
        self._present = {seen_as(hashlib.sha256(line).digest()) for line in lines}
        blocking: TikTrueKeysError | None = None
        stuck = 0  # the epoch whose queue has to wait; behind it, a restored issuer may have begun another
        for epoch, line in self._sorted(lines):
            if epoch <= stuck:
                continue
            number = self._inbox.number
            try:
                if not self._consider(line, waiting=blocking is None):
                    stuck = epoch
            except (StaleHeadError, ExpiredError) as error:
                blocking = error  # another copy of the same envelope may follow
            except TikTrueKeysError as error:
                blocking, stuck = error, epoch
            else:
                blocking = None if self._inbox.number > number else blocking
        if blocking is not None:
            self._block(blocking)
        elif self._missed:
            self._tell_of_a_gap()
        if self._inbox.number or self._inbox.blocked:
            acknowledgement = self._acknowledgement()
            transport.acknowledge(self._issuer.node_id, self._node_id, acknowledgement.sign(sign))

    def _sorted(self, lines: list[bytes]) -> list[tuple[int, bytes]]:
        """The lines that are envelopes, each once, in their own order, with their epochs; the others are refused."""
        placed: list[tuple[int, int, bytes]] = []
        for line in dict.fromkeys(lines):
            try:
                address = peek(line)
            except IntegrityError as error:
                self._refuse(line, 0, error)
            else:
                placed.append((address.epoch, address.number, line))
        return [(epoch, line) for epoch, _, line in sorted(placed, key=lambda each: each[:2])]

    def _consider(self, line: bytes, *, waiting: bool) -> bool:
        """Consume one line, skip it or refuse it; False when the queue has to wait. Raises what blocks the queue.

        `waiting` says whether a gap is news: not behind an envelope that is there and blocks.
        """
        digest = hashlib.sha256(line).digest()
        address = peek(line)
        known = self._inbox.result_of(address.number) if address.epoch == self._inbox.epoch else None
        if (known is not None and known.digest == digest) or self._inbox.has_seen(digest):
            return True
        if known is None and address.epoch == self._inbox.epoch and address.number <= self._inbox.number:
            return True  # consumed so long ago that its answer is forgotten; of a fork the heads since then tell
        try:
            parcel = self._verified(line)
        except IntegrityError as error:
            self._refuse(line, address.number, error)
            return True
        if address.epoch < self._inbox.epoch:
            self._refuse(line, address.number, RefusedError(f"the envelope is of the past epoch {address.epoch}"))
            return True
        if address.epoch > self._inbox.epoch:
            self._offer_epoch(parcel)
        if address.number <= self._inbox.number:
            self._must_not_fork(line, parcel, known)
            return True
        if address.number > self._inbox.number + 1:
            self._missed = waiting
            return False
        self._consume(parcel)
        return True

    def _verified(self, line: bytes) -> Parcel:
        parcel = parse_envelope(line, self._issuer.identity_key)
        if parcel.address.issuer != self._issuer.node_id:
            raise IntegrityError("the envelope is another issuer's")
        if parcel.address.node != self._node_id:
            raise IntegrityError(f"the envelope is for node {parcel.address.node}")
        return parcel

    def _offer_epoch(self, parcel: Parcel) -> None:
        """A new epoch is for people to accept: what it begins with is remembered until they do."""
        contents = open_envelope(parcel, self._private)
        self._inbox = replace(self._inbox, offered=(parcel.address.epoch, contents.vouched.base))
        raise RefusedError(
            f"issuer '{self._issuer.name}' has begun epoch {parcel.address.epoch}, held is {self._inbox.epoch}",
            "ask its administrator for the head that the epoch began with, then accept the epoch",
            remedy="accept-epoch",
            about={"issuer": self._issuer.name},
        )

    def _must_not_fork(self, line: bytes, parcel: Parcel, known: Result | None) -> None:
        """A number that was consumed comes again with other bytes: sealed again, replayed, or another history."""
        number = parcel.address.number
        contents = open_envelope(parcel, self._private)
        # Receipt and head are the same when the issuer seals it again, whatever became of the first copy.
        said = (contents.receipt, contents.vouched.head.root)
        if known is not None and said != (known.receipt, known.head):
            raise IntegrityError(
                f"envelope {number} of issuer '{self._issuer.name}' says something else than the one that was consumed",
                "its keystore was put back from an old copy, or there are two of it",
            )
        self._refuse(line, number, RefusedError(f"envelope {number} was consumed before"))

    def _consume(self, parcel: Parcel) -> None:
        now = Instant(int(self._session.clock()))
        if now > parcel.address.valid_until:
            raise ExpiredError(
                f"envelope {parcel.address.number} was valid until {rfc3339(parcel.address.valid_until)}",
                "the issuer re-issues it",
                remedy="reissue-envelope",
            )
        contents = open_envelope(parcel, self._private)
        try:
            head = must_continue(self._inbox.head, contents.vouched)
            prepared = self._license() if needs_license(parcel, contents) else None
            self._commit(parcel, contents, head, prepared)
        finally:
            if contents.secret is not None:
                contents.secret.wipe()

    def _commit(self, parcel: Parcel, contents: Contents, head: Head, prepared: PreparedLicense | None) -> None:
        address = parcel.address
        with self._session.write(new_operation_id()) as transaction:
            applied = apply(self._session, transaction, self._issuer, parcel, contents, prepared)
            result = Result(
                address.number, applied.outcome, parcel.digest, contents.receipt, contents.vouched.head.root
            )
            inbox = self._inbox.consumed(result, head, transaction.now)
            put_inbox(transaction.rows, inbox)
            transaction.record(
                "receive",
                outcome="ok" if applied.outcome == OK else "refused",
                key_id=address.key_id or None,
                after=applied.keys[0].status.value if applied.keys else None,
                detail=self._detail(address.number, parcel.digest, address.kind, applied.outcome),
            )
        self._inbox = inbox
        self._tally.consumed += 1
        self._tally.keys += applied.keys
        self._tally.superseded += applied.superseded
        if applied.outcome != OK:
            self._tally.refusals.append(Refusal(self._issuer.name, address.number, RefusedError(applied.outcome)))

    def _license(self) -> PreparedLicense:
        prepared = self._session.prepare(self._license_key)
        if prepared is None:
            raise UsageError("a licensed key has come", "pass license_key", remedy="needs-license")
        return prepared

    def _refuse(self, line: bytes, number: int, error: TikTrueKeysError) -> None:
        """Record bytes that are not consumed, once."""
        digest = hashlib.sha256(line).digest()
        if self._inbox.has_seen(digest):
            return
        self._tally.refusals.append(Refusal(self._issuer.name, number, error))
        inbox = self._inbox.with_seen(digest, self._present)
        if inbox is self._inbox:
            return
        with self._session.write(new_operation_id()) as transaction:
            put_inbox(transaction.rows, inbox)
            detail = self._detail(number, digest, "unknown", f"{error.code}: {error.message}")
            transaction.record("receive", outcome="refused", detail=detail)
        self._inbox = inbox

    def _block(self, error: TikTrueKeysError) -> None:
        """Remember and record what the queue waits for; the same again is not recorded again."""
        number = self._inbox.number + 1
        self._tally.blocked.append(Refusal(self._issuer.name, number, error))
        self._put_blocked("stale" if isinstance(error, StaleHeadError) else error.code, error.message)

    def _tell_of_a_gap(self) -> None:
        """The next envelope is not there, one behind it is: the issuer sends it again once it hears of that."""
        number = self._inbox.number + 1
        self._tally.waits_for.append((self._issuer.name, number))
        self._put_blocked("gap", f"envelope {number} has not come yet")

    def _put_blocked(self, code: str, message: str) -> None:
        inbox = replace(self._inbox, blocked=reason(code, message))
        with self._session.write(new_operation_id()) as transaction:
            if get_inbox(transaction.rows, inbox.issuer) == inbox:
                return
            put_inbox(transaction.rows, inbox)
            detail = self._detail(inbox.number + 1, b"", "unknown", f"{code}: {message}")
            transaction.record("receive", outcome="refused", detail=detail)
        self._inbox = inbox

    def _detail(self, number: int, digest: bytes, kind: str, outcome: str) -> dict[str, object]:
        return {
            "issuer": self._issuer.name,
            "number": number,
            "kind": kind,
            "envelope": digest.hex(),
            "reason": outcome,
        }

    def _acknowledgement(self) -> Acknowledgement:
        inbox = self._inbox
        return Acknowledgement(
            node=self._node_id,
            issuer=self._issuer.node_id,
            epoch=inbox.epoch,
            number=inbox.number,
            head=inbox.head or _EMPTY,
            results=inbox.results,
            at=Instant(int(self._session.clock())),
            blocked=inbox.blocked,
        )
