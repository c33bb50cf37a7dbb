from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiktrue_keys.models.storage.readable import (
    extent_of,
    pread_full,
    pread_into,
    pwrite_flagged,
    pwrite_full,
    pwrite_synced,
    stamp_of,
)

KALLSYMS = Path("/proc/kallsyms")


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(opened, b"0123456789")
    yield opened
    os.close(opened)


@pytest.mark.parametrize(
    ("length", "offset", "expected"), [(4, 3, b"3456"), (10, 0, b"0123456789"), (9, 8, b"89"), (5, 99, b"")]
)
def test_reads_end_only_at_the_end_of_the_file(fd: int, length: int, offset: int, expected: bytes) -> None:
    assert pread_full(fd, length, offset) == expected
    buffer = bytearray(length)
    assert pread_into(fd, memoryview(buffer), offset) == len(expected)
    assert buffer.startswith(expected)


def test_what_is_left_of_a_file_begins_at_its_position(fd: int) -> None:
    assert extent_of(fd) == (10, 0)
    os.lseek(fd, 3, os.SEEK_SET)
    assert extent_of(fd) == (3, 7)
    os.lseek(fd, 20, os.SEEK_SET)
    assert extent_of(fd) == (20, 0)


def test_a_pipe_has_no_length() -> None:
    ends = os.pipe()
    assert extent_of(ends[0]) == (0, None)
    for end in ends:
        os.close(end)


def test_a_stamp_differs_when_the_length_does_not(fd: int) -> None:
    before = stamp_of(fd)
    assert stamp_of(fd) == before
    os.utime(fd, ns=(0, 0))
    assert stamp_of(fd) != before


@pytest.mark.skipif(not KALLSYMS.exists(), reason="no file here that gives a page at a time")
def test_reads_go_on_when_the_system_gives_less_than_asked() -> None:
    length = 200_000
    opened = os.open(KALLSYMS, os.O_RDONLY)
    assert len(os.pread(opened, length, 0)) < length
    whole = pread_full(opened, length, 0)
    buffer = bytearray(length)
    assert pread_into(opened, memoryview(buffer), 0) == length
    assert whole == buffer == KALLSYMS.read_bytes()[:length]
    os.close(opened)


@pytest.mark.parametrize("write", [pwrite_full, pwrite_flagged, pwrite_synced])
def test_writes_change_only_their_place(fd: int, write: object) -> None:
    assert callable(write)
    write(fd, b"abc", 4)
    assert pread_full(fd, 20, 0) == b"0123abc789"


def failing(number: int) -> object:
    def write(fd: int, data: bytes, offset: int) -> None:
        raise OSError(number, os.strerror(number))

    return write


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_without_the_flag_the_file_is_synced_another_way(fd: int, number: int) -> None:
    flagged = failing(number)
    assert callable(flagged)
    pwrite_synced(fd, b"abc", 4, flagged=flagged)
    assert pread_full(fd, 20, 0) == b"0123abc789"


def test_a_failed_write_is_not_tried_another_way(fd: int) -> None:
    flagged = failing(errno.EIO)
    assert callable(flagged)
    with pytest.raises(OSError, match="Input/output"):
        pwrite_synced(fd, b"abc", 4, flagged=flagged)
    assert pread_full(fd, 20, 0) == b"0123456789"
