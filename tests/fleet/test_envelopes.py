"""Envelopes, cards and acknowledgements as bytes: whatever was changed is refused, and never as another exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.derivation import x_wing_public_bytes
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.members import encoded
from tiktrue_keys.core.node_ids import node_id_of
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.fleet import hpke
from tiktrue_keys.fleet.acknowledgements import MAX_RESULTS, OK, Acknowledgement, Result, parse_acknowledgement
from tiktrue_keys.fleet.cards import Card, parse_card
from tiktrue_keys.fleet.challenges import Challenge
from tiktrue_keys.fleet.envelopes import (
    MAX_ENVELOPE,
    Address,
    Contents,
    Head,
    Vouched,
    open_envelope,
    parse_envelope,
    peek,
    seal_envelope,
)
from tiktrue_keys.fleet.payloads import read_key
from tiktrue_keys.fleet.signed import signed_line

ISSUER = Ed25519PrivateKey.from_private_bytes(b"i" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
NODE_SEED, OTHER_SEED = memoryview(b"n" * 32), memoryview(b"o" * 32)
SECRET = b"k" * 32
ADDRESS = Address("a" * 32, "b" * 32, 1, 2, 7, "key", "llama_0123456789abcdef", 2, Instant(1000), Instant(2000))
VOUCHED = Vouched(Head(9, b"h" * 32), 4, (b"p" * 32, b"q" * 32), Head(0, b"e" * 32))
KEY = ISSUER.public_key().public_bytes_raw()


def sealed(address: Address = ADDRESS, *, signer: Ed25519PrivateKey = ISSUER, seed: memoryview = NODE_SEED) -> bytes:
    public = hpke.public_key(x_wing_public_bytes(seed))
    with SecretBuffer.copy_of(SECRET) as secret:
        contents = Contents(VOUCHED, b"r" * 16, {"pending": False}, secret)
        return seal_envelope(address, contents, public, signer.sign)


LINE = sealed()


def opened(line: bytes, seed: memoryview = NODE_SEED) -> Contents:
    return open_envelope(parse_envelope(line, KEY), hpke.private_key(seed))


def resigned(**changes: Any) -> bytes:
    """The envelope with other clear members, signed again: what a thief of only the issuer's signing key could make."""
    members = json.loads(LINE) | changes
    del members["signature"]
    return signed_line(members, "envelope", ISSUER.sign)


def test_what_was_sealed_comes_out() -> None:
    parcel = parse_envelope(LINE, KEY)
    contents = opened(LINE)
    assert parcel.address == ADDRESS == peek(LINE)
    assert (contents.vouched, contents.receipt, contents.payload) == (VOUCHED, b"r" * 16, {"pending": False})
    assert contents.secret is not None
    assert bytes(contents.secret.view) == SECRET


def test_the_secret_is_nowhere_in_the_line() -> None:
    assert encoded(SECRET).encode() not in LINE
    assert SECRET not in LINE
    assert SECRET.hex().encode() not in LINE


def test_every_flipped_bit_is_refused() -> None:
    private = hpke.private_key(NODE_SEED)
    for place in range(len(LINE)):
        edited = bytearray(LINE)
        edited[place] ^= 1 << (place % 8)
        with pytest.raises(IntegrityError):
            open_envelope(parse_envelope(bytes(edited), KEY), private)


def test_every_truncation_is_refused() -> None:
    for length in (*range(0, len(LINE), 97), len(LINE) - 1):
        with pytest.raises(IntegrityError):
            parse_envelope(LINE[:length], KEY)
        with pytest.raises(IntegrityError):
            peek(LINE[:length])


def test_another_issuer() -> None:
    with pytest.raises(IntegrityError, match="invalid signature"):
        parse_envelope(sealed(signer=STRANGER), KEY)


def test_another_node_cannot_open_it() -> None:
    with pytest.raises(IntegrityError, match="does not open"):
        opened(LINE, OTHER_SEED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from", "c" * 32),
        ("to", "c" * 32),
        ("epoch", 2),
        ("stream", 3),
        ("number", 8),
        ("kind", "void"),
        ("key_id", "qwen_0123456789abcdef"),
        ("generation", 3),
        ("issued_at", 1001),
        ("valid_until", 2001),
    ],
)
def test_every_clear_member_is_bound_to_what_is_sealed(name: str, value: object) -> None:
    line = resigned(**{name: value})
    parse_envelope(line, KEY)
    with pytest.raises(IntegrityError, match="does not open"):
        opened(line)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"more": 1}, "do not belong"),
        ({"number": -1}, "number"),
        ({"number": "7"}, "number"),
        ({"number": True}, "number"),
        ({"kind": "gift"}, "unknown"),
        ({"number": 0}, "number"),
        ({"number": 2**31}, "number"),
        ({"stream": 0}, "stream"),
        ({"stream": 2**31}, "stream"),
        ({"type": "tiktrue-card/2"}, "another type"),
        ({"type": "tiktrue-envelope/1"}, "has version 1, this program reads version 2: upgrade .* where it comes from"),
        ({"type": "tiktrue-envelope/3"}, "has version 3, this program reads version 2: upgrade tiktrue-keys here"),
        ({"type": "tiktrue-envelope/\u0661"}, "another type"),
        ({"key_id": "x" * 200}, "key_id"),
        ({"key_id": "a\x1b[2J"}, "key_id"),
        ({"sealed": "!!"}, "sealed"),
        ({"sealed": "AAB="}, "sealed"),
        ({"sealed": "A" * 60_000}, "longer|sealed"),
    ],
)
def test_malformed_members(changes: dict[str, object], words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        parse_envelope(resigned(**changes), KEY)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"\xff", b"{" * 5000, b" " + LINE, LINE + b"\n"])
def test_what_is_no_envelope(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_envelope(data, KEY)


def test_a_line_over_the_cap_is_not_even_parsed() -> None:
    with pytest.raises(IntegrityError, match="longer than"):
        peek(b'{"a":"' + b"x" * MAX_ENVELOPE + b'"}')


def test_sealing_twice_gives_other_bytes_of_the_same() -> None:
    again = sealed()
    assert again != LINE
    assert opened(again).vouched == opened(LINE).vouched


CARD = Card("n1", "node", "0" * 32, 1, KEY, x_wing_public_bytes(NODE_SEED), KEY, Instant(1000))


def test_a_card_is_its_own_witness() -> None:
    line = CARD.sign(ISSUER.sign)
    assert parse_card(line) == CARD
    assert len(CARD.node_id) == 32
    with pytest.raises(IntegrityError, match="invalid signature"):
        parse_card(CARD.sign(STRANGER.sign))


def test_every_flipped_bit_of_a_card_is_refused() -> None:
    line = CARD.sign(ISSUER.sign).rstrip(b"\n")
    for place in range(0, len(line), 3):
        edited = bytearray(line)
        edited[place] ^= 1 << (place % 8)
        with pytest.raises(IntegrityError):
            parse_card(bytes(edited))


def test_the_node_id_depends_on_both_halves() -> None:
    other = x_wing_public_bytes(OTHER_SEED)
    ids = {node_id_of(key, half) for key in (KEY, b"k" * 32) for half in (CARD.identity_hpke, other)}
    assert len(ids) == 4


ACKNOWLEDGEMENT = Acknowledgement(
    "b" * 32,
    "a" * 32,
    1,
    3,
    2,
    Head(9, b"h" * 32),
    tuple(Result(n, OK, b"d" * 32, b"r" * 16) for n in (1, 2)),
    Instant(5),
    challenge=Challenge(1, 7, Instant(4), b"t" * 16),
)


def test_an_acknowledgement_comes_back() -> None:
    for each in (ACKNOWLEDGEMENT, replace(ACKNOWLEDGEMENT, challenge=None)):
        assert parse_acknowledgement(each.sign(ISSUER.sign), KEY) == each
    with pytest.raises(IntegrityError, match="invalid signature"):
        parse_acknowledgement(ACKNOWLEDGEMENT.sign(STRANGER.sign), KEY)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value | {"results": value["results"][::-1]},
        lambda value: value | {"results": [*value["results"], value["results"][0] | {"number": 3}]},
        lambda value: value | {"results": value["results"] * MAX_RESULTS},
        lambda value: value | {"results": [[]]},
        lambda value: value | {"audit": {"size": 9}},
        lambda value: value | {"blocked": "x" * 101},
        lambda value: value | {"stream": 0},
        lambda value: value | {"challenge": {}},
        lambda value: value | {"challenge": value["challenge"] | {"round": 0}},
        lambda value: value | {"challenge": value["challenge"] | {"token": "00"}},
        lambda value: value | {"challenge": value["challenge"] | {"more": 1}},
        lambda value: value | {"type": "tiktrue-acknowledgement/1"},
    ],
)
def test_malformed_acknowledgements(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    members = change(json.loads(ACKNOWLEDGEMENT.sign(ISSUER.sign)))
    del members["signature"]
    assert canonical_json(members)
    with pytest.raises(IntegrityError):
        parse_acknowledgement(signed_line(members, "acknowledgement", ISSUER.sign), KEY)


PAYLOAD: dict[str, Any] = {
    "created_at": 1,
    "expires_at": 2,
    "decrypt_until": 2,
    "pending": False,
    "licensed": True,
    "predecessor": "",
    "overlap_ends_at": 0,
    "labels": {"a": ""},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"more": 1}, "do not belong"),
        ({"created_at": 3}, "impossible periods"),
        ({"decrypt_until": 1}, "impossible periods"),
        ({"labels": {str(number): "" for number in range(17)}}, "malformed labels"),
        ({"labels": {"": "a"}}, "malformed labels"),
        ({"labels": {"a": "x" * 65}}, "malformed labels"),
        ({"labels": {"a\n": "x"}}, "malformed labels"),
    ],
)
def test_what_an_issuer_says_of_a_key(changes: dict[str, Any], words: str) -> None:
    def read() -> object:
        return read_key(PAYLOAD | changes, "m_0123456789abcdef", 1)

    if not words:
        assert read()
        return
    with pytest.raises(IntegrityError, match=words):
        read()


@pytest.mark.parametrize("generation", [0, 2**31 - 1, 2**31])
def test_a_key_of_an_impossible_generation(generation: int) -> None:
    """A container could not name it, or its successor."""
    with pytest.raises(IntegrityError, match="generation"):
        read_key({}, "m_0123456789abcdef", generation)
