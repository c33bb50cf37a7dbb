"""Whole containers: what is trusted, and every way to spoil one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.models.containers import (
    ISSUER,
    SEGMENT,
    SMALL,
    STRANGER,
    Issuer,
    Sample,
    add_signature,
    header,
    make_sample,
    open_file,
    pattern,
    wrap,
)
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, RefusedError, TikTrueKeysError
from tiktrue_keys.models.container.container import (
    Authorship,
    check_authorship,
    known_leaves,
    read_container,
    read_front,
    verify_body,
)
from tiktrue_keys.models.container.seal import ContainerSigner
from tiktrue_keys.models.container.unseal import open_stream
from tiktrue_keys.models.format.body import BodyCipher, Geometry
from tiktrue_keys.models.format.header import Origin
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, encode_header, encode_slot
from tiktrue_keys.models.format.trailer import Trailer, body_leaf, body_root, make_signature

GEOMETRY = Geometry(SEGMENT)
BODY_AT = HEADER_SIZE


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path)


def spoil(sample: Sample, data: bytes) -> None:
    sample.path.write_bytes(data)


def refuse(sample: Sample) -> None:
    with pytest.raises(IntegrityError):
        open_file(sample.path, sample.data_key)


# Authorship


def authorship(sample: Sample, issuers: tuple[bytes, ...], *, allow_unsigned: bool = False) -> Authorship:
    found = sample.container()
    return check_authorship(found.header, found.body, found.trailer, issuers=issuers, allow_unsigned=allow_unsigned)


def test_our_own_container_is_signed(sample: Sample) -> None:
    assert authorship(sample, (STRANGER.public, ISSUER.public)) is Authorship.SIGNED


def test_without_a_pinned_issuer_nothing_is_known(sample: Sample) -> None:
    assert authorship(sample, ()) is Authorship.UNCHECKED


def test_a_strangers_container_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="another keystore"):
        authorship(make_sample(tmp_path, issuer=STRANGER), (ISSUER.public,))


def test_our_own_container_without_its_signature_was_stripped(tmp_path: Path) -> None:
    stripped = make_sample(tmp_path, issuer=None)
    for allow_unsigned in (False, True):
        with pytest.raises(IntegrityError, match="signature was removed"):
            authorship(stripped, (ISSUER.public,), allow_unsigned=allow_unsigned)


def test_a_recipients_container_is_refused_until_signed_or_allowed(tmp_path: Path) -> None:
    unsigned = make_sample(tmp_path, origin=Origin.RECIPIENT, issuer=None)
    with pytest.raises(RefusedError, match="not signed"):
        authorship(unsigned, (ISSUER.public,))
    assert authorship(unsigned, (ISSUER.public,), allow_unsigned=True) is Authorship.UNSIGNED
    assert open_file(unsigned.path, unsigned.data_key, allow_unsigned=True) == unsigned.plaintext


@pytest.mark.parametrize("through_pipe", [False, True])
def test_a_signature_added_later_changes_112_bytes(tmp_path: Path, through_pipe: bool) -> None:
    unsigned = make_sample(tmp_path, origin=Origin.RECIPIENT, issuer=None, through_pipe=through_pipe)
    before = unsigned.bytes()
    fd = os.open(unsigned.path, os.O_RDWR)
    container = read_container(fd, segment_sizes=SMALL)
    verify_body(fd, container)
    trailer = add_signature(fd, container, ISSUER.signer)
    os.close(fd)
    after = unsigned.bytes()
    assert (after[:-144], after[-32:]) == (before[:-144], before[-32:])
    assert unsigned.container().trailer == trailer
    assert open_file(unsigned.path, unsigned.data_key) == unsigned.plaintext


def test_a_signature_torn_while_added_leaves_the_container_unsigned(tmp_path: Path) -> None:
    unsigned = make_sample(tmp_path, origin=Origin.RECIPIENT, issuer=None)
    data = unsigned.bytes()
    place = make_sample(tmp_path).bytes()[-144:-32]
    unsigned.path.write_bytes(data[:-144] + place[:60] + bytes(52) + data[-32:])
    assert authorship(unsigned, (ISSUER.public,), allow_unsigned=True) is Authorship.UNSIGNED


def test_an_unsigned_container_stays_unsigned_through_a_rewrap(tmp_path: Path) -> None:
    unsigned = make_sample(tmp_path, origin=Origin.RECIPIENT, issuer=None)
    rewrapped = unsigned.container().header.with_wraps((wrap("7" * 16),))
    data = encode_slot(rewrapped, 2, unsigned.data_key.view) * 2 + unsigned.bytes()[HEADER_SIZE:]
    unsigned.path.write_bytes(data)
    with pytest.raises(RefusedError, match="not signed"):
        open_file(unsigned.path, unsigned.data_key)


# Spoiling


def test_every_byte_after_the_header_counts(sample: Sample) -> None:
    good = sample.bytes()
    for at in range(BODY_AT, len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        spoil(sample, bytes(bad))
        refuse(sample)


def test_every_byte_of_an_unsigned_container_counts_but_for_the_signature_place(tmp_path: Path) -> None:
    unsigned = make_sample(tmp_path, origin=Origin.RECIPIENT, issuer=None)
    good = unsigned.bytes()
    for at in [*range(BODY_AT, len(good) - 144), *range(len(good) - 32, len(good))]:
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        spoil(unsigned, bytes(bad))
        with pytest.raises(IntegrityError):
            open_file(unsigned.path, unsigned.data_key, allow_unsigned=True)


def test_a_flipped_byte_in_both_slots_is_refused_and_in_one_is_mended_by_the_other(sample: Sample) -> None:
    good = sample.bytes()
    for at in [*range(0, 70, 3), *range(70, 32768, 2039), 32735, 32736, 32767]:
        bad = bytearray(good)
        bad[at] ^= 1
        spoil(sample, bytes(bad))
        assert open_file(sample.path, sample.data_key) == sample.plaintext
        bad[at + 32768] ^= 1
        spoil(sample, bytes(bad))
        refuse(sample)


@pytest.mark.parametrize("through_pipe", [False, True])
def test_a_container_cut_at_any_length_is_refused(tmp_path: Path, through_pipe: bool) -> None:
    sample = make_sample(tmp_path, through_pipe=through_pipe)
    good = sample.bytes()
    for length in [*range(len(good) - 1, BODY_AT - 64, -1), *range(0, BODY_AT, 509)]:
        spoil(sample, good[:length])
        refuse(sample)


@pytest.mark.parametrize("through_pipe", [False, True])
def test_a_container_cut_anywhere_on_a_pipe_is_refused(tmp_path: Path, through_pipe: bool) -> None:
    sample = make_sample(tmp_path, through_pipe=through_pipe)
    good = sample.bytes()
    for length in [*range(len(good) - 1, BODY_AT, -7), BODY_AT + 40, BODY_AT, BODY_AT - 1, 40_000, 10, 0]:
        with pytest.raises(IntegrityError):
            arrive(good[:length], sample)
    with pytest.raises(IntegrityError, match="cut off"):
        arrive(good[: BODY_AT + 100], sample)
    assert arrive(good, sample) == sample.plaintext


def arrive(data: bytes, sample: Sample) -> bytes:
    """The container `data` opened from a pipe into a file."""
    read_end, write_end = os.pipe()
    out = os.memfd_create("out")
    try:
        feeder = threading.Thread(target=_feed, args=(write_end, data))
        feeder.start()
        try:
            front = read_front(read_end, segment_sizes=SMALL)
            front.authenticate(sample.data_key.view)
            open_stream(
                read_end,
                front,
                out,
                sample.data_key.view,
                authorship=lambda t: check_authorship(front.header, front.body, t, issuers=[ISSUER.public]),
            )
        finally:
            os.close(read_end)
            feeder.join()
        return os.pread(out, len(sample.plaintext) + 1, 0)
    finally:
        os.close(out)


def _feed(fd: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BrokenPipeError:
        pass
    os.close(fd)


@pytest.mark.parametrize("extra", [b"\x00", b"x" * 31, bytes(32), bytes(200), bytes(70_000)])
@pytest.mark.parametrize("through_pipe", [False, True])
def test_appended_bytes_are_refused(tmp_path: Path, through_pipe: bool, extra: bytes) -> None:
    sample = make_sample(tmp_path, through_pipe=through_pipe)
    good = sample.bytes()
    spoil(sample, good + extra)
    refuse(sample)
    with pytest.raises(IntegrityError):
        arrive(good + extra, sample)


def test_a_byte_between_body_and_trailer_is_refused(sample: Sample) -> None:
    good, end = sample.bytes(), BODY_AT + GEOMETRY.body_length(200)
    spoil(sample, good[:end] + b"\x00" + good[end:])
    with pytest.raises(IntegrityError, match="body does not match its trailer"):
        open_file(sample.path, sample.data_key)


def swapped(sample: Sample, first: int, second: int) -> bytes:
    data = bytearray(sample.bytes())
    a, b = sample.segment_range(first), sample.segment_range(second)
    data[a], data[b] = data[b], data[a]
    return bytes(data)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (1, 3), (2, 3)])
def test_swapped_segments_are_refused(sample: Sample, first: int, second: int) -> None:
    spoil(sample, swapped(sample, first, second))
    refuse(sample)


@pytest.mark.parametrize(("source", "target"), [(1, 2), (3, 1)])
def test_a_duplicated_segment_is_refused(sample: Sample, source: int, target: int) -> None:
    data = bytearray(sample.bytes())
    data[sample.segment_range(target)] = data[sample.segment_range(source)]
    spoil(sample, bytes(data))
    refuse(sample)


def reassembled(sample: Sample, body: bytes, *, signer: ContainerSigner | None = None) -> bytes:
    """The container with another body and a trailer that fits it, as far as its maker can sign."""
    container = sample.container()
    length = len(body) - 40 - 16 * (-(-len(body) // SEGMENT))
    leaves = b"".join(
        body_leaf(index, body[max(40, index * SEGMENT) : (index + 1) * SEGMENT])
        for index in range(GEOMETRY.segment_count(length))
    )
    root = body_root(container.header.file_id, container.body, GEOMETRY, length, leaves)
    trailer = Trailer(len(leaves) // 32, length, root, leaves, container.trailer.signature)
    if signer is not None:
        made = make_signature(container.header, container.body, trailer, issuer=signer.issuer, sign=signer.sign)
        trailer = trailer.signed(made)
    head = encode_header(replace(container.header, length=length), sample.data_key.view)
    return head + body + trailer.encode()


def body_of(sample: Sample) -> bytes:
    return sample.bytes()[BODY_AT : BODY_AT + GEOMETRY.body_length(len(sample.plaintext))]


def test_a_reassembled_container_is_the_same(sample: Sample) -> None:
    assert reassembled(sample, body_of(sample)) == sample.bytes()


def forged_body(sample: Sample) -> bytes:
    """The body with a segment that only a holder of the data key can make."""
    container = sample.container()
    body = bytearray(body_of(sample))
    segment = GEOMETRY.segment(2, len(sample.plaintext))
    forged = memoryview(bytearray(segment.body_length))
    evil = memoryview(b"e" * segment.plain_length)
    BodyCipher(sample.data_key.view, container.header.file_id, container.body).seal(2, False, evil, forged)
    body[segment.body_offset : segment.body_offset + segment.body_length] = forged
    return bytes(body)


@pytest.mark.parametrize("through_pipe", [False, True])
def test_a_forged_segment_under_the_old_trailer_is_refused(tmp_path: Path, through_pipe: bool) -> None:
    sample = make_sample(tmp_path, through_pipe=through_pipe)
    good, body = sample.bytes(), forged_body(sample)
    forged = good[:BODY_AT] + body + good[BODY_AT + len(body) :]
    with pytest.raises(IntegrityError, match="not the one that was signed"):
        arrive(forged, sample)
    spoil(sample, forged)
    refuse(sample)


def test_a_forged_segment_with_its_leaf_under_the_old_root_is_refused_on_reading(sample: Sample) -> None:
    """Leaves that are not the root's are found before any of them vouches for a segment."""
    forged = reassembled(sample, forged_body(sample))
    trailer = replace(sample.container().trailer, leaves=forged[-200 - 160 : -200])
    assert trailer.leaves != sample.container().trailer.leaves
    spoil(sample, forged[: -200 - 160] + trailer.encode())
    with pytest.raises(IntegrityError, match="not the one that was signed"):
        sample.container()


def test_a_strangers_container_on_a_pipe_is_refused(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, issuer=STRANGER)
    with pytest.raises(IntegrityError, match="another keystore"):
        arrive(sample.bytes(), sample)


def test_a_node_that_holds_the_data_key_cannot_forge_a_segment(sample: Sample) -> None:
    segment = GEOMETRY.segment(2, len(sample.plaintext))
    body = forged_body(sample)
    spoil(sample, reassembled(sample, bytes(body)))
    with pytest.raises(IntegrityError, match="signature"):
        open_file(sample.path, sample.data_key)
    spoil(sample, reassembled(sample, bytes(body), signer=STRANGER.signer))
    with pytest.raises(IntegrityError, match="another keystore"):
        open_file(sample.path, sample.data_key)
    assert b"e" * segment.plain_length in open_file(sample.path, sample.data_key, issuers=())


def shortened(sample: Sample) -> bytes:
    return body_of(sample)[: 3 * SEGMENT]


def lengthened(sample: Sample) -> bytes:
    return body_of(sample) + bytes(20)


def moved(sample: Sample) -> bytes:
    return swapped(sample, 1, 2)[BODY_AT : BODY_AT + len(body_of(sample))]


@pytest.mark.parametrize("change", [shortened, lengthened, moved], ids=["shortened", "lengthened", "moved"])
def test_with_every_checksum_and_signature_redone_the_tags_still_refuse(
    sample: Sample, change: Callable[[Sample], bytes]
) -> None:
    spoil(sample, reassembled(sample, change(sample), signer=ISSUER.signer))
    with pytest.raises(IntegrityError, match="segment"):
        open_file(sample.path, sample.data_key)


def test_a_stripped_header_is_an_error_and_never_plaintext(sample: Sample) -> None:
    spoil(sample, sample.bytes()[HEADER_SIZE:])
    with pytest.raises(IntegrityError, match="not a model container"):
        open_file(sample.path, sample.data_key)


def test_a_stripped_trailer_is_refused(sample: Sample) -> None:
    end = BODY_AT + GEOMETRY.body_length(len(sample.plaintext))
    spoil(sample, sample.bytes()[:end])
    with pytest.raises(IntegrityError, match="does not end with a footer"):
        open_file(sample.path, sample.data_key)


def test_the_header_of_another_container_is_refused(tmp_path: Path, sample: Sample) -> None:
    other = make_sample(tmp_path)
    spoil(sample, other.bytes()[:HEADER_SIZE] + sample.bytes()[HEADER_SIZE:])
    refuse(sample)


def test_the_trailer_of_another_container_is_refused(tmp_path: Path, sample: Sample) -> None:
    good = sample.bytes()
    other = make_sample(tmp_path)
    trailer = other.bytes()[BODY_AT + len(body_of(other)) :]
    spoil(sample, good[: -len(trailer)] + trailer)
    refuse(sample)


@pytest.mark.parametrize("length", [199, 201, None])
def test_header_and_trailer_must_agree_about_the_length(sample: Sample, length: int | None) -> None:
    head = encode_header(replace(sample.container().header, length=length), sample.data_key.view)
    spoil(sample, head + sample.bytes()[HEADER_SIZE:])
    with pytest.raises(IntegrityError, match="disagree about its length"):
        open_file(sample.path, sample.data_key)


def test_an_old_header_put_back_does_not_count_beside_the_new_one(sample: Sample) -> None:
    old = sample.bytes()
    new = encode_slot(sample.container().header.with_wraps((wrap("6" * 16),)), 2, sample.data_key.view)
    for slots in (old[:32768] + new, new + old[:32768]):
        spoil(sample, slots + old[HEADER_SIZE:])
        assert sample.container().header.key_ids == {"model_" + "6" * 16}


def test_another_data_key_is_refused(sample: Sample) -> None:
    with pytest.raises(IntegrityError, match="data key belongs to another container"):
        open_file(sample.path, SecretBuffer.random())


def test_a_segment_size_of_its_own_is_refused_by_the_program(sample: Sample) -> None:
    with pytest.raises(IntegrityError, match="segments of 64 bytes"):
        open_file(sample.path, sample.data_key, segment_sizes=frozenset({1 << 20}))


@pytest.mark.parametrize("content", [b"", b"x", pattern(65536), pattern(200_000), b"TTM1" * 50_000])
def test_what_is_no_container_is_an_integrity_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(TikTrueKeysError) as caught:
        open_file(tmp_path / "x", SecretBuffer.random())
    assert caught.value.code == "integrity"


def test_a_huge_claim_allocates_nothing(tmp_path: Path) -> None:
    """A footer that claims 2^21 leaves, 64 MiB: refused from the size of the file, before anything is read."""
    sample = make_sample(tmp_path, segment_size=1 << 20)
    tail = bytearray(sample.bytes()[-200:])
    tail[-24:-16] = (168 + 32 * 2**21).to_bytes(8, "big")
    spoil(sample, sample.bytes()[:-200] + bytes(tail))
    fd = os.open(sample.path, os.O_RDONLY)
    with pytest.raises(IntegrityError, match="cut off"):
        read_container(fd)
    os.close(fd)


# Leaves


def test_verifying_a_body_needs_no_key_and_gives_its_leaves(tmp_path: Path) -> None:
    piped = make_sample(tmp_path, through_pipe=True)
    fd = os.open(piped.path, os.O_RDONLY)
    container = read_container(fd, segment_sizes=SMALL)
    assert container.trailer.leaves is None
    leaves = known_leaves(fd, container)
    assert body_root(container.header.file_id, container.body, GEOMETRY, 200, leaves) == container.root
    os.close(fd)


def test_verifying_a_changed_body_is_an_integrity_error(tmp_path: Path) -> None:
    piped = make_sample(tmp_path, through_pipe=True)
    data = bytearray(piped.bytes())
    data[BODY_AT + 100] ^= 1
    piped.path.write_bytes(data)
    fd = os.open(piped.path, os.O_RDONLY)
    with pytest.raises(IntegrityError, match="not the one that was signed"):
        verify_body(fd, read_container(fd, segment_sizes=SMALL))
    os.close(fd)


def test_every_issuer_signs_differently() -> None:
    assert Issuer().public != Issuer().public
    assert header().file_id != header().file_id
