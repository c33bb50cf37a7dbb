"""The two slots of a container file, rewritten under its lock: at no moment neither of them is whole."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.models.containers import header, make_sample, wrap
from tests.models.format.test_header_slots import torn
from tiktrue_keys.errors import BusyError, IntegrityError, NotFoundError, RefusedError
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, SLOT_SIZE, decode_slots, encode_header, encode_slot
from tiktrue_keys.models.storage.container_lock import locked_container
from tiktrue_keys.models.storage.files import FileStorage
from tiktrue_keys.models.storage.header_file import read_slots

KEY = memoryview(bytes(range(32)))
SEGMENT = 1 << 20
OLD = header(segment_size=SEGMENT)
NEW = OLD.with_wraps((wrap("f" * 16),))
OLD_SLOT = encode_slot(OLD, 7, KEY)
NEW_SLOT = encode_slot(NEW, 8, KEY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "c.ttm"
    target.write_bytes(OLD_SLOT * 2 + b"body")
    return target


def rewrite(
    path: Path, change: Header | Callable[[Header], Header], *, timeout: float = 5.0, key: memoryview = KEY
) -> None:
    """What a rewrap does to a header."""
    with FileStorage(path).held(timeout) as held:
        current = held.slots().current.header
        held.authenticate(key)
        held.rewrite(change if isinstance(change, Header) else change(current), key)


def test_a_rewrite_leaves_both_slots_new_and_nothing_else_touched(path: Path) -> None:
    rewrite(path, NEW)
    assert path.read_bytes() == NEW_SLOT * 2 + b"body"


def test_a_rewrite_to_the_same_header_writes_nothing(path: Path) -> None:
    before = path.stat().st_mtime_ns
    rewrite(path, OLD)
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
    rewrite(path, NEW)
    data = path.read_bytes()
    assert data[:SLOT_SIZE] == data[SLOT_SIZE:HEADER_SIZE]
    assert decode_slots(data).current.header == NEW
    assert data[HEADER_SIZE:] == b"body"


def test_each_write_is_whole_before_the_next_begins(path: Path) -> None:
    """A watcher that reads during many rewrites always finds a current slot, authentic, and one of the two headers."""
    stop = threading.Event()
    seen: set[str] = set()

    def watch() -> None:
        fd = os.open(path, os.O_RDONLY)
        while not stop.is_set():
            slot = read_slots(fd).current
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
    assert decode_slots(path.read_bytes()).current.sequence == 67


def test_a_header_that_does_not_authenticate_is_not_rewritten(path: Path) -> None:
    with pytest.raises(IntegrityError):
        rewrite(path, NEW, key=memoryview(bytes(32)))
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


# The lock


def test_a_held_lock_is_busy_after_the_timeout(path: Path) -> None:
    with locked_container(path, 0), pytest.raises(BusyError, match="another process"):
        rewrite(path, NEW, timeout=0.05)


def test_a_container_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError), locked_container(tmp_path / "none.ttm", 0):
        pass


def waiting(path: Path, change: Header) -> tuple[threading.Thread, list[Exception | None]]:
    results: list[Exception | None] = []

    def run() -> None:
        try:
            rewrite(path, change)
            results.append(None)
        except (NotFoundError, BusyError) as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.1)
    return thread, results


def test_a_rename_while_waiting_is_followed(path: Path, tmp_path: Path) -> None:
    replacement = tmp_path / "new"
    newer = header(segment_size=SEGMENT)
    with locked_container(path, 0):
        thread, results = waiting(path, newer.with_wraps((wrap("9" * 16),)))
        replacement.write_bytes(encode_header(newer, KEY) + b"new body")
        kept = os.open(path, os.O_RDONLY)
        replacement.rename(path)
    thread.join()
    assert results == [None]
    assert decode_slots(path.read_bytes()).current.header.wraps == (wrap("9" * 16),)
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
        more = wrap(f"{number:016x}", generation=2)
        rewrite(path, lambda current: current.with_wraps((*current.wraps, more)), timeout=10)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    current = decode_slots(path.read_bytes()).current
    assert (len(current.header.wraps), current.sequence) == (9, 15)


def test_the_lock_is_free_after_an_error(path: Path) -> None:
    def fail(_: Header) -> Header:
        raise RefusedError("no")

    with pytest.raises(RefusedError):
        rewrite(path, fail)
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

    assert read_slots(fd, pause=mend).current.header == OLD
    assert len(waits) == 4
    assert sum(waits) < 0.1
    os.pwrite(fd, bytes(SLOT_SIZE - 64), 64)
    os.pwrite(fd, bytes(SLOT_SIZE - 64), SLOT_SIZE + 64)
    with pytest.raises(IntegrityError, match="damaged"):
        read_slots(fd, pause=waits.append)
    assert len(waits) == 8
    os.close(fd)


@pytest.mark.parametrize("content", [b"", OLD_SLOT[:1000], bytes(HEADER_SIZE)])
def test_a_reader_does_not_wait_for_what_no_writer_mends(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    waits: list[float] = []
    with pytest.raises(IntegrityError):
        read_slots(fd, pause=waits.append)
    assert waits == []
    os.close(fd)


def test_a_rewrite_keeps_a_whole_container_openable(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, segment_size=SEGMENT)
    before = sample.bytes()
    rewrite(sample.path, lambda current: current.with_wraps((wrap("8" * 16),)), key=sample.data_key.view)
    after = sample.bytes()
    assert after[HEADER_SIZE:] == before[HEADER_SIZE:]
    assert FileStorage(sample.path).slots().current.header.key_ids == {"model_" + "8" * 16}
