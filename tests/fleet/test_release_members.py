"""A release inside a revocation list: the largest one fits an envelope, and every malformed one is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.dispatch.test_releases import entry, identity, release
from tests.fleet.fleet import Fleet, fleet_in_memory
from tests.keystores import NOON
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.dispatch.releases import MAX_ENTRIES, MAX_WITHDRAWN, Release
from tiktrue_keys.core.dispatch.revocation_lists import RevocationList
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.members import Members, encoded
from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.fleet.envelopes import MAX_BODY
from tiktrue_keys.fleet.payloads import SIGNATURE_KIND, list_payload, read_list
from tiktrue_keys.fleet.release_members import read_release, release_json
from tiktrue_keys.fleet.signed import signed_line

LARGEST = Release(
    "m" * 96,
    entries=tuple(entry(number, 2**53 - 1) for number in range(MAX_ENTRIES)),
    withdrawn=tuple(map(identity, range(MAX_ENTRIES, MAX_ENTRIES + MAX_WITHDRAWN))),
)
PACKED = identity(1) + bytes(32) + bytes(8)


def read(members: dict[str, Any]) -> Release:
    return read_release(Members(members, "the release"))


def test_the_largest_release_comes_back_and_fits_an_envelope_with_a_full_list_of_revocations() -> None:
    assert read(release_json(LARGEST)) == LARGEST
    with fleet_in_memory() as fleet:
        issuer = fleet.node_id(fleet.admin)
        with fleet.admin.session.read() as (view, _):
            sign = fleet.admin.session.signer(view)
        made = RevocationList(issuer, 1, 5, NOON, Instant(NOON + 9), releases=(LARGEST,))
        payload = list_payload(made, sign)
        assert len(canonical_json(payload)) < MAX_BODY - 8192  # the proof and the head of the audit log
        found = read_list(payload, issuer, fleet.admin.issuer)
        _refuse_version_1(fleet, made)
    (there,) = found.releases
    assert (there.origin, there.epoch, there.number, there.issued_at) == (issuer, 1, 5, NOON)
    assert (there.entries, there.withdrawn) == (LARGEST.entries, LARGEST.withdrawn)


def _refuse_version_1(fleet: Fleet, made: RevocationList) -> None:
    """A list without a type is one of version 1; it is refused, even with a valid signature."""
    with fleet.admin.session.read() as (view, _):
        sign = fleet.admin.session.signer(view)
    revoked = {"key_id": "llama_0123456789abcdef", "revoked_at": 1, "reason": "x"}
    members = {"issuer": made.issuer, "epoch": 1, "number": 9, "issued_at": 1, "valid_until": 2, "revoked": [revoked]}
    line = signed_line(members, SIGNATURE_KIND, sign).decode()
    with pytest.raises(RefusedError, match="version 1") as refused:
        read_list({"list": line}, made.issuer, fleet.admin.issuer)
    assert refused.value.hint == "upgrade the issuer, then sync the fleet there"


@pytest.mark.parametrize(
    "change",
    [
        {"model_id": "../x"},
        {"model_id": "m" * 97},
        {"model_id": "llama_0123456789abcdef"},
        {"entries": encoded(PACKED[:-1])},
        {"entries": encoded(PACKED + PACKED)},
        {"entries": encoded(identity(2) + bytes(40) + PACKED)},
        {"entries": encoded(identity(1) + bytes(32) + (2**53).to_bytes(8, "big"))},
        {"entries": encoded(b"".join(identity(number) + bytes(40) for number in range(MAX_ENTRIES + 1)))},
        {"withdrawn": encoded(identity(1))},
        {"withdrawn": encoded(identity(3) + identity(2))},
        {"withdrawn": encoded(b"".join(map(identity, range(2, MAX_WITHDRAWN + 3))))},
        {"withdrawn": "****"},
        {"more": 1},
    ],
)
def test_a_malformed_release_is_refused(change: dict[str, Any]) -> None:
    whole = release_json(release(1))
    assert read(whole) == release(1)
    with pytest.raises(IntegrityError):
        read(whole | change)
