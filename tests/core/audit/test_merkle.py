from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.audit.trees import StoredTree, literal_path, literal_root, literal_subproof
from tiktrue_keys.core.audit import merkle
from tiktrue_keys.errors import IntegrityError, NotFoundError

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "rfc6962.json").read_text())
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]

MOST = 70  # past two complete levels of 32 and every shape of a ragged right edge below


def made_up(size: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(size)]


@cache
def tree(size: int) -> StoredTree:
    return StoredTree(made_up(size))


def hashes(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("size", range(9))
def test_published_root(size: int) -> None:
    assert StoredTree(LEAVES).root(size) == ROOTS[size]


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=lambda v: f"{v['index']}of{v['size']}")
def test_published_inclusion_proof(vector: dict[str, Any]) -> None:
    index, size, proof = vector["index"], vector["size"], hashes(vector["proof"])
    assert merkle.inclusion_proof(index, size, StoredTree(LEAVES).read) == proof


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=lambda v: f"{v['old']}to{v['new']}")
def test_published_consistency_proof(vector: dict[str, Any]) -> None:
    old, new, proof = vector["old"], vector["new"], hashes(vector["proof"])
    assert merkle.consistency_proof(old, new, StoredTree(LEAVES).read) == proof
    merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)


@pytest.mark.parametrize("size", range(MOST + 1))
def test_everything_agrees_with_the_definition_taken_literally(size: int) -> None:
    leaves, read = made_up(size), tree(MOST).read
    root = literal_root(leaves)
    assert merkle.root_hash(size, read) == root
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, read)
        assert proof == literal_path(index, leaves)
        merkle.verify_inclusion(index, size, leaves[index], proof, root)
    for old in range(1, size + 1):
        proof = merkle.consistency_proof(old, size, read)
        assert proof == literal_subproof(old, leaves)
        merkle.verify_consistency(old, size, literal_root(leaves[:old]), root, proof)


@given(data=st.data(), size=st.integers(1, MOST))
def test_an_inclusion_proof_of_anything_else_is_refused(data: st.DataObject, size: int) -> None:
    index, read, leaves = data.draw(st.integers(0, size - 1)), tree(MOST).read, made_up(size)
    proof, root = merkle.inclusion_proof(index, size, read), merkle.root_hash(size, read)
    bit, other = data.draw(st.integers(0, 255)), data.draw(st.integers(-1, size + 1).filter(lambda n: n != index))
    wrong = [
        (index, leaves[index], [*proof[:at], flipped(step, bit), *proof[at + 1 :]], root)
        for at, step in enumerate(proof)
    ]
    wrong += [
        (index, leaves[index] + b"x", proof, root),
        (index, leaves[index], proof, flipped(root, bit)),
        (index, leaves[index], [*proof, root], root),
        (other, leaves[index], proof, root),
    ]
    wrong += [(index, leaves[index], proof[:-1], root)] if proof else []
    for number, leaf, steps, head in wrong:
        with pytest.raises(IntegrityError):
            merkle.verify_inclusion(number, size, leaf, steps, head)


@given(data=st.data(), size=st.integers(2, MOST))
def test_a_consistency_proof_with_a_flipped_bit_is_refused(data: st.DataObject, size: int) -> None:
    old, read = data.draw(st.integers(1, size)), tree(MOST).read
    proof = merkle.consistency_proof(old, size, read)
    roots = merkle.root_hash(old, read), merkle.root_hash(size, read)
    bit = data.draw(st.integers(0, 255))
    for place, step in enumerate(proof):
        with pytest.raises(IntegrityError):
            merkle.verify_consistency(old, size, *roots, [*proof[:place], flipped(step, bit), *proof[place + 1 :]])
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(old, size, flipped(roots[0], bit), roots[1], proof)
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(old, size, roots[0], flipped(roots[1], bit), proof)


@given(data=st.data(), size=st.integers(2, MOST))
def test_a_consistency_proof_of_another_length_is_refused(data: st.DataObject, size: int) -> None:
    old, read = data.draw(st.integers(1, size - 1)), tree(MOST).read
    roots = merkle.root_hash(old, read), merkle.root_hash(size, read)
    proof = merkle.consistency_proof(old, size, read)
    for wrong in ([], proof[:-1], [*proof, proof[-1]]):
        with pytest.raises(IntegrityError):
            merkle.verify_consistency(old, size, *roots, wrong)


def test_a_larger_trees_proof_does_not_pass_for_a_smaller_ones() -> None:
    read = StoredTree(LEAVES).read
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(3, 4, ROOTS[7], ROOTS[8], merkle.consistency_proof(7, 8, read))


def test_a_smaller_trees_proof_does_not_pass_for_a_larger_ones() -> None:
    read = StoredTree(LEAVES).read
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(3, 8, ROOTS[3], ROOTS[4], merkle.consistency_proof(3, 4, read))


def test_a_root_that_is_no_hash_is_refused_even_where_nothing_is_to_be_proven() -> None:
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(0, 3, ROOTS[0], ROOTS[3][:31], [])
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(3, 3, b"", b"", [])


@pytest.mark.parametrize(
    ("old_root", "new_root", "proof", "sizes"),
    [
        (b"\x01" * 32, ROOTS[3], [], (0, 3)),
        (ROOTS[0], ROOTS[3], [ROOTS[1]], (0, 3)),
        (ROOTS[3], ROOTS[4], [], (3, 3)),
        (ROOTS[3], ROOTS[3], [ROOTS[1]], (3, 3)),
        (ROOTS[1], ROOTS[1], [], (0, 0)),
        (ROOTS[3], ROOTS[3], [], (3, 5)),
        (ROOTS[4], ROOTS[4], [], (4, 2)),
        (ROOTS[0], ROOTS[2], [], (-1, 2)),
    ],
    ids=[
        "not-empty",
        "proof-from-empty",
        "other-root",
        "proof-of-nothing",
        "empty-with-root",
        "no-steps",
        "shrunk",
        "negative",
    ],
)
def test_trivial_consistency_is_still_checked(
    old_root: bytes, new_root: bytes, proof: list[bytes], sizes: tuple[int, int]
) -> None:
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(*sizes, old_root, new_root, proof)


def test_every_tree_continues_the_empty_one_and_itself() -> None:
    merkle.verify_consistency(0, 0, ROOTS[0], ROOTS[0], [])
    merkle.verify_consistency(0, 8, ROOTS[0], ROOTS[8], merkle.consistency_proof(0, 8, StoredTree(LEAVES).read))
    merkle.verify_consistency(8, 8, ROOTS[8], ROOTS[8], merkle.consistency_proof(8, 8, StoredTree(LEAVES).read))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (8, 8), (-1, 8)])
def test_there_is_no_proof_of_a_record_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(NotFoundError, match=f"no record {index} among {size}"):
        merkle.inclusion_proof(index, size, StoredTree(LEAVES).read)


@pytest.mark.parametrize(("old", "new"), [(9, 8), (-1, 8)])
def test_there_is_no_proof_from_a_later_head(old: int, new: int) -> None:
    with pytest.raises(NotFoundError, match=f"no {old} records among {new}"):
        merkle.consistency_proof(old, new, StoredTree(LEAVES).read)


def test_reads_grow_with_the_logarithm() -> None:
    size = 5_000
    stored = StoredTree()
    for number in range(size):
        stored.reads = 0
        stored.append(b"x")
        assert stored.reads <= (number + 1).bit_length() - 1  # floor(log2(number + 1))
    depth = size.bit_length()
    for number in (0, 1, 2_047, 2_048, 4_095, 4_096, 4_998, 4_999):
        stored.reads = 0
        merkle.root_hash(number + 1, stored.read)
        assert stored.reads <= depth
        stored.reads = 0
        merkle.inclusion_proof(number, size, stored.read)
        assert stored.reads <= 2 * depth
        stored.reads = 0
        merkle.consistency_proof(number + 1, size, stored.read)
        assert stored.reads <= 2 * depth
