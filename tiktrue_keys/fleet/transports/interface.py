"""What a transport does. A third one is a class with these methods in another package, named by an entry point whose
value takes what follows the scheme's colon, and the credentials, and returns the transport. The repository has a whole
one as an example: tests/fleet/example_transport."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

MAX_LINE = 64 * 1024
"""The most bytes of one line; a longer one is not carried on."""

MAX_LINES = 4096
"""The most lines that one `collect` gives."""


@dataclass(frozen=True)
class Posted:
    """An envelope on its way: `line` holds no newline. A node's come together, in the order of their numbers."""

    node_id: str
    epoch: int
    number: int
    line: bytes


class Transport(Protocol):
    """Carries lines from an issuer to nodes, and one line back from each. UnavailableError when it is out of order.

    `issuer` and node ids are 32 characters of base32. Delivery may be late, doubled or out of order; what is lost is
    sent again.
    """

    def publish(self, issuer: str, posts: Iterable[Posted]) -> None:
        """Put a round out, whole or not at all where the transport can do that; returns when it is durable."""

    def collect(self, issuer: str, node_id: str, after: tuple[int, int]) -> list[bytes]:
        """The lines for a node, at least those past (epoch, number); hostile until verified, at most MAX_LINES."""

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        """Put a node's acknowledgement in the place of its last one."""

    def acknowledgements(self, issuer: str, node_ids: Iterable[str]) -> Iterable[tuple[str, bytes]]:
        """The newest acknowledgement of each of these nodes that has one."""

    def tidy(self, issuer: str, consumed: Mapping[str, tuple[int, int]]) -> None:
        """Remove what every node it was for has consumed: the highest (epoch, number) by node id; others are gone."""

    def wait(self, issuer: str, node_id: str, seconds: float) -> None:
        """Return when there may be something new for the node, or after `seconds`."""

    def close(self) -> None:
        """Let connections go."""
