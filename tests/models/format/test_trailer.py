from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from blake3 import blake3

from tests.models.containers import EDGES, ISSUER, SEGMENT, STRANGER, header
from tiktrue_keys.core.canonical import parse_canonical
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.format.body import BodyHeader, Geometry
from tiktrue_keys.models.format.header import Origin
from tiktrue_keys.models.format.trailer import (
    FOOTER_LENGTH,
    TAIL_LENGTH,
    Signature,
    Trailer,
    body_leaf,
    body_root,
    decode_footer,
    decode_trailer,
    make_signature,
    signature_place,
    signed_content,
    verify_signature,
)

GEOMETRY = Geometry(SEGMENT)
HEADER = header()
BODY = BodyHeader(b"s" * 32, b"p" * 7)
LEAVES = b"".join(bytes([n]) * 32 for n in range(4))
LENGTH = 130
ROOT = body_root(HEADER.file_id, BODY, GEOMETRY, LENGTH, LEAVES)
LISTED = Trailer(4, LENGTH, ROOT, LEAVES)
SIGNATURE = make_signature(HEADER, BODY, LISTED, issuer=ISSUER.public, sign=ISSUER.signer.sign)
SIGNED = LISTED.signed(SIGNATURE)
FROM_PIPE = replace(SIGNED, leaves=None)


def decode(data: bytes) -> Trailer:
    return decode_trailer(data[:-TAIL_LENGTH], data[-TAIL_LENGTH:], GEOMETRY)


def with_checksum(data: bytes) -> bytes:
    """What an attacker without the issuer's key can make: a trailer whose checksum fits."""
    leaves, record, head = data[:-TAIL_LENGTH], data[-TAIL_LENGTH:-FOOTER_LENGTH], data[-FOOTER_LENGTH:-16]
    return data[:-16] + hashlib.sha256(leaves + record[:56] + bytes(112) + head).digest()[:16]


def changed(data: bytes, at: int, value: bytes) -> bytes:
    """`data` with `value` at `at` bytes before its end, and a checksum that fits."""
    start = len(data) - at
    return with_checksum(data[:start] + value + data[start + len(value) :])


@pytest.mark.parametrize("trailer", [LISTED, SIGNED, FROM_PIPE, replace(FROM_PIPE, signature=None)])
def test_a_trailer_says_what_it_was_made_of(trailer: Trailer) -> None:
    data = trailer.encode()
    assert decode(data) == trailer
    assert len(data) == trailer.encoded_length == TAIL_LENGTH + len(trailer.leaves or b"")
    assert decode_footer(data[-FOOTER_LENGTH:]) == len(data) - FOOTER_LENGTH
    assert with_checksum(data) == data


def test_the_fields_are_where_the_format_says() -> None:
    record = SIGNED.encode()[-200:-32]
    assert record[:8] == b"TTMR" + bytes([0, 1, 0, 1])
    assert record[8:24] == (4).to_bytes(8, "big") + LENGTH.to_bytes(8, "big")
    assert record[24:56] == ROOT
    assert record[56:88] == ISSUER.public
    assert record[88:152] == SIGNATURE.signature
    assert LISTED.encode()[-144:-32] == bytes(112)
    assert SIGNED.encode()[-144:-32] == signature_place(ROOT, SIGNATURE)
    assert SIGNED.encode()[-32:-16] == b"TTME" + bytes([0, 1, 0, 0]) + (4 * 32 + 168).to_bytes(8, "big")


def test_a_leaf_is_the_hash_of_segment_and_index() -> None:
    assert body_leaf(5, b"segment") == blake3(b"segment" + (5).to_bytes(8, "big")).digest()
    assert body_leaf(0, b"segment") != body_leaf(1, b"segment")


def test_the_root_stands_for_which_body_it_is_of() -> None:
    label = b"tiktrue-keys/1 model-root\x00"
    parts = label + HEADER.file_id + b"s" * 32 + b"p" * 7 + (64).to_bytes(4, "big") + (130).to_bytes(8, "big") + LEAVES
    assert blake3(parts).digest() == ROOT


@pytest.mark.parametrize("length", EDGES)
def test_any_length_has_a_trailer(length: int) -> None:
    count = GEOMETRY.segment_count(length)
    assert decode(Trailer(count, length, ROOT, bytes(32 * count)).encode()).segments == count


DATA = SIGNED.encode()
BAD = {
    "empty": (b"", "does not end with a footer"),
    "footer alone": (DATA[-32:], "does not end with a footer"),
    "one leaf less": (DATA[32:], "does not match its footer"),
    "one leaf more": (bytes(32) + DATA, "does not match its footer"),
    "footer magic": (changed(DATA, 32, b"TTMF"), "does not end with a footer"),
    "footer version": (changed(DATA, 28, b"\x00\x02"), "version 2"),
    "footer reserved": (changed(DATA, 26, b"\x00\x01"), "footer is malformed"),
    "footer length huge": (changed(DATA, 24, b"\xff" * 8), "footer is malformed"),
    "footer length 0": (changed(DATA, 24, bytes(8)), "footer is malformed"),
    "footer length odd": (changed(DATA, 24, (4 * 32 + 169).to_bytes(8, "big")), "footer is malformed"),
    "record magic": (changed(DATA, 200, b"TTMX"), "no trailer"),
    "record version": (changed(DATA, 196, b"\x00\x02"), "version 2"),
    "flags unknown": (changed(DATA, 194, b"\x00\x03"), "number of leaves"),
    "leaves not listed": (changed(DATA, 194, b"\x00\x00"), "number of leaves"),
    "flags unknown, no leaves": (changed(FROM_PIPE.encode(), 194, b"\x00\x02"), "number of leaves"),
    "one segment more": (changed(DATA, 192, (5).to_bytes(8, "big")), "number of leaves"),
    "segments huge": (changed(FROM_PIPE.encode(), 192, b"\xff" * 8), "number of segments"),
    "no segments": (changed(FROM_PIPE.encode(), 192, bytes(8)), "number of segments"),
    "length of other segments": (changed(DATA, 184, (500).to_bytes(8, "big")), "number of segments"),
    "length of fewer segments": (changed(DATA, 184, (100).to_bytes(8, "big")), "number of segments"),
    "length huge": (changed(DATA, 184, b"\xff" * 8), "number of segments"),
    "leaf changed": (b"\x01" + DATA[1:], "damaged"),
    "root changed": (DATA[:-176] + b"\x00" + DATA[-175:], "damaged"),
    "checksum changed": (DATA[:-1] + bytes([DATA[-1] ^ 1]), "damaged"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD)
def test_a_bad_trailer_is_an_integrity_error(data: bytes, words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        decode(data)


@pytest.mark.parametrize("at", range(112))
def test_a_signature_place_torn_at_any_byte_counts_as_unsigned(at: int) -> None:
    place = signature_place(ROOT, SIGNATURE)
    torn = place[:at] + bytes(112 - at)
    data = DATA[:-144] + torn + DATA[-32:]
    assert decode(data).signature is None


def test_the_signature_is_right_for_its_issuer() -> None:
    verify_signature(HEADER, BODY, SIGNED, ISSUER.public)
    rewrapped = replace(HEADER, origin=Origin.RECIPIENT)
    verify_signature(rewrapped, BODY, FROM_PIPE, ISSUER.public)


STOLEN = Signature(ISSUER.public, bytes(64))
OTHER_HEADERS = {
    "file id": replace(HEADER, file_id=bytes(16)),
    "model": replace(HEADER, model_id="other", wraps=(replace(HEADER.wraps[0], key_id="other_0123456789abcdef"),)),
    "name": replace(HEADER, name="other"),
    "kind": replace(HEADER, kind=type(HEADER.kind).GGUF),
    "segment size": replace(HEADER, segment_size=128),
}
CASES = {
    "unsigned": (HEADER, BODY, LISTED, "not signed"),
    "another issuer": (HEADER, BODY, SIGNED.signed(replace(SIGNATURE, issuer=STRANGER.public)), "another keystore"),
    "no signature of theirs": (HEADER, BODY, SIGNED.signed(STOLEN), "signature is wrong"),
    "another root": (HEADER, BODY, replace(SIGNED, root=bytes(32)), "signature is wrong"),
    "another length": (HEADER, BODY, replace(SIGNED, length=131), "signature is wrong"),
    "another salt": (HEADER, replace(BODY, salt=bytes(32)), SIGNED, "signature is wrong"),
    "another prefix": (HEADER, replace(BODY, prefix=bytes(7)), SIGNED, "signature is wrong"),
} | {f"another {name}": (other, BODY, SIGNED, "signature is wrong") for name, other in OTHER_HEADERS.items()}


@pytest.mark.parametrize(("head", "body", "trailer", "words"), CASES.values(), ids=CASES)
def test_a_signature_vouches_for_everything_but_the_wraps(
    head: object, body: BodyHeader, trailer: Trailer, words: str
) -> None:
    assert isinstance(head, type(HEADER))
    with pytest.raises(IntegrityError, match=words):
        verify_signature(head, body, trailer, ISSUER.public)


def test_an_issuer_that_is_no_key_is_an_integrity_error() -> None:
    bad = b"\xff" * 32
    with pytest.raises(IntegrityError, match="signature is wrong"):
        verify_signature(HEADER, BODY, LISTED.signed(Signature(bad, bytes(64))), bad)


def test_what_is_signed_is_canonical_json() -> None:
    content = parse_canonical(signed_content(HEADER, BODY, length=LENGTH, root=ROOT), limit=4096, what="it")
    assert content == {
        "file_id": HEADER.file_id.hex(),
        "kind": "other",
        "length": 130,
        "model_id": "model",
        "name": "weights.bin",
        "prefix": (b"p" * 7).hex(),
        "root": ROOT.hex(),
        "salt": (b"s" * 32).hex(),
        "segment_size": 64,
    }
