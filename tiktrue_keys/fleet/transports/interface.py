"""The interface of a transport.

Come here to add one: a class with these methods in another package. Its entry point takes the text after the scheme's
colon and the credentials, and returns the transport. tests/fleet/example_transport is a complete example.

A transport carries lines and does not judge them. The receiver takes each line by its own signature, so that a
transport needs no key to deliver, and what an attacker adds to it costs time and hides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tiktrue_keys.core.keystore.identity import Signer

MAX_LINE = 64 * 1024
"""The most bytes of one line; a longer line is junk."""

Place = tuple[int, int, int]
"""Epoch, stream and number of an envelope: places are ordered. Number 0 is a challenge, of which the newest counts."""


@dataclass(frozen=True)
class Posted:
    """An envelope or a challenge to send.

    `line` holds no newline. The lines of a node come together, in the order of their places.
    """

    node_id: str
    place: Place
    line: bytes


@dataclass
class Junk:
    """Counts what a transport holds beside envelopes, by reason: lines and files that were skipped.

    A reason is one of a few fixed texts in the singular, `line that is too long`; the counts take no memory that an
    attacker decides on.
    """

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, count: int = 1) -> None:
        """Count what was skipped."""
        self.counts[reason] = self.counts.get(reason, 0) + count

    @property
    def total(self) -> int:
        """Return how many lines and files were skipped."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        """Return every reason with its count, in an order of their own."""
        return ", ".join(f"{self.counts[reason]} x {reason}" for reason in sorted(self.counts))


class Transport(Protocol):
    """Carries lines from an issuer to nodes, and one line back from each. Raises UnavailableError when it fails.

    `issuer` and node ids are 32 characters of base32. Delivery may be late, repeated or out of order; lost lines are
    sent again.
    """

    def publish(self, issuer: str, number: int, posts: Iterable[Posted], sign: Signer) -> None:
        """Publish a round, completely or not at all where the transport can do that.

        `number` counts the issuer's rounds from 1. A challenge may replace the one that the node was sent before.
        `sign` is for what the transport itself has to recognise in `tidy`. Returns when the round is durable.
        """

    def collect(self, issuer: str, node_id: str, after: Place, junk: Junk) -> Iterable[bytes]:
        """Yield the lines for a node in any order: at least those past the place `after`, and its newest challenge.

        They are hostile until verified. Only a part of them is in memory at a time, and none is withheld because there
        are many others. What cannot be a line is counted in `junk`.
        """

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        """Replace the node's last acknowledgement."""

    def acknowledgements(self, issuer: str, node_ids: Iterable[str], junk: Junk) -> Iterable[tuple[str, bytes]]:
        """Yield the newest acknowledgement of each of these nodes that has one. One node's never hides another's."""

    def tidy(self, issuer: str, consumed: Mapping[str, Place], identity_key: bytes) -> None:
        """Remove lines that every node they were for has consumed, and nothing that the issuer did not publish.

        `consumed` maps node ids to the highest place. A node that it does not name needs no lines. `identity_key`
        (Ed25519, 32 bytes) verifies what `publish` signed.
        """

    def wait(self, issuer: str, node_id: str, seconds: float) -> None:
        """Return when there may be something new for the node, or after `seconds`."""

    def close(self) -> None:
        """Close the connections."""
