from __future__ import annotations

import hashlib
import os

import pytest

from tests.keystores import FULL_RUN
from tests.models.containers import SMALL, header, wrap
from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.models.format.header import Wrap, WrapType
from tiktrue_keys.models.format.header_slots import (
    HEADER_SIZE,
    MAX_JSON,
    SLOT_SIZE,
    HeaderSlots,
    decode_slots,
    encode_header,
    encode_slot,
)

KEY = memoryview(bytes(range(32)))
OLD = header()
NEW = OLD.with_wraps((wrap("f" * 16),))
OLD_SLOT = encode_slot(OLD, 7, KEY)
NEW_SLOT = encode_slot(NEW, 8, KEY)


def decode(data: bytes) -> HeaderSlots:
    return decode_slots(data, segment_sizes=SMALL)


def torn(new: bytes, old: bytes, at: int) -> bytes:
    return new[:at] + old[at:]


def with_checksum(slot: bytes) -> bytes:
    """What an attacker without the data key can make: a slot that looks whole."""
    checksum = hashlib.sha256(slot[:32] + bytes(32) + slot[64:]).digest()
    return slot[:32] + checksum + slot[64:]


def test_both_slots_of_a_new_container_are_number_one() -> None:
    data = encode_header(OLD, KEY)
    slots = decode(data)
    slots.current.authenticate(KEY)
    assert (len(data), slots.current.header, slots.current.sequence, slots.equal) == (HEADER_SIZE, OLD, 1, True)


def test_the_fields_are_where_the_format_says() -> None:
    json = OLD.encode()
    assert OLD_SLOT[:32] == b"TTM1" + bytes([0, 1, 0, 0]) + (7).to_bytes(8, "big") + len(json).to_bytes(
        4, "big"
    ) + bytes(12)
    assert OLD_SLOT[64 : 64 + len(json)] == json
    assert not any(OLD_SLOT[64 + len(json) : -32])
    assert with_checksum(OLD_SLOT) == OLD_SLOT


@pytest.mark.parametrize("place", [0, 1])
def test_the_highest_number_is_current_wherever_it_lies(place: int) -> None:
    slots = decode(NEW_SLOT + OLD_SLOT if place == 0 else OLD_SLOT + NEW_SLOT)
    assert (slots.current.header, slots.current.sequence, slots.place, slots.equal) == (NEW, 8, place, False)


def places_in_a_slot() -> list[int]:
    """Every byte of its fields, and of the zeros between them the edges, those of each sector, and one in 61.

    TESTS_IN_FULL=1 takes every byte.
    """
    end, hmac = 64 + len(NEW.encode()), SLOT_SIZE - 32
    fields = {*range(end + 1), *range(hmac - 1, SLOT_SIZE)}
    sectors = {at for sector in range(512, SLOT_SIZE, 512) for at in (sector - 1, sector)}
    return sorted(fields | sectors | set(range(end, hmac, 1 if FULL_RUN else 61)))


def test_a_flipped_byte_anywhere_makes_a_slot_count_as_torn() -> None:
    flipped = bytearray(NEW_SLOT + OLD_SLOT)
    for at in places_in_a_slot():
        flipped[at] ^= 1 << at % 8
        assert decode(bytes(flipped)).current.sequence == 7
        flipped[at] ^= 1 << at % 8


@pytest.mark.parametrize("at", range(SLOT_SIZE - 32, SLOT_SIZE))
def test_a_changed_hmac_with_a_good_checksum_is_refused_without_falling_back(at: int) -> None:
    flipped = bytearray(NEW_SLOT)
    flipped[at] ^= 1
    with pytest.raises(IntegrityError, match="header was changed"):
        decode(with_checksum(bytes(flipped)) + OLD_SLOT).current.authenticate(KEY)


def test_a_changed_slot_with_a_good_checksum_is_refused_without_falling_back() -> None:
    interesting = [*range(32), *range(64, 64 + len(NEW.encode()) + 8), SLOT_SIZE - 33]
    for at in interesting:
        flipped = bytearray(NEW_SLOT)
        flipped[at] ^= 1
        forged = with_checksum(bytes(flipped))
        with pytest.raises(IntegrityError):
            decode(forged * 2).current.authenticate(KEY)


def test_another_data_key_is_refused() -> None:
    with pytest.raises(IntegrityError, match="data key belongs to another container"):
        decode(OLD_SLOT * 2).current.authenticate(memoryview(bytes(32)))


@pytest.mark.parametrize("at", range(0, SLOT_SIZE + 1, 512))
@pytest.mark.parametrize("place", [0, 1])
def test_a_slot_torn_at_any_sector_leaves_one_that_counts(at: int, place: int) -> None:
    half = torn(NEW_SLOT, OLD_SLOT, at)
    slots = decode(half + OLD_SLOT if place == 0 else OLD_SLOT + half)
    slots.current.authenticate(KEY)
    assert slots.current.header == (NEW if at == SLOT_SIZE else OLD)
    second = decode(half + NEW_SLOT if place == 0 else NEW_SLOT + half)
    second.current.authenticate(KEY)
    assert second.current.header == NEW


def test_two_slots_of_one_number_must_be_identical() -> None:
    with pytest.raises(IntegrityError, match="disagree"):
        decode(OLD_SLOT + encode_slot(NEW, 7, KEY))


def test_an_old_slot_put_back_does_not_count() -> None:
    slots = decode(OLD_SLOT + encode_slot(NEW, 9, KEY))
    assert slots.current.header == NEW


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a model container"),
        (bytes(HEADER_SIZE), "not a model container"),
        (os.urandom(HEADER_SIZE), "not a model container"),
        (OLD_SLOT[: SLOT_SIZE - 1], "damaged"),
        (b"TTM1" + bytes(HEADER_SIZE - 4), "damaged"),
        (with_checksum(OLD_SLOT[:5] + b"\x02" + OLD_SLOT[6:]) * 2, "format version 2"),
        (with_checksum(OLD_SLOT[:6] + b"\x01" + OLD_SLOT[7:]) * 2, "canonical form"),
        (with_checksum(OLD_SLOT[:8] + bytes(8) + OLD_SLOT[16:]) * 2, "canonical form"),
        (with_checksum(OLD_SLOT[:20] + b"\x01" + OLD_SLOT[21:]) * 2, "canonical form"),
        (with_checksum(OLD_SLOT[:16] + b"\xff" * 4 + OLD_SLOT[20:]) * 2, "more than it can hold"),
        (with_checksum(OLD_SLOT[:16] + MAX_JSON.to_bytes(4, "big") + OLD_SLOT[20:]) * 2, "JSON"),
        (with_checksum(OLD_SLOT[:16] + bytes(4) + OLD_SLOT[20:]) * 2, "canonical form"),
        (with_checksum(OLD_SLOT[:-33] + b"\x01" + OLD_SLOT[-32:]) * 2, "canonical form"),
    ],
    ids=[
        "empty",
        "zeros",
        "noise",
        "cut",
        "magic alone",
        "version",
        "reserved",
        "number 0",
        "reserved 2",
        "length huge",
        "length of all",
        "length 0",
        "padding",
    ],
)
def test_what_is_no_header_is_an_integrity_error(data: bytes, words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        decode(data)


def test_a_header_of_64_managed_key_wraps_fits_and_one_of_64_hpke_wraps_is_refused() -> None:
    many = OLD.with_wraps(tuple(wrap(f"{n:016x}") for n in range(64)))
    assert decode(encode_header(many, KEY)).current.header == many
    hpke = tuple(Wrap(WrapType.HPKE, f"model_{n:016x}", 1, bytes(1168)) for n in range(64))
    with pytest.raises(RefusedError, match="no room"):
        encode_slot(OLD.with_wraps(hpke), 1, KEY)
    assert decode(encode_header(OLD.with_wraps(hpke[:18]), KEY)).current.header.wraps == hpke[:18]
