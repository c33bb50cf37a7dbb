from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.models.containers import SMALL, header, wrap
from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.models.format.header import Header, Origin, Wrap, WrapType, safe_name, sorted_wraps
from tiktrue_keys.models.format.kind import Kind, detect_kind

LIMIT = 32_672
LONGEST = 2**21 * (2**20 - 16) - 40
GOOD: dict[str, Any] = {
    "file_id": "00112233445566778899aabbccddeeff",
    "kind": "safetensors",
    "length": 12,
    "model_id": "org/model",
    "name": "model.safetensors",
    "origin": "keystore",
    "segment_size": 1048576,
    "wraps": [
        {
            "generation": 1,
            "key_id": "org/model_0123456789abcdef",
            "type": "managed-key",
            "wrapped": base64.b64encode(bytes(60)).decode(),
        }
    ],
}


def spelled(value: Any) -> bytes:
    """Canonical JSON, but of any value: core/canonical.py refuses what parsing would refuse."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def decode(members: Any, **options: Any) -> Header:
    return Header.decode(spelled(members), limit=LIMIT, **options)


HPKE = GOOD["wraps"][0] | {"type": "hpke", "wrapped": base64.b64encode(bytes(1168)).decode()}


def wraps_for(*numbers: int) -> dict[str, Any]:
    return GOOD | {"wraps": [GOOD["wraps"][0] | {"key_id": f"org/model_{number:016x}"} for number in numbers]}


def with_wrap(**changes: Any) -> dict[str, Any]:
    return GOOD | {"wraps": [GOOD["wraps"][0] | changes]}


def test_a_header_says_what_its_json_says() -> None:
    read = decode(GOOD)
    assert read == Header(
        bytes.fromhex("00112233445566778899aabbccddeeff"),
        "org/model",
        "model.safetensors",
        Kind.SAFETENSORS,
        12,
        Origin.KEYSTORE,
        (Wrap(WrapType.MANAGED_KEY, "org/model_0123456789abcdef", 1, bytes(60)),),
    )
    assert json.loads(read.encode()) == GOOD
    assert read.key_ids == {"org/model_0123456789abcdef"}


@pytest.mark.parametrize("length", [None, 0, LONGEST])
def test_any_length_that_a_body_can_have_is_allowed(length: int | None) -> None:
    assert decode(GOOD | {"length": length}).length == length


BAD: dict[str, Any] = {
    "an array": [],
    "nothing": {},
    "one member more": GOOD | {"unsigned": True},
    "one member less": {name: value for name, value in GOOD.items() if name != "kind"},
    "file id too short": GOOD | {"file_id": "00"},
    "file id in capitals": GOOD | {"file_id": "00112233445566778899AABBCCDDEEFF"},
    "file id with blanks": GOOD | {"file_id": "00112233 445566778899aabbccddeeff"},
    "file id a number": GOOD | {"file_id": 0},
    "unknown kind": GOOD | {"kind": "pickle"},
    "kind a list": GOOD | {"kind": []},
    "unknown origin": GOOD | {"origin": "elsewhere"},
    "negative length": GOOD | {"length": -1},
    "length above 2 TiB": GOOD | {"length": LONGEST + 1},
    "length above 53 bits": GOOD | {"length": 2**53},
    "length true": GOOD | {"length": True},
    "length a string": GOOD | {"length": "12"},
    "model id empty": GOOD | {"model_id": ""},
    "model id like a key id": GOOD | {"model_id": "m_0123456789abcdef"},
    "name empty": GOOD | {"name": ""},
    "name with a folder": GOOD | {"name": "a/b"},
    "name upwards": GOOD | {"name": ".."},
    "name with an escape sequence": GOOD | {"name": "a\x1b[2J"},
    "name right to left": GOOD | {"name": "a\u202eb"},
    "name too long": GOOD | {"name": "n" * 256},
    "segment size zero": GOOD | {"segment_size": 0},
    "segment size other": GOOD | {"segment_size": 2097152},
    "segment size huge": GOOD | {"segment_size": 2**52},
    "no wraps": GOOD | {"wraps": []},
    "wraps an object": GOOD | {"wraps": {}},
    "wrap twice": GOOD | {"wraps": GOOD["wraps"] * 2},
    "65 wraps": wraps_for(*range(65)),
    "wraps out of order": wraps_for(2, 1),
    "two wraps for one key": GOOD | {"wraps": [GOOD["wraps"][0] | {"generation": n} for n in (1, 2)]},
    "two kinds of wrap for one key": GOOD | {"wraps": [HPKE, GOOD["wraps"][0]]},
    "wrap for a key of another model": with_wrap(key_id="org/models_0123456789abcdef"),
    "wrap a string": GOOD | {"wraps": ["x"]},
    "wrap with one member more": with_wrap(note=""),
    "wrap of an unknown type": with_wrap(type="rsa"),
    "wrap for no key id": with_wrap(key_id="org/model"),
    "wrap of generation 0": with_wrap(generation=0),
    "wrap of generation 2^31": with_wrap(generation=2**31),
    "wrap of generation true": with_wrap(generation=True),
    "managed-key wrap of 59 bytes": with_wrap(wrapped=base64.b64encode(bytes(59)).decode()),
    "hpke wrap of nothing": with_wrap(type="hpke", wrapped=""),
    "hpke wrap of 4097 bytes": with_wrap(type="hpke", wrapped=base64.b64encode(bytes(4097)).decode()),
    "wrap not base64": with_wrap(wrapped="*" * 80),
    "wrap in base64 with a line break": with_wrap(wrapped=base64.b64encode(bytes(60)).decode() + "\n"),
    "wrap in base64 with stray bits": with_wrap(type="hpke", wrapped="AB=="),
}


@pytest.mark.parametrize("members", BAD.values(), ids=BAD)
def test_a_bad_header_is_an_integrity_error(members: Any) -> None:
    with pytest.raises(IntegrityError):
        decode(members)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        spelled(GOOD) + b" ",
        json.dumps(GOOD).encode(),
        spelled(GOOD).replace(b'"length":12', b'"length":12.0'),
        spelled(GOOD).replace(b'"length":12', b'"length":12,"length":12'),
        b"[" * 20_000,
        spelled(GOOD | {"name": "n" * 40_000}),
    ],
    ids=["empty", "cut", "not UTF-8", "blank after", "blanks", "float", "twice", "deep", "too long"],
)
def test_bytes_that_are_not_the_canonical_spelling_are_an_integrity_error(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        Header.decode(data, limit=LIMIT)


def test_only_tests_may_ask_for_other_segment_sizes() -> None:
    small = spelled(GOOD | {"segment_size": 64})
    assert Header.decode(small, limit=LIMIT, segment_sizes=SMALL).segment_size == 64
    with pytest.raises(IntegrityError, match="segments of 64 bytes"):
        Header.decode(small, limit=LIMIT)


def test_wraps_are_put_in_order_by_key() -> None:
    wraps = (wrap("b" * 16), wrap("a" * 16, generation=2))
    assert [(w.key_id[6], w.generation) for w in sorted_wraps(wraps)] == [("a", 2), ("b", 1)]
    assert header().with_wraps(wraps).wraps == sorted_wraps(wraps)


def test_more_than_64_wraps_are_refused_when_written() -> None:
    with pytest.raises(RefusedError, match="more than 64"):
        header().with_wraps(tuple(wrap(f"{n:016x}") for n in range(65)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.onnx", "model.onnx"),
        ("модель 模型.gguf", "модель 模型.gguf"),
        ("a/b\\c", "a_b_c"),
        ("a\x00\n\x7f\x9b\u202e", "a_____"),
        ("\udcff.bin", "_.bin"),
        ("", "model"),
        (".", "model"),
        ("..", "model"),
        ("é" * 200, "é" * 127),
    ],
)
def test_any_file_name_becomes_one_that_a_header_may_hold(text: str, expected: str) -> None:
    assert safe_name(text) == expected
    assert replace(header(), name=safe_name(text)).name == expected


@pytest.mark.parametrize(
    ("first", "name", "expected"),
    [
        (b"GGUF\x03\0\0\0", "x", Kind.GGUF),
        ((64).to_bytes(8, "little") + b'{"a":{}}', "x", Kind.SAFETENSORS),
        ((64).to_bytes(8, "little") + b"[1, 2]", "x", Kind.OTHER),
        ((2**40).to_bytes(8, "little") + b'{"a"', "x", Kind.OTHER),
        (b"\x08\x07\x12\x07pytorch", "x", Kind.ONNX),
        (b"\x08\x07\x12\x07pytorch", "x.gguf", Kind.ONNX),
        (b"PK\x03\x04", "pytorch_model.bin", Kind.OTHER),
        (b"", "a.ONNX", Kind.ONNX),
        (b"", "", Kind.OTHER),
    ],
)
def test_the_kind_is_told_by_content_then_by_name(first: bytes, name: str, expected: Kind) -> None:
    assert detect_kind(first, name) is expected
