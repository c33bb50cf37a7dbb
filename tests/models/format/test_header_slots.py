from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.keystores import FULL_RUN
from tests.models.containers import SMALL, header, make_sample, wrap
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import BusyError, IntegrityError, NotFoundError, RefusedError
from tiktrue_keys.models.format.header import Header, Wrap, WrapType
from tiktrue_keys.models.format.header_slots import (
    HEADER_SIZE,
    MAX_JSON,
    SLOT_SIZE,
    HeaderSlots,
    decode_slots,
    encode_header,
    encode_slot,
)
from tiktrue_keys.models.storage.container_lock import locked_container
from tiktrue_keys.models.storage.header_file import Rewritten, read_slots, rewrite_header, rewrite_locked

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
    with pytest.raises(IntegrityError, match="data key is another one"):
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
    many = OLD.with_wraps(tuple(wrap(generation=n) for n in range(1, 65)))
    assert decode(encode_header(many, KEY)).current.header == many
    hpke = tuple(Wrap(WrapType.HPKE, "model_" + "0" * 16, n, bytes(1168)) for n in range(1, 65))
    with pytest.raises(RefusedError, match="no room"):
        encode_slot(OLD.with_wraps(hpke), 1, KEY)
    assert decode(encode_header(OLD.with_wraps(hpke[:18]), KEY)).current.header.wraps == hpke[:18]


# Rewriting in a file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "c.ttm"
    target.write_bytes(OLD_SLOT * 2 + b"body")
    return target


def rewrite(path: Path, change: Header | None = None, *, timeout: float = 5.0) -> Rewritten:
    return rewrite_header(
        path,
        unwrap=lambda _: SecretBuffer.copy_of(KEY),
        change=lambda current, _: change or NEW.with_wraps(current.wraps),
        lock_timeout=timeout,
        segment_sizes=SMALL,
    )


def test_a_rewrite_leaves_both_slots_new_and_nothing_else_touched(path: Path) -> None:
    result = rewrite(path, NEW)
    assert (result.header, result.sequence, result.changed) == (NEW, 8, True)
    assert path.read_bytes() == NEW_SLOT * 2 + b"body"


def test_a_rewrite_to_the_same_header_writes_nothing(path: Path) -> None:
    before = path.stat().st_mtime_ns
    assert rewrite(path, OLD).changed is False
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (OLD_SLOT * 2 + b"body", before)


STATES = {
    "before": OLD_SLOT + OLD_SLOT,
    "first torn": torn(NEW_SLOT, OLD_SLOT, 4096) + OLD_SLOT,
    "first torn, other place": OLD_SLOT + torn(NEW_SLOT, OLD_SLOT, 512),
    "between": NEW_SLOT + OLD_SLOT,
    "between, other place": OLD_SLOT + NEW_SLOT,
    "second torn": NEW_SLOT + torn(NEW_SLOT, OLD_SLOT, 512),
    "second zeroed": NEW_SLOT + bytes(SLOT_SIZE),
    "after": NEW_SLOT + NEW_SLOT,
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_running_again_after_a_kill_at_any_point_finishes(path: Path, state: bytes) -> None:
    path.write_bytes(state + b"body")
    assert rewrite(path, NEW).header == NEW
    data = path.read_bytes()
    assert data[:SLOT_SIZE] == data[SLOT_SIZE:HEADER_SIZE]
    assert decode(data).current.header == NEW
    assert data[HEADER_SIZE:] == b"body"


def test_each_write_is_whole_before_the_next_begins(path: Path) -> None:
    """A watcher that reads during many rewrites always finds a current slot, authentic, and one of the two headers."""
    stop = threading.Event()
    seen: set[str] = set()

    def watch() -> None:
        fd = os.open(path, os.O_RDONLY)
        while not stop.is_set():
            slot = read_slots(fd, segment_sizes=SMALL).current
            slot.authenticate(KEY)
            seen.add(slot.header.wraps[0].key_id)
        os.close(fd)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for round_ in range(60):
        rewrite(path, NEW if round_ % 2 else OLD.with_wraps((wrap("e" * 16),)))
    stop.set()
    watcher.join()
    assert seen <= {OLD.wraps[0].key_id, NEW.wraps[0].key_id, "model_" + "e" * 16}
    assert decode(path.read_bytes()).current.sequence == 67


def test_a_header_that_does_not_authenticate_is_not_rewritten(path: Path) -> None:
    with pytest.raises(IntegrityError):
        rewrite_header(
            path,
            unwrap=lambda _: SecretBuffer(32),
            change=lambda current, _: NEW,
            lock_timeout=1,
            segment_sizes=SMALL,
        )
    assert path.read_bytes() == OLD_SLOT * 2 + b"body"


@pytest.mark.parametrize("other", [replace(OLD, name="other"), replace(OLD, file_id=bytes(16)), replace(OLD, length=5)])
def test_only_wraps_may_change(path: Path, other: Header) -> None:
    with pytest.raises(RefusedError, match="only the wrapped keys"):
        rewrite(path, other)
    assert path.read_bytes() == OLD_SLOT * 2 + b"body"


def test_the_last_number_is_not_counted_over(path: Path) -> None:
    path.write_bytes(encode_slot(OLD, 2**64 - 1, KEY) * 2)
    with pytest.raises(RefusedError, match="rewritten again"):
        rewrite(path, NEW)


def test_the_data_key_is_wiped_after_a_rewrite(path: Path) -> None:
    key = SecretBuffer.copy_of(KEY)
    rewrite_header(path, unwrap=lambda _: key, change=lambda c, _: NEW, lock_timeout=1, segment_sizes=SMALL)
    with pytest.raises(ValueError, match="released"):
        key.view.tolist()


# The lock


def test_a_held_lock_is_busy_after_the_timeout(path: Path) -> None:
    with locked_container(path, 0), pytest.raises(BusyError, match="another process"):
        rewrite(path, NEW, timeout=0.05)


def test_a_container_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError), locked_container(tmp_path / "none.ttm", 0):
        pass


def waiting(path: Path, change: Header) -> tuple[threading.Thread, list[Rewritten | Exception]]:
    results: list[Rewritten | Exception] = []

    def run() -> None:
        try:
            results.append(rewrite(path, change))
        except (NotFoundError, BusyError) as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.1)
    return thread, results


def test_a_rename_while_waiting_is_followed(path: Path, tmp_path: Path) -> None:
    replacement = tmp_path / "new"
    newer = header()
    with locked_container(path, 0):
        thread, results = waiting(path, newer.with_wraps((wrap("9" * 16),)))
        replacement.write_bytes(encode_header(newer, KEY) + b"new body")
        kept = os.open(path, os.O_RDONLY)
        replacement.rename(path)
    thread.join()
    assert isinstance(results[0], Rewritten)
    assert decode(path.read_bytes()).current.header.wraps == (wrap("9" * 16),)
    assert os.pread(kept, HEADER_SIZE + 10, 0) == OLD_SLOT * 2 + b"body"
    os.close(kept)


def test_a_container_removed_while_waiting_is_not_found(path: Path) -> None:
    with locked_container(path, 0):
        thread, results = waiting(path, NEW)
        path.unlink()
    thread.join()
    assert isinstance(results[0], NotFoundError)


def test_two_rewrites_at_once_happen_one_after_the_other(path: Path) -> None:
    def add(number: int) -> None:
        rewrite_header(
            path,
            unwrap=lambda _: SecretBuffer.copy_of(KEY),
            change=lambda current, _: current.with_wraps((*current.wraps, wrap(f"{number:016x}", generation=2))),
            lock_timeout=10,
            segment_sizes=SMALL,
        )

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    current = decode(path.read_bytes()).current
    assert (len(current.header.wraps), current.sequence) == (9, 15)


def test_the_lock_is_free_after_an_error(path: Path) -> None:
    def fail(_: Header) -> SecretBuffer:
        raise RefusedError("no")

    with pytest.raises(RefusedError):
        rewrite_header(path, unwrap=fail, change=lambda c, _: c, lock_timeout=1, segment_sizes=SMALL)
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


def test_a_reader_waits_a_moment_for_a_slot_to_become_whole(path: Path) -> None:
    path.write_bytes(b"TTM1" + bytes(HEADER_SIZE - 4))
    fd = os.open(path, os.O_RDWR)
    waits: list[float] = []

    def mend(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 4:
            os.pwrite(fd, OLD_SLOT * 2, 0)

    assert read_slots(fd, segment_sizes=SMALL, pause=mend).current.header == OLD
    assert len(waits) == 4
    assert sum(waits) < 0.1
    os.pwrite(fd, bytes(SLOT_SIZE - 64), 64)
    os.pwrite(fd, bytes(SLOT_SIZE - 64), SLOT_SIZE + 64)
    with pytest.raises(IntegrityError, match="damaged"):
        read_slots(fd, segment_sizes=SMALL, pause=waits.append)
    assert len(waits) == 8
    os.close(fd)


@pytest.mark.parametrize("content", [b"", OLD_SLOT[:1000], bytes(HEADER_SIZE)])
def test_a_reader_does_not_wait_for_what_no_writer_mends(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    waits: list[float] = []
    with pytest.raises(IntegrityError):
        read_slots(fd, segment_sizes=SMALL, pause=waits.append)
    assert waits == []
    os.close(fd)


def test_a_rewrap_keeps_a_whole_container_openable(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    before = sample.bytes()
    rewrite_header(
        sample.path,
        unwrap=lambda _: SecretBuffer.copy_of(sample.data_key.view),
        change=lambda current, _: current.with_wraps((wrap("8" * 16),)),
        lock_timeout=1,
        segment_sizes=SMALL,
    )
    after = sample.bytes()
    assert after[HEADER_SIZE:] == before[HEADER_SIZE:]
    assert sample.container().header.key_ids == {"model_" + "8" * 16}


def test_those_who_hold_the_lock_rewrite_without_taking_it_again(path: Path) -> None:
    with locked_container(path, 0) as fd:
        slots = read_slots(fd, segment_sizes=SMALL)
        assert rewrite_locked(fd, slots, NEW, KEY).changed
    assert path.read_bytes() == NEW_SLOT * 2 + b"body"
