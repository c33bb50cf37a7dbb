"""The header of a safetensors file: what the reference writer makes is read, what is out of order is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from safetensors.numpy import save

from tests.models.workshop import safetensors
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.format.safetensors import LENGTH_BYTES, MAX_HEADER, header_length, parse_header


def parse(data: bytes) -> list[tuple[str, str, tuple[int, ...], int, int]]:
    length = header_length(data[:LENGTH_BYTES], len(data))
    places = parse_header(data[LENGTH_BYTES : LENGTH_BYTES + length], len(data))
    return [(place.name, place.dtype, place.shape, place.offset, place.size) for place in places]


def with_header(members: Any, body: int = 4) -> bytes:
    header = members if isinstance(members, bytes) else json.dumps(members).encode()
    return len(header).to_bytes(8, "little") + header + bytes(body)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}}


def test_what_the_reference_writes() -> None:
    import numpy

    data = save({"b": numpy.zeros((2, 3), numpy.float32), "a": numpy.zeros(4, numpy.int8)}, metadata={"k": "v"})
    names = {(name, dtype, shape, size) for name, dtype, shape, _, size in parse(data)}
    assert names == {("b", "F32", (2, 3), 24), ("a", "I8", (4,), 4)}


def test_places_follow_each_other_in_the_file() -> None:
    data = safetensors({"x": ("BF16", [2], b"1234"), "empty": ("F64", [0], b""), "y": ("F4", [2], b"5")})
    places = {name: data[offset : offset + size] for name, _, _, offset, size in parse(data)}
    assert places == {"x": b"1234", "empty": b"", "y": b"5"}


BAD: dict[str, bytes] = {
    "no bytes": b"",
    "a length alone": bytes(8),
    "longer than the file": (100).to_bytes(8, "little") + b"{}",
    "longer than allowed": (MAX_HEADER + 1).to_bytes(8, "little") + bytes(100),
    "no JSON": with_header(b"{nonsense"),
    "no object": with_header(b"[]"),
    "not UTF-8": with_header(b'{"\xff":1}'),
    "space first": with_header(b' {"a":1}'),
    "a repeated name": with_header(
        b'{"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    ),
    "deeply nested": with_header(b'{"t":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "NaN": with_header(b'{"t":NaN}'),
    "metadata of numbers": with_header({"__metadata__": {"a": 1}, **tensor()}),
    "metadata no object": with_header({"__metadata__": "a", **tensor()}),
    "a member too many": with_header(tensor(more=1)),
    "a member too few": with_header({"t": {"dtype": "F32", "shape": [1]}}),
    "not a tensor": with_header({"t": 4}),
    "an unknown dtype": with_header(tensor(dtype="F33")),
    "a dtype that is no text": with_header(tensor(dtype=["F32"])),
    "a negative extent": with_header(tensor(shape=[-1, -1])),
    "a fractional extent": with_header(tensor(shape=[1.0])),
    "a boolean extent": with_header(tensor(shape=[True])),
    "an enormous extent": with_header(tensor(shape=[2**63])),
    "too many dimensions": with_header(tensor(shape=[1] * 65)),
    "offsets the wrong way round": with_header(tensor(data_offsets=[4, 0])),
    "three offsets": with_header(tensor(data_offsets=[0, 2, 4])),
    "another size than the shape": with_header(tensor(shape=[2])),
    "half a byte": with_header({"t": {"dtype": "F4", "shape": [7], "data_offsets": [0, 3]}}, 3),
    "a hole at the start": with_header(tensor(data_offsets=[1, 5]), 5),
    "a hole at the end": with_header(tensor(), 5),
    "beyond the end": with_header(tensor(), 3),
    "an overlap as large as a hole": with_header(
        {
            "a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
            "b": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
        }
    ),
    "an overlap": with_header(
        {
            "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
            "b": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]},
        }
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_out_of_order(name: str) -> None:
    with pytest.raises(IntegrityError):
        parse(BAD[name])
