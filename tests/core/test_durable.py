from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiktrue_keys.core.durable import (
    NewFile,
    create_bytes,
    read_capped,
    replace_bytes,
    sync_folder,
)
from tiktrue_keys.core.outputs import KEYSTORES_ONLY
from tiktrue_keys.errors import (
    InsecureError,
    NotFoundError,
    RefusedError,
    UsageError,
)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def old(folder: Path) -> Path:
    path = folder / "file"
    path.write_bytes(b"old")
    return path


# What is there afterwards


def test_create_and_replace(folder: Path) -> None:
    path = folder / "file"
    create_bytes(path, b"first", gate=None)
    assert path.read_bytes() == b"first"
    replace_bytes(path, b"second", gate=None)
    assert path.read_bytes() == b"second"
    assert names(folder) == ["file"]


def test_replace_makes_what_was_not_there(folder: Path) -> None:
    replace_bytes(str(folder / "file"), b"", gate=None)
    assert (folder / "file").read_bytes() == b""


def test_create_refuses_what_exists(old: Path) -> None:
    with pytest.raises(RefusedError, match=r"file .*/file exists already") as caught:
        create_bytes(old, b"new", gate=None)
    assert caught.value.hint == "choose another name, or remove it first"
    assert old.read_bytes() == b"old"
    assert names(old.parent) == ["file"]


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400, 0o000], ids=oct)
def test_the_mode_is_exact_whatever_the_umask(folder: Path, mode: int) -> None:
    create_bytes(folder / "created", b"x", mode, gate=None)
    replace_bytes(folder / "replaced", b"x", mode, gate=None)
    with NewFile(folder / "new", mode, gate=None) as new:
        assert mode_of(new.temporary) == mode
    assert mode_of(folder / "created") == mode
    assert mode_of(folder / "replaced") == mode


def test_the_mode_is_for_the_owner_alone_unless_told(folder: Path) -> None:
    create_bytes(folder / "created", b"x", gate=None)
    replace_bytes(folder / "replaced", b"x", gate=None)
    with NewFile(folder / "new", gate=None) as new:
        new.commit(replace=False)
    assert {mode_of(folder / name) for name in names(folder)} == {0o600}


def test_nothing_is_buffered_and_the_descriptor_reads_too(folder: Path) -> None:
    with NewFile(folder / "file", gate=None) as new:
        assert not os.get_inheritable(new.fd)
        new.write(b"abc")
        assert new.temporary.read_bytes() == b"abc"
        os.pwrite(new.fd, b"z", 1 << 33)  # 8 GiB on, sparse
        assert os.pread(new.fd, 2, (1 << 33) - 1) == b"\0z"
        assert names(folder) == [new.temporary.name]


def test_the_temporary_name_is_known_before_the_file_is_made(folder: Path) -> None:
    new = NewFile(folder / "model.ttm", gate=None)
    assert re.fullmatch(r"\.model\.ttm\.[0-9a-f]{8}\.tmp", new.temporary.name)
    assert names(folder) == []
    known = new.temporary
    with new:
        assert names(folder) == [known.name]


def test_what_already_has_the_temporary_name_is_not_ours_to_touch(folder: Path) -> None:
    new = NewFile(folder / "file", gate=None)
    new.temporary.write_bytes(b"theirs")
    with pytest.raises(RefusedError, match="exists already"), new:
        pytest.fail("the block must not be entered")
    assert new.temporary.read_bytes() == b"theirs"


@pytest.mark.parametrize("leaving", [None, ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_leaving_without_commit_leaves_the_old_file_alone(old: Path, leaving: type[BaseException] | None) -> None:
    def write_and_leave() -> None:
        with NewFile(old, gate=None) as new:
            new.write(b"new")
            if leaving is not None:
                raise leaving

    if leaving is None:
        write_and_leave()
    else:
        with pytest.raises(leaving):
            write_and_leave()
    assert old.read_bytes() == b"old"
    assert names(old.parent) == ["file"]


def test_no_descriptor_stays_open(folder: Path) -> None:
    def open_now() -> int:
        return len(os.listdir("/dev/fd"))

    before = open_now()
    for _ in range(3):
        replace_bytes(folder / "file", b"x", gate=None)
        with pytest.raises(RefusedError):
            create_bytes(folder / "file", b"x", gate=None)
        with pytest.raises(RefusedError):
            replace_bytes(folder, b"x", gate=None)
        with pytest.raises(NotFoundError):
            replace_bytes(folder / "none" / "file", b"x", gate=None)
        with pytest.raises(RefusedError):
            read_capped(folder, 1, "the file")
        read_capped(folder / "file", 1, "the file")
        sync_folder(folder)
    assert open_now() == before


# Names


@pytest.mark.parametrize(
    "name", ["n" * 255, "é" * 127 + "n", "n" + "é" * 127, "模" * 85, "🙂" * 63, "a" * 240, "a" * 242]
)
def test_the_longest_names_have_room_for_the_temporary_one(folder: Path, name: str) -> None:
    with NewFile(folder / name, gate=None) as new:
        raw = os.fsencode(new.temporary.name)
        assert len(raw) <= 255
        assert raw.decode("utf-8").startswith(f".{name[:60]}")
        new.commit(replace=False)
    assert names(folder) == [name]


def test_a_name_that_is_too_long_is_refused_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(RefusedError, match="too long a name"), NewFile(folder / ("n" * 256), gate=None):
        pytest.fail("the block must not be entered")
    assert names(folder) == []


def test_bytes_that_are_not_utf8_are_a_name_too(folder: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe"))
    create_bytes(path, b"x", gate=None)
    with pytest.raises(RefusedError, match=r"/\\xff\\xfe exists already"):
        create_bytes(path, b"x", gate=None)


@pytest.mark.parametrize("path", ["", ".", "..", "/", "a/..", "a/"])
def test_what_names_no_file_is_a_usage_error(path: str) -> None:
    with pytest.raises(UsageError, match="does not name a file"):
        NewFile(path, gate=None)


def test_a_relative_name_is_in_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    create_bytes("file", b"x", gate=None)
    assert names(folder) == ["file"]


# What is in the way


@pytest.mark.parametrize("target", ["elsewhere", "nothing"])
def test_a_symbolic_link_in_place_is_refused(folder: Path, target: str) -> None:
    (folder / "elsewhere").write_bytes(b"theirs")
    link = folder / "file"
    link.symlink_to(folder / target)
    for write in (create_bytes, replace_bytes):
        with pytest.raises(InsecureError, match="file is a symbolic link"):
            write(link, b"new", gate=None)
    assert link.is_symlink()
    assert (folder / "elsewhere").read_bytes() == b"theirs"
    assert names(folder) == ["elsewhere", "file"]


@pytest.mark.parametrize("replace", [True, False])
def test_a_symbolic_link_that_appears_meanwhile_is_refused(folder: Path, replace: bool) -> None:
    with NewFile(folder / "file", gate=None) as new:
        (folder / "file").symlink_to("elsewhere")
        with pytest.raises(InsecureError):
            new.commit(replace)
        assert not new.committed
    assert names(folder) == ["file"]


def test_a_file_that_appears_meanwhile_is_not_lost(folder: Path) -> None:
    with NewFile(folder / "file", gate=None) as new:
        (folder / "file").write_bytes(b"theirs")
        with pytest.raises(RefusedError, match="exists already"):
            new.commit(replace=False)
    assert (folder / "file").read_bytes() == b"theirs"
    assert names(folder) == ["file"]


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_regular_file_is_not_replaced(folder: Path, kind: str) -> None:
    path = folder / "file"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(RefusedError, match="exists and is not a regular file"):
        replace_bytes(path, b"x", gate=None)
    assert names(folder) == ["file"]


def test_a_folder_that_is_not_there(folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"the folder .*none does not exist"):
        create_bytes(folder / "none" / "file", b"x", gate=None)
    (folder / "file").touch()
    with pytest.raises(NotFoundError, match="is not a folder"):
        create_bytes(folder / "file" / "file", b"x", gate=None)


def test_the_folder_is_held_while_its_path_moves(folder: Path) -> None:
    (folder / "before").mkdir()
    with NewFile(folder / "before" / "file", gate=None) as new:
        (folder / "before").rename(folder / "after")
        (folder / "before").mkdir()
        new.commit(replace=True)
    assert names(folder / "after") == ["file"]
    assert names(folder / "before") == []


def test_what_the_gate_refuses_is_not_begun(folder: Path) -> None:
    (folder / "license").write_bytes(b"license")
    gate = KEYSTORES_ONLY.also("the license file", folder / "license")
    for write in (create_bytes, replace_bytes):
        with pytest.raises(RefusedError, match="is the license file"):
            write(folder / "license", b"x", gate=gate)
    with pytest.raises(RefusedError, match="is the license file"):
        NewFile(folder / "license", gate=gate)
    assert (folder / "license").read_bytes() == b"license"


def test_the_gate_is_asked_again_before_a_file_is_replaced(folder: Path) -> None:
    gate = KEYSTORES_ONLY.also("the license file", folder / "license")
    with NewFile(folder / "file", gate=gate) as new:
        (folder / "license").write_bytes(b"license")
        (folder / "file").hardlink_to(folder / "license")
        with pytest.raises(RefusedError, match="is the license file"):
            new.commit(replace=True)
    assert (folder / "file").read_bytes() == b"license"
    assert names(folder) == ["file", "license"]
