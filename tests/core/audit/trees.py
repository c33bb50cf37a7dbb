"""A tree held in a dictionary, and RFC 6962's definition taken literally: what the merkle module is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from tiktrue_keys.core.audit import merkle


class StoredTree:
    """Keeps what `appended` says is to be stored and counts what is read back."""

    def __init__(self, leaves: Sequence[bytes] = ()) -> None:
        self.stored: dict[tuple[int, int], bytes] = {}
        self.size = 0
        self.reads = 0
        for leaf in leaves:
            self.append(leaf)

    def append(self, leaf: bytes) -> None:
        for level, index, digest in merkle.appended(self.size, leaf, self.read):
            assert (level, index) not in self.stored
            self.stored[level, index] = digest
        self.size += 1

    def read(self, level: int, index: int) -> bytes:
        self.reads += 1
        return self.stored[level, index]

    def root(self, size: int | None = None) -> bytes:
        return merkle.root_hash(self.size if size is None else size, self.read)


def literal_root(leaves: Sequence[bytes]) -> bytes:
    """MTH(D[n]) of RFC 6962 section 2.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = largest_power_below(len(leaves))
    return sha256(b"\x01" + literal_root(leaves[:k]) + literal_root(leaves[k:])).digest()


def literal_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    if m < k:
        return [*literal_path(m, leaves[:k]), literal_root(leaves[k:])]
    return [*literal_path(m - k, leaves[k:]), literal_root(leaves[:k])]


def literal_subproof(m: int, leaves: Sequence[bytes], complete: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2; with b true it is PROOF(m, D[n])."""
    if m == len(leaves):
        return [] if complete else [literal_root(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*literal_subproof(m, leaves[:k], complete), literal_root(leaves[k:])]
    return [*literal_subproof(m - k, leaves[k:], False), literal_root(leaves[:k])]


def largest_power_below(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k
