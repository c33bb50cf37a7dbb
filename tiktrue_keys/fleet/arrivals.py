"""Selects from what a transport holds the envelopes of one issuer for this node, lowest place first, and its challenge.

Come here for how a node copes with a transport that others write to. Every line is verified by its own signature before
it counts; only so many are in memory at a time. A line that is not the issuer's for this node is junk, and hides
nothing however many there are.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from operator import itemgetter

from tiktrue_keys.core.dispatch.peers import Peer
from tiktrue_keys.core.members import OtherVersionError
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.fleet.challenges import Challenge, is_challenge, parse_challenge, peek_challenge
from tiktrue_keys.fleet.envelopes import Address, Parcel, parse_envelope, peek
from tiktrue_keys.fleet.inbox import seen_as
from tiktrue_keys.fleet.transports.interface import Junk

MAX_PARCELS = 4096
MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class Arrivals:
    """The verified envelopes in order, and the newest challenge. `more` says that others were left out: look again.

    `present` holds those of the remembered refusals that are still in the transport.
    """

    parcels: tuple[Parcel, ...]
    challenge: Challenge | None
    present: frozenset[str]
    more: bool


@dataclass
class _Window:
    """The envelopes with the lowest places; the highest one is on top of the heap, and is left out first."""

    heap: list[tuple[tuple[int, ...], bytes, Parcel]] = field(default_factory=list)
    digests: set[bytes] = field(default_factory=set)
    size: int = 0
    more: bool = False

    def add(self, parcel: Parcel) -> None:
        address = parcel.address
        place = tuple(-number for number in (*address.place, address.issued_at))
        heapq.heappush(self.heap, (place, parcel.digest, parcel))
        self.digests.add(parcel.digest)
        self.size += len(parcel.sealed)
        while len(self.heap) > 1 and (len(self.heap) > MAX_PARCELS or self.size > MAX_BYTES):
            _, digest, left_out = heapq.heappop(self.heap)
            self.digests.remove(digest)
            self.size -= len(left_out.sealed)
            self.more = True

    def in_order(self) -> tuple[Parcel, ...]:
        return tuple(parcel for _, _, parcel in sorted(self.heap, key=itemgetter(0), reverse=True))


def arrivals(
    lines: Iterable[bytes],
    issuer: Peer,
    node_id: str,
    *,
    is_settled: Callable[[Address, bytes], bool],
    remembered: Set[str],
    junk: Junk,
) -> Arrivals:
    """Return the lowest of the issuer's envelopes for this node that are not settled, from lines in any order.

    `is_settled` takes an unverified address and the SHA-256 of the line; what is settled is not verified again.
    """
    window, present = _Window(), set[str]()
    challenge: Challenge | None = None
    for line in lines:
        digest = hashlib.sha256(line).digest()
        if seen_as(digest) in remembered:
            present.add(seen_as(digest))
        try:
            if is_challenge(line):
                challenge = _newer(line, challenge, issuer, junk)
                continue
            address = peek(line)
        except OtherVersionError as error:
            side = error.message.rpartition("tiktrue-keys ")[2]
            junk.add(f"line of another version (upgrade tiktrue-keys {side})")
            continue
        except IntegrityError:
            junk.add("line that is not an envelope")
            continue
        if digest in window.digests or is_settled(address, digest):
            continue
        if (address.issuer, address.node) != (issuer.node_id, node_id):
            junk.add("envelope of another issuer or node")
            continue
        try:
            window.add(parse_envelope(line, issuer.identity_key))
        except IntegrityError:
            junk.add("envelope that was forged or changed")
    return Arrivals(window.in_order(), challenge, frozenset(present), window.more)


def _newer(line: bytes, newest: Challenge | None, issuer: Peer, junk: Junk) -> Challenge | None:
    """Return the newer of two challenges. One that is not newer does not matter, and is not verified."""
    if newest is not None and peek_challenge(line) <= newest:
        return newest
    try:
        sender, challenge = parse_challenge(line, issuer.identity_key)
    except IntegrityError:
        junk.add("challenge that was forged or changed")
        return newest
    if sender != issuer.node_id:
        junk.add("challenge of another issuer")
        return newest
    return challenge
