"""One issuer's envelopes on a node: consumes them in order, refuses what is not genuine, and acknowledges the rest.

Come here for why a node refuses an envelope or stops at one. Each envelope is one transaction: its effect, the node's
progress, the audit record. A process that is killed between two envelopes has finished the one and not begun the other.
When an envelope is missing, the queue waits for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from tiktrue_keys.core.dispatch.peers import Peer
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keys.licenses import License, PreparedLicense
from tiktrue_keys.core.keystore.identity import Signer, open_seed
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import (
    ExpiredError,
    IntegrityError,
    RefusedError,
    TikTrueKeysError,
    UsageError,
)
from tiktrue_keys.fleet import hpke
from tiktrue_keys.fleet.acknowledgements import OK, Acknowledgement, Result
from tiktrue_keys.fleet.apply import Arrival, apply, needs_license, reason
from tiktrue_keys.fleet.arrivals import arrivals
from tiktrue_keys.fleet.challenges import Challenge
from tiktrue_keys.fleet.envelopes import Address, Contents, Head, Parcel, open_envelope
from tiktrue_keys.fleet.inbox import Inbox, StaleHeadError, get_inbox, must_continue, put_inbox, seen_as
from tiktrue_keys.fleet.receive_result import Refusal, Tally
from tiktrue_keys.fleet.transports.interface import Junk, Transport

_EMPTY = Head(0, b"\x00" * 32)


class IssuerQueue:
    """What one issuer posted for this node. `tally` collects the results of the round."""

    def __init__(
        self, session: KeystoreSession, issuer: Peer, node_id: str, license_key: License | None, tally: Tally
    ) -> None:
        self._session = session
        self._issuer = issuer
        self._node_id = node_id
        self._license_key = license_key
        self._tally = tally
        self._missed = 0  # the number that is missing while a later one is present
        self._present: set[str] = set()
        with session.read() as (view, _):
            self._inbox = get_inbox(view.rows, issuer.node_id) or Inbox(issuer.node_id, issuer.epoch)
            with open_seed(session.root_keys, view.rows, "identity-hpke") as seed:
                self._private = hpke.private_key(seed.view)

    def work(self, transport: Transport, sign: Signer) -> None:
        """Collect, consume and acknowledge the envelopes. With a long queue, look again after each part of it."""
        while True:
            before, junk = self._inbox, Junk()
            came = arrivals(
                transport.collect(self._issuer.node_id, self._node_id, before.place, junk),
                self._issuer,
                self._node_id,
                is_settled=self._is_settled,
                remembered=frozenset(before.seen),
                junk=junk,
            )
            self._present = {*came.present, seen_as(_digest_of(junk))}
            blocking = self._consume_in_order(came.parcels)
            if not came.more or self._inbox.place == before.place:
                break
        if junk.total:
            self._refuse(_digest_of(junk), 0, RefusedError(f"the transport holds what is not for this node: {junk}"))
        if blocking is not None:
            self._block(blocking)
        elif self._missed:
            self._tell_of_a_gap()
        acknowledgement = self._acknowledgement(came.challenge)
        if acknowledgement.number or acknowledgement.blocked or came.challenge:
            transport.acknowledge(self._issuer.node_id, self._node_id, acknowledgement.sign(sign))

    def _consume_in_order(self, parcels: Iterable[Parcel]) -> TikTrueKeysError | None:
        """Consume what can be consumed. Return what blocks the queue, if anything."""
        blocking: TikTrueKeysError | None = None
        stuck = (0, 0)  # the stream whose queue has to wait; the issuer may have begun a later one
        for parcel in parcels:
            stream, place = parcel.address.place[:2], self._inbox.place
            if stream <= stuck:
                continue
            try:
                if not self._consider(parcel, waiting=blocking is None):
                    stuck = stream
            except (StaleHeadError, ExpiredError) as error:
                blocking = error  # another copy of the same envelope may follow
            except TikTrueKeysError as error:
                blocking, stuck = error, stream
            else:
                blocking = None if self._inbox.place > place else blocking
        return blocking

    def _is_settled(self, address: Address, digest: bytes) -> bool:
        """Return whether an envelope was consumed before, or is of an ended epoch or stream.

        The address need not be verified for that. The issuer removes such lines once it has read the acknowledgement.
        """
        if address.place > self._inbox.place:
            return False
        is_current = address.place[:2] == self._inbox.place[:2]
        known = self._inbox.result_of(address.number) if is_current else None
        # Without a remembered result it was consumed before those: the heads since then would reveal a fork.
        return known is None or known.digest == digest

    def _consider(self, parcel: Parcel, *, waiting: bool) -> bool:
        """Consume, skip or refuse one envelope. Return False when the queue has to wait; raise what blocks the queue.

        `waiting` says whether to report a gap: not behind an envelope that is present and blocks.
        """
        address = parcel.address
        if self._is_settled(address, parcel.digest):
            return True
        if address.epoch > self._inbox.epoch:
            self._offer_epoch(parcel)
        if address.place <= self._inbox.place:
            self._must_not_fork(parcel)
            return True
        expected = self._inbox.number + 1 if address.stream == self._inbox.stream else 1
        if address.number > expected:
            self._missed = expected if waiting else self._missed
            return False
        self._consume(parcel)
        return True

    def _offer_epoch(self, parcel: Parcel) -> None:
        """Remember the head with which a new epoch begins, and raise RefusedError.

        An administrator must accept the epoch.
        """
        contents = open_envelope(parcel, self._private)
        self._inbox = replace(self._inbox, offered=(parcel.address.epoch, contents.vouched.base))
        raise RefusedError(
            f"issuer '{self._issuer.name}' has begun epoch {parcel.address.epoch};"
            f" this node follows epoch {self._inbox.epoch}",
            "ask its administrator for the head that the epoch began with, then accept the epoch",
            remedy="accept-epoch",
            about={"issuer": self._issuer.name},
        )

    def _must_not_fork(self, parcel: Parcel) -> None:
        """Raise IntegrityError when a number that was consumed comes again from another history.

        Receipt and head stay the same when the issuer seals an envelope again.
        """
        number = parcel.address.number
        known, contents = self._inbox.result_of(number), open_envelope(parcel, self._private)
        if known is not None and (contents.receipt, contents.vouched.head.root) != (known.receipt, known.head):
            raise IntegrityError(
                f"envelope {number} of issuer '{self._issuer.name}' differs from the one that was consumed",
                "its keystore was copied back without a restore, or is in use twice",
            )

    def _consume(self, parcel: Parcel) -> None:
        now = Instant(int(self._session.clock()))
        if now > parcel.address.valid_until:
            raise ExpiredError(
                f"envelope {parcel.address.number} was valid until {rfc3339(parcel.address.valid_until)}",
                "wait until the issuer re-issues it",
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
            applied = apply(Arrival(self._session, transaction, self._issuer, parcel, contents, prepared))
            result = Result(
                address.number, applied.outcome, parcel.digest, contents.receipt, contents.vouched.head.root
            )
            inbox = self._inbox.consumed(result, address.stream, head, transaction.now)
            put_inbox(transaction.rows, inbox)
            transaction.record(
                "receive",
                outcome="ok" if applied.outcome == OK else "refused",
                key_id=address.key_id or None,
                after=applied.keys[0].status.value if applied.keys else None,
                detail=self._detail(address.number, parcel.digest, address.kind, applied.outcome)
                | ({"foreign": applied.foreign} if applied.foreign else {}),
            )
        self._inbox, self._missed = inbox, 0
        self._tally.consumed += 1
        self._tally.keys += applied.keys
        self._tally.superseded += applied.superseded
        self._tally.foreign += applied.foreign
        if applied.outcome != OK:
            self._tally.refusals.append(Refusal(self._issuer.name, address.number, RefusedError(applied.outcome)))

    def _license(self) -> PreparedLicense:
        prepared = self._session.prepare(self._license_key)
        if prepared is None:
            raise UsageError("a received key needs its license", "pass license_key", remedy="needs-license")
        return prepared

    def _refuse(self, digest: bytes, number: int, error: TikTrueKeysError) -> None:
        """Report what is not consumed. Record it once, also when the next receive finds it again."""
        self._tally.refusals.append(Refusal(self._issuer.name, number, error))
        if self._inbox.has_seen(digest):
            return
        inbox = self._inbox.with_seen(digest, self._present)
        if inbox is self._inbox:
            return
        with self._session.write(new_operation_id()) as transaction:
            put_inbox(transaction.rows, inbox)
            detail = self._detail(number, digest, "unknown", f"{error.code}: {error.message}")
            transaction.record("receive", outcome="refused", detail=detail)
        self._inbox = inbox

    def _block(self, error: TikTrueKeysError) -> None:
        """Remember and record what blocks the queue. The same reason is not recorded twice."""
        number = self._inbox.number + 1
        self._tally.blocked.append(Refusal(self._issuer.name, number, error))
        self._put_blocked("stale" if isinstance(error, StaleHeadError) else error.code, error.message, number)

    def _tell_of_a_gap(self) -> None:
        """Report that the next envelope is missing while a later one is present. The issuer then sends it again."""
        self._tally.waits_for.append((self._issuer.name, self._missed))
        self._put_blocked("gap", f"envelope {self._missed} has not arrived yet", self._missed)

    def _put_blocked(self, code: str, message: str, number: int) -> None:
        inbox = replace(self._inbox, blocked=reason(code, message))
        with self._session.write(new_operation_id()) as transaction:
            if get_inbox(transaction.rows, inbox.issuer) == inbox:
                return
            put_inbox(transaction.rows, inbox)
            detail = self._detail(number, b"", "unknown", f"{code}: {message}")
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

    def _acknowledgement(self, challenge: Challenge | None) -> Acknowledgement:
        """Return the state of the keystore as it is after the challenge was read: another process may receive too."""
        with self._session.read() as (view, _):
            inbox = get_inbox(view.rows, self._issuer.node_id) or self._inbox
        return Acknowledgement(
            node=self._node_id,
            issuer=self._issuer.node_id,
            epoch=inbox.epoch,
            stream=inbox.stream,
            number=inbox.number,
            head=inbox.head or _EMPTY,
            results=inbox.results,
            at=Instant(int(self._session.clock())),
            blocked=inbox.blocked,
            challenge=challenge,
        )


def _digest_of(junk: Junk) -> bytes:
    """Return the hash by which the same junk is known again."""
    return hashlib.sha256(str(junk).encode()).digest()
