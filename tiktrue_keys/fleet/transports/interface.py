"""The interface of a transport.

Come here to add one: a class with these methods in another package. Its entry point takes the text after the scheme's
colon and the credentials, and returns the transport. tests/fleet/example_transport is a complete example.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

MAX_LINE = 64 * 1024
"""The most bytes of one line; a longer line is dropped."""

MAX_LINES = 4096
"""The most lines that one `collect` returns."""


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


class Transport(Protocol):
    """Carries lines from an issuer to nodes, and one line back from each. Raises UnavailableError when it fails.

    `issuer` and node ids are 32 characters of base32. Delivery may be late, repeated or out of order; lost lines are
    sent again.
    """

    def publish(self, issuer: str, number: int, posts: Iterable[Posted]) -> None:
        """Publish a round, completely or not at all where the transport can do that.

        `number` counts the issuer's rounds. A challenge may replace the one that the node was sent before. Returns when
        the round is durable.
        """

    def collect(self, issuer: str, node_id: str, after: Place) -> list[bytes]:
        """Return the lines for a node, at most MAX_LINES: at least those past that place, and its newest challenge.

        They are hostile until verified.
        """

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        """Replace the node's last acknowledgement."""

    def acknowledgements(self, issuer: str, node_ids: Iterable[str]) -> Iterable[tuple[str, bytes]]:
        """Return the newest acknowledgement of each of these nodes that has one."""

    def tidy(self, issuer: str, consumed: Mapping[str, Place]) -> None:
        """Remove lines that every node they were for has consumed.

        `consumed` maps node ids to the highest place. A node that it does not name needs no lines.
        """

    def wait(self, issuer: str, node_id: str, seconds: float) -> None:
        """Return when there may be something new for the node, or after `seconds`."""

    def close(self) -> None:
        """Close the connections."""
