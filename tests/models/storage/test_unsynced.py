"""New files that are synced many at a time: none is passed on before its bytes are safe, and none stays open."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tiktrue_keys.errors import DiskFullError, NotFoundError, TikTrueKeysError, UnavailableError
from tiktrue_keys.models.storage import unsynced
from tiktrue_keys.models.storage.unsynced import UnsyncedFiles

LIMIT = 3


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsynced, "FILES_AT_ONCE", LIMIT)
    monkeypatch.setattr(unsynced, "BYTES_AT_ONCE", 1000)


class Synced:
    """The names of the files that were synced."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, fd: int) -> None:
        self.names.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)


@pytest.fixture(autouse=True)
def _no_descriptor_stays() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def put(files: UnsyncedFiles[str], path: Path, data: bytes = b"data") -> None:
    with files.new(path, len(data)) as new:
        new.write(data)
        new.keep(path.name)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("count", [0, 1, LIMIT - 1, LIMIT, LIMIT + 1, 2 * LIMIT])
def test_a_batch_is_told_of_after_all_of_its_files_are_synced(tmp_path: Path, count: int) -> None:
    told: list[str] = []
    synced = Synced()

    def tell(batch: list[str]) -> None:
        assert set(batch) <= set(synced.names)
        assert len(batch) <= LIMIT
        told.extend(batch)

    files = UnsyncedFiles(tell, sync=synced)
    for number in range(count):
        put(files, tmp_path / str(number))
    assert len(told) == count // LIMIT * LIMIT
    files.sync()
    assert told == [str(number) for number in range(count)]
    assert sorted(synced.names) == told
    files.sync()
    assert len(synced.names) == count
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} <= {0o600}


@pytest.mark.usefixtures("few")
def test_large_files_do_not_wait_for_many(tmp_path: Path) -> None:
    synced = Synced()
    files: UnsyncedFiles[str] = UnsyncedFiles(lambda _: None, sync=synced)
    put(files, tmp_path / "small", bytes(999))
    assert synced.names == []
    put(files, tmp_path / "one byte more", b"1")
    assert sorted(synced.names) == ["one byte more", "small"]


def fails() -> None:
    raise UnavailableError("the source is gone")


@pytest.mark.parametrize("end", [fails, lambda: None])
def test_without_keep_nothing_stays(tmp_path: Path, end: Callable[[], None]) -> None:
    synced = Synced()
    files: UnsyncedFiles[str] = UnsyncedFiles(lambda _: None, sync=synced)
    try:
        with files.new(tmp_path / "file", 4) as new:
            new.write(b"data")
            end()
    except UnavailableError:
        pass
    files.sync()
    assert (list(tmp_path.iterdir()), synced.names) == ([], [])


def test_an_error_after_keep_removes_the_file(tmp_path: Path) -> None:
    files: UnsyncedFiles[str] = UnsyncedFiles(lambda _: None)

    def keep_and_fail() -> None:
        with files.new(tmp_path / "file", 4) as new:
            new.keep("file")
            fails()

    with pytest.raises(UnavailableError):
        keep_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files: UnsyncedFiles[str] = UnsyncedFiles(lambda _: None)
    for name in ("file", "link"):
        with pytest.raises(TikTrueKeysError):
            put(files, tmp_path / name)
    assert (tmp_path / "file").read_bytes() == b"precious"
    assert not (tmp_path / "target").exists()


def test_what_was_not_synced_is_not_passed_on(tmp_path: Path) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    told: list[Any] = []
    files = UnsyncedFiles(told.extend, sync=broken)
    put(files, tmp_path / "a")
    put(files, tmp_path / "b")
    with pytest.raises(UnavailableError):
        files.sync()
    assert told == []


def test_close_forgets_what_waits(tmp_path: Path) -> None:
    synced = Synced()
    files: UnsyncedFiles[str] = UnsyncedFiles(lambda _: None, sync=synced)
    put(files, tmp_path / "a")
    files.close()
    files.sync()
    assert synced.names == []


def test_a_full_disk_is_noticed_before_a_large_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    files: UnsyncedFiles[str] = UnsyncedFiles(lambda _: None)
    put(files, tmp_path / "small")
    with pytest.raises(DiskFullError), files.new(tmp_path / "large", 1 << 20):
        raise AssertionError("no room was asked for")
    files.close()
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_an_error_names_the_folder_that_is_being_made(tmp_path: Path) -> None:
    files: UnsyncedFiles[int] = UnsyncedFiles(lambda _: None)
    with pytest.raises(NotFoundError) as caught, files.new(tmp_path / ".b2.79900d85.tmp" / "model.ttm", 0):
        pass
    assert caught.value.message == f"the output {tmp_path}/b2/model.ttm does not exist"
