"""Rows of containers by location: whatever is put, moved and removed, each row and each link from a key is there."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.keystores import FILE_ID, NOON, Desk
from tiktrue_keys.core.containers import registry
from tiktrue_keys.core.containers.claims import MAX_CLAIMS, Claim, all_claims, put_claims
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.keystore.rows import Owner
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.errors import RefusedError

KEYS = [f"m_{number:016x}" for number in range(4)]
PATHS = ["/a", "/b", "/c", "/d", ""]


def row(path: str, keys: frozenset[str]) -> ContainerRecord:
    return ContainerRecord(FILE_ID, path, "m", "m", keys, NOON, piped=not path)


@pytest.mark.parametrize("seed", range(5))
def test_rows_and_links_follow_a_random_program(desk: Desk, seed: int) -> None:
    chance, expected = random.Random(seed), {}
    session = desk.session()
    desk.manager().generate("m", no_license=True)
    with session.write(new_operation_id()) as transaction:
        transaction.record("test")
        for _ in range(60):
            path = chance.choice(PATHS)
            keys = frozenset(chance.sample(KEYS, chance.randrange(1, 4)))
            deed = chance.choice(["put", "put", "move", "delete"])
            if deed == "put":
                registry.put_container(transaction, row(path, keys))
                expected[path] = keys
            elif deed == "move" and expected:
                was = chance.choice(list(expected))
                registry.put_container(transaction, row(path, keys), was=was)
                del expected[was]
                expected[path] = keys
            elif path in expected:
                registry.delete_container(transaction, row(path, expected.pop(path)))
            found = registry.locations_of(transaction.rows, FILE_ID)
            assert {record.path: record.keys for record in found} == expected
            assert {record.path for record in registry.all_containers(transaction.rows)} == set(expected)
            for key_id in KEYS:
                opens = {path for path, keys in expected.items() if key_id in keys}
                assert {record.path for record in registry.containers_of(transaction.rows, key_id)} == opens
                links = transaction.rows.owned_by(RecordKind.WRAPPING, Owner(RecordKind.KEY, key_id))
                assert len(links) == bool(opens)


def test_a_container_has_at_most_256_locations(desk: Desk) -> None:
    desk.manager().generate("m", no_license=True)
    with desk.session().write(new_operation_id()) as transaction:
        transaction.record("test")
        for number in range(registry.MAX_LOCATIONS):
            registry.put_container(transaction, row(f"/{number}", frozenset(KEYS[:1])))
        with pytest.raises(RefusedError, match="256"):
            registry.put_container(transaction, row("/one-more", frozenset(KEYS[:1])))
        registry.put_container(transaction, replace(row("/7", frozenset(KEYS[1:2])), name="again"))


def test_claims_are_bounded_and_dropped_with_their_path(desk: Desk) -> None:
    desk.manager().generate("m", no_license=True)
    claims = [Claim(f"/{number}", FILE_ID, frozenset(KEYS), NOON) for number in range(MAX_CLAIMS + 2)]
    with desk.session().write(new_operation_id()) as transaction:
        transaction.record("test")
        assert put_claims(transaction, claims, ()) == 2
        assert len(all_claims(transaction.rows)) == MAX_CLAIMS
        assert put_claims(transaction, claims[-1:], ["/0", "/1"]) == 0
        assert len(all_claims(transaction.rows)) == MAX_CLAIMS - 1
        many = Claim("/3", FILE_ID, frozenset(f"m_{number:016x}" for number in range(100)), NOON)
        put_claims(transaction, [many], ())
        (stored,) = [claim for claim in all_claims(transaction.rows) if claim.path == "/3"]
        assert len(stored.keys) == 64
