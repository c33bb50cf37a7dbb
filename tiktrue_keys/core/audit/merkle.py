"""The Merkle tree of RFC 6962 / RFC 9162 section 2.1 over stored hashes: append, root, proofs, and the verification of
consistency.

Come here for the mathematics of the audit log. The hash of every complete subtree is stored once under (level, index):
level 0 is the leaves, and (level, index) spans the 2**level leaves from index * 2**level on. Every function reads O(log
n) of the stored hashes; the caller stores them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from tiktrue_keys.errors import IntegrityError, NotFoundError

HASH_LENGTH = 32
HashReader = Callable[[int, int], bytes]
"""Returns the stored hash (32 bytes) of the complete subtree at (level, index)."""

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 | data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 | left | right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def appended(size: int, leaf: bytes, read: HashReader) -> list[tuple[int, int, bytes]]:
    """Return the (level, index, hash) to store when `leaf` (its data) is appended to `size` leaves, level 0 first.

    Reads one hash for each trailing one-bit of `size`: at most log2(size + 1), one on average.
    """
    level, index, digest = 0, size, leaf_hash(leaf)
    hashes = [(level, index, digest)]
    while index & 1:
        digest = node_hash(read(level, index - 1), digest)
        level, index = level + 1, index >> 1
        hashes.append((level, index, digest))
    return hashes


def root_hash(size: int, read: HashReader) -> bytes:
    """Return MTH of the first `size` leaves."""
    return _range_hash(0, size, read) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: HashReader) -> list[bytes]:
    """Return PATH(index, D[size]) of RFC 9162 section 2.1.3.1. Raises NotFoundError when there is no such leaf."""
    if not 0 <= index < size:
        raise NotFoundError(f"there is no record {index} among {size}")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_hash(middle, end, read))
            end = middle
        else:
            proof.append(_range_hash(start, middle, read))
            start = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, read: HashReader) -> list[bytes]:
    """Return PROOF(old, D[new]) of RFC 9162 section 2.1.4.1; it is empty when `old` is 0 or `new`.

    Raises NotFoundError when `old` is larger than `new`.
    """
    if not 0 <= old <= new:
        raise NotFoundError(f"there are no {old} records among {new}")
    if old in (0, new):
        return []
    proof: list[bytes] = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_range_hash(middle, end, read))
            end = middle
        else:
            proof.append(_range_hash(start, middle, read))
            start = middle
    # The verifier knows the old root, so it is left out when this subtree is the whole old tree.
    if start:
        proof.append(_range_hash(start, end, read))
    return proof[::-1]


def verify_inclusion(number: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Verify that `leaf` is the leaf `number` of the tree of `size` leaves with this root (RFC 9162 section 2.1.3.2).

    Raises IntegrityError when it is not.
    """
    wrong = IntegrityError("the proof does not lead from the record to the root")
    if not 0 <= number < size or not _well_formed(proof, root):
        raise wrong
    place, last, digest = number, size - 1, leaf_hash(leaf)
    for step in proof:
        if last == 0:
            raise wrong
        if place & 1 or place == last:
            digest = node_hash(step, digest)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            digest = node_hash(digest, step)
        place, last = place >> 1, last >> 1
    if last != 0 or digest != root:
        raise wrong


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise IntegrityError unless `proof` shows that the new tree only appended to the old one (RFC 9162, 2.1.4.2)."""
    wrong = IntegrityError(f"the tree of {new_size} records does not continue that of {old_size}")
    if not 0 <= old_size <= new_size or not _well_formed(proof, old_root, new_root):
        raise wrong
    if old_size in (0, new_size):
        roots = (EMPTY_ROOT if old_size == 0 else old_root, EMPTY_ROOT if new_size == 0 else new_root)
        if proof or (old_root, new_root) != roots or (old_size == new_size and old_root != new_root):
            raise wrong
    elif _roots_by(old_size, new_size, old_root, proof) != (old_root, new_root):
        raise wrong


def _roots_by(old_size: int, new_size: int, old_root: bytes, proof: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Return the old and new root that a consistency proof leads to; None when the proof has the wrong length.

    Requires 0 < old_size < new_size.
    """
    complete = old_size & (old_size - 1) == 0  # then the old root is the first step, and the proof omits it
    steps = [old_root, *proof] if complete else list(proof)
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    if not steps:
        return None
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, step)
        place, last = place >> 1, last >> 1
    return (old, new) if last == 0 else None


def _split(count: int) -> int:
    """Return the largest power of two smaller than `count` (at least 2)."""
    return 1 << ((count - 1).bit_length() - 1)


def _range_hash(start: int, end: int, read: HashReader) -> bytes:
    """Return MTH of leaves start..end (exclusive); `start` is a multiple of the largest complete subtree in it."""
    peaks: list[bytes] = []
    while start < end:
        level = (end - start).bit_length() - 1
        peaks.append(read(level, start >> level))
        start += 1 << level
    digest = peaks.pop()
    while peaks:
        digest = node_hash(peaks.pop(), digest)
    return digest


def _well_formed(proof: Sequence[bytes], *roots: bytes) -> bool:
    # A step of another length would shift the boundary between left and right inside node_hash.
    return all(len(digest) == HASH_LENGTH for digest in (*proof, *roots))
