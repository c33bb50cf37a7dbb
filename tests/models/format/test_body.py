from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.containers import EDGES, FIRST, NEXT, SEGMENT, make_sample, pattern
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.format.body import (
    BODY_HEADER_LENGTH,
    SEGMENT_SIZE,
    BodyCipher,
    BodyHeader,
    Geometry,
    associated_data,
)
from tiktrue_keys.models.pipeline.pipeline import open_body, seal_body
from tiktrue_keys.models.pipeline.sinks import ContainerFileSink, PlainFileSink
from tiktrue_keys.models.pipeline.sources import BodyFile, PlainFile

FILE_ID = bytes(range(16))
TINK_EDGES = (
    0,
    1,
    SEGMENT_SIZE - 57,
    SEGMENT_SIZE - 56,
    SEGMENT_SIZE - 55,
    2 * SEGMENT_SIZE - 72,
    2 * SEGMENT_SIZE - 71,
    3_000_000,
)


def cipher(header: BodyHeader | None = None) -> BodyCipher:
    return BodyCipher(memoryview(bytes(32)), FILE_ID, header or BodyHeader(bytes(32), bytes(7)))


@pytest.mark.parametrize("length", EDGES)
def test_segments_cover_plaintext_and_body_without_gap(length: int) -> None:
    geometry = Geometry(SEGMENT)
    body_end, plain_end = BODY_HEADER_LENGTH, 0
    count = geometry.segment_count(length)
    for index in range(count):
        segment = geometry.segment(index, length)
        assert (segment.body_offset, segment.plain_offset) == (body_end, plain_end)
        assert segment.last == (index == count - 1)
        body_end += segment.body_length
        plain_end += segment.plain_length
    assert (body_end, plain_end) == (geometry.body_length(length), length)


def test_only_an_empty_plaintext_has_an_empty_segment() -> None:
    geometry = Geometry(SEGMENT)
    assert [geometry.segment_count(n) for n in (0, FIRST, FIRST + 1, FIRST + NEXT, FIRST + NEXT + 1)] == [1, 1, 2, 2, 3]


@given(st.integers(0, 5000), st.integers(57, 300))
def test_every_offset_is_found_in_its_segment(length: int, segment_size: int) -> None:
    geometry = Geometry(segment_size)
    for offset in {0, length // 2, length - 1} - {-1}:
        segment = geometry.segment(geometry.index_at(offset), max(1, length))
        assert segment.plain_offset <= offset < segment.plain_offset + segment.plain_length


def test_a_segment_size_without_room_for_data_is_refused() -> None:
    with pytest.raises(IntegrityError, match="no room"):
        Geometry(56)


@pytest.mark.parametrize("data", [b"", b"\x28" + bytes(38), b"\x27" + bytes(39), b"\x28" + bytes(40)])
def test_what_is_no_body_header_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="does not start with a header"):
        BodyHeader.decode(data)


@pytest.mark.parametrize(
    ("index", "last", "flip"), [(1, True, None), (0, False, None), (0, True, 0), (0, True, 9), (0, True, 25)]
)
def test_a_segment_opens_only_where_and_as_it_was_sealed_and_leaves_no_plaintext(
    index: int, last: bool, flip: int | None
) -> None:
    sealed = bytearray(26)
    cipher().seal(0, True, memoryview(b"ten bytes!"), memoryview(sealed))
    if flip is not None:
        sealed[flip] ^= 1
    plaintext = bytearray(b"x" * 10)
    with pytest.raises(IntegrityError, match=f"segment {index} "):
        cipher().open(index, last, memoryview(sealed), memoryview(plaintext))
    assert plaintext == bytes(10)


def test_another_file_id_salt_or_prefix_does_not_open() -> None:
    sealed, plaintext = bytearray(26), bytearray(10)
    cipher().seal(0, True, memoryview(b"ten bytes!"), memoryview(sealed))
    others = [
        BodyCipher(memoryview(bytes(32)), bytes(16), BodyHeader(bytes(32), bytes(7))),
        cipher(BodyHeader(b"s" * 32, bytes(7))),
        cipher(BodyHeader(bytes(32), b"p" * 7)),
    ]
    for other in others:
        with pytest.raises(IntegrityError):
            other.open(0, True, memoryview(sealed), memoryview(plaintext))
    cipher().open(0, True, memoryview(sealed), memoryview(plaintext))
    assert plaintext == b"ten bytes!"


def test_fresh_headers_never_repeat() -> None:
    assert len({BodyHeader.fresh().encode() for _ in range(100)}) == 100


def tink_primitive(data_key: bytes) -> Any:
    """Tink's own streaming AEAD over a RAW keyset of the data key."""
    tink = pytest.importorskip("tink", reason="the tink package is not installed")
    from tink import secret_key_access, streaming_aead
    from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

    streaming_aead.register()
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(key_value=data_key)
    key.params.ciphertext_segment_size = SEGMENT_SIZE
    key.params.derived_key_size = 32
    key.params.hkdf_hash_type = common_pb2.SHA256
    keyset = tink_pb2.Keyset(primary_key_id=1)
    entry = keyset.key.add(key_id=1, status=tink_pb2.ENABLED, output_prefix_type=tink_pb2.RAW)
    entry.key_data.type_url = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
    entry.key_data.value = key.SerializeToString()
    entry.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
    handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


class Unclosed(io.BytesIO):
    """Tink closes its destination; this one keeps its bytes."""

    def close(self) -> None:
        pass


@pytest.mark.parametrize("length", TINK_EDGES)
def test_tink_opens_our_body(tmp_path: Path, length: int) -> None:
    sample = make_sample(tmp_path, pattern(length), segment_size=SEGMENT_SIZE)
    tink = tink_primitive(bytes(sample.data_key.view))
    body = sample.bytes()[65536 : 65536 + Geometry().body_length(length)]
    stream = tink.new_decrypting_stream(io.BytesIO(body), associated_data(sample.sealed.header.file_id))
    assert stream.read() == sample.plaintext


@pytest.mark.parametrize("length", TINK_EDGES)
def test_we_open_tinks_body(tmp_path: Path, length: int) -> None:
    data_key = SecretBuffer.random()
    out = Unclosed()
    tink = tink_primitive(bytes(data_key.view))
    with tink.new_encrypting_stream(out, associated_data(FILE_ID)) as stream:
        stream.write(pattern(length))
    body = out.getvalue()
    (tmp_path / "body").write_bytes(body)
    source, target = os.open(tmp_path / "body", os.O_RDONLY), os.open(tmp_path / "plain", os.O_RDWR | os.O_CREAT)
    opener = BodyCipher(data_key.view, FILE_ID, BodyHeader.decode(body[:40]))
    geometry = Geometry()
    assert geometry.body_length(length) == len(body)
    open_body(BodyFile(source, geometry, length, 0), PlainFileSink(target, geometry), opener, geometry, leaves=None)
    os.close(source)
    os.close(target)
    assert (tmp_path / "plain").read_bytes() == pattern(length)


def test_tink_refuses_our_body_for_another_file(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, pattern(100), segment_size=SEGMENT_SIZE)
    tink = tink_primitive(bytes(sample.data_key.view))
    body = sample.bytes()[65536 : 65536 + Geometry().body_length(100)]
    stream = tink.new_decrypting_stream(io.BytesIO(body), associated_data(FILE_ID))
    with pytest.raises(Exception, match=r"\w"):
        stream.read()


@given(st.binary(max_size=700), st.integers(57, 200), st.integers(1, 4))
def test_what_is_sealed_opens_again_with_any_number_of_threads(
    plaintext: bytes, segment_size: int, threads: int
) -> None:
    geometry, both = Geometry(segment_size), cipher()
    plain, body, back = (os.memfd_create(name) for name in ("plain", "body", "back"))
    try:
        os.write(plain, plaintext)
        seal_body(
            PlainFile(plain, geometry, len(plaintext)),
            ContainerFileSink(body, geometry, 0),
            both,
            geometry,
            threads=threads,
        )
        open_body(
            BodyFile(body, geometry, len(plaintext), 0),
            PlainFileSink(back, geometry),
            both,
            geometry,
            leaves=None,
            threads=threads,
        )
        assert os.pread(back, len(plaintext) + 1, 0) == plaintext
    finally:
        for fd in (plain, body, back):
            os.close(fd)
