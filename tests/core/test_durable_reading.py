from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tiktrue_keys.core.durable import opened_regular, read_capped, refuse_symlinks
from tiktrue_keys.core.system_errors import foreign_os_errors, own_name
from tiktrue_keys.errors import (
    DiskFullError,
    InsecureError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    TikTrueKeysError,
    UnavailableError,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts or changes owners, which takes root")


# Reading


@pytest.mark.parametrize("size", [0, 9, 10])
def test_what_is_within_the_limit_is_read(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(bytes(size))
    assert read_capped(tmp_path / "file", 10, "the license") == bytes(size)


def test_what_is_longer_is_refused_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(11))
    with pytest.raises(IntegrityError, match=r"the license .*/file is longer than 10 bytes"):
        read_capped(tmp_path / "file", 10, "the license")
    os.truncate(tmp_path / "file", 1 << 40)
    with pytest.raises(IntegrityError):
        read_capped(tmp_path / "file", 10, "the license")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_a_size_that_says_nothing_does_not_lift_the_limit() -> None:
    assert os.stat("/proc/self/status").st_size == 0
    with pytest.raises(IntegrityError):
        read_capped("/proc/self/status", 10, "the file")
    assert read_capped("/proc/self/status", 1 << 16, "the file").startswith(b"Name:")


def test_a_file_over_a_mebibyte_is_read_whole(tmp_path: Path) -> None:
    data = os.urandom((2 << 20) + 1)
    (tmp_path / "file").write_bytes(data)
    assert read_capped(tmp_path / "file", 3 << 20, "the file") == data


@pytest.mark.parametrize("kind", ["folder", "fifo", "socket", "device"])
def test_what_is_no_regular_file_is_neither_read_nor_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    else:
        path = Path("/dev/zero")
    with pytest.raises(RefusedError, match="not a regular file"):
        read_capped(path, 10, "the file")


def test_a_link_is_not_followed_to_read(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(InsecureError, match="link is a symbolic link"):
        read_capped(tmp_path / "link", 10, "the file")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"the host secret .*/none does not exist"):
        read_capped(tmp_path / "none", 10, "the host secret")


def test_the_opened_descriptor_is_the_file_and_is_closed_after(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with opened_regular(path, "the file") as fd:
        assert os.path.samestat(os.fstat(fd), os.stat(path))
        assert os.read(fd, 10) == b"old"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


# Symbolic links on the way


def test_our_own_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "absolute").symlink_to(tmp_path / "link")
    refuse_symlinks(tmp_path / "absolute" / "keystore.db")
    refuse_symlinks(tmp_path / "none" / "deeper" / "keystore.db")
    refuse_symlinks("relative")


@pytest.fixture
def strangers_link(tmp_path: Path) -> Path:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "inner").mkdir()
    link = tmp_path / "theirs"
    link.symlink_to("real")
    os.chown(link, 65534, 65534, follow_symlinks=False)
    return link


@needs_root
@pytest.mark.parametrize("rest", ["", "keystore.db", "inner/keystore.db", "none/keystore.db", ".."])
def test_a_strangers_link_is_refused(strangers_link: Path, rest: str) -> None:
    with pytest.raises(InsecureError, match=r"/theirs is a symbolic link of user 65534") as caught:
        refuse_symlinks(os.path.join(strangers_link, rest))
    assert caught.value.hint == "give the real path"


@needs_root
def test_a_strangers_link_behind_our_own_is_refused(strangers_link: Path, tmp_path: Path) -> None:
    (tmp_path / "ours").symlink_to("theirs/inner")
    with pytest.raises(InsecureError, match="/theirs is"):
        refuse_symlinks(tmp_path / "ours" / "keystore.db")


@needs_root
def test_two_dots_after_a_link_are_those_of_its_target(strangers_link: Path, tmp_path: Path) -> None:
    (tmp_path / "ours").symlink_to("real/inner")
    (tmp_path / "real" / "theirs").symlink_to("inner")
    os.chown(tmp_path / "real" / "theirs", 65534, 65534, follow_symlinks=False)
    with pytest.raises(InsecureError, match=r"/real/inner/\.\./theirs is"):
        refuse_symlinks(f"{tmp_path}/ours/../theirs/keystore.db")
    refuse_symlinks(f"{tmp_path}/ours/../inner/keystore.db")


@needs_root
def test_a_relative_path_is_walked_from_the_working_folder(
    strangers_link: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InsecureError):
        refuse_symlinks("theirs/keystore.db")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InsecureError):
        refuse_symlinks(tmp_path / "a" / "keystore.db")


# Errors of the system


@pytest.mark.parametrize(
    ("number", "expected", "words"),
    [
        (errno.ENOENT, NotFoundError, "does not exist"),
        (errno.ENOTDIR, NotFoundError, "a part of its path is not a folder"),
        (errno.EEXIST, RefusedError, "exists already"),
        (errno.EISDIR, RefusedError, "is a folder"),
        (errno.EACCES, RefusedError, "is not accessible to this user"),
        (errno.EPERM, RefusedError, "is not accessible to this user"),
        (errno.ENAMETOOLONG, RefusedError, "too long a name"),
        (errno.ELOOP, InsecureError, "is a symbolic link"),
        (errno.ENOSPC, DiskFullError, "no space left"),
        (errno.EDQUOT, DiskFullError, "quota exceeded"),
        (errno.EFBIG, UnavailableError, "too large"),
        (errno.EROFS, UnavailableError, "read-only"),
        (errno.EIO, UnavailableError, "input/output error"),
        (errno.EMFILE, UnavailableError, "cannot be used: too many open files"),
    ],
)
def test_each_error_has_our_class_and_words(number: int, expected: type[TikTrueKeysError], words: str) -> None:
    name = "/k/keystore.db"
    with (
        pytest.raises(expected, match=f"the keystore {name} .*{words}") as caught,
        foreign_os_errors("the keystore", name),
    ):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is expected
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_has_a_hint(number: int) -> None:
    with pytest.raises(UnavailableError) as caught, foreign_os_errors("the file", "x"):
        raise OSError(number, os.strerror(number))
    assert caught.value.hint == "free some space on its file system or choose another place, then try again"


def test_an_error_without_a_number_is_still_ours() -> None:
    wanted = "the file x cannot be used: made up"
    with pytest.raises(UnavailableError, match=wanted), foreign_os_errors("the file", "x"):
        raise OSError("made up")


def test_a_closed_pipe_and_what_is_no_error_of_the_system_pass() -> None:
    for passing in (BrokenPipeError(errno.EPIPE, "closed"), RefusedError("ours"), ValueError("x")):
        with pytest.raises(type(passing)) as caught, foreign_os_errors("the file", "x"):
            raise passing
        assert caught.value is passing


def test_a_path_cannot_forge_a_line_of_a_message() -> None:
    with pytest.raises(NotFoundError) as caught:
        read_capped("/none/a\nb\x1b[2J\u202e", 1, "the file")
    assert caught.value.message == r"the file /none/a\nb\x1b[2J\u202e does not exist"


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/x/.b2.79900d85.tmp", "/x/b2"),
        ("/x/.b2.79900d85.tmp/deep/model.ttm", "/x/b2/deep/model.ttm"),
        (".a.b.79900d85.tmp", "a.b"),
        ("/x/b2.79900d85.tmp", "/x/b2.79900d85.tmp"),
        ("/x/.b2.79900D85.tmp", "/x/.b2.79900D85.tmp"),
        ("/x/.b2.79900d8.tmp", "/x/.b2.79900d8.tmp"),
    ],
)
def test_an_output_under_a_temporary_name_is_called_by_its_own(path: str, own: str) -> None:
    assert own_name(path) == Path(own)
