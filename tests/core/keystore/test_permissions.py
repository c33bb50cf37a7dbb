"""Who may reach a keystore: wide modes, other owners and symbolic links are refused; what is made is private."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.keystores import LICENSE, Desk, error_of, in_a_child
from tiktrue_keys.core.keystore.permissions import must_lie_outside
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import InsecureError, NotFoundError, RefusedError, UnavailableError, UsageError

NOBODY = 65_534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def made(desk: Desk) -> Desk:
    desk.manager().generate("llama", license_key=LICENSE)
    desk.close()
    return desk


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in sorted(folder.rglob("*"))}


PARTS: list[Callable[[Desk], Path]] = [lambda desk: desk.folder, lambda desk: desk.file, lambda desk: desk.secret]


@pytest.mark.parametrize("part", PARTS, ids=["folder", "database", "host secret"])
@pytest.mark.parametrize("more", [0o001, 0o004, 0o020, 0o040, 0o077])
def test_open_to_others_is_insecure_and_the_hint_mends_it(made: Desk, part: Callable[[Desk], Path], more: int) -> None:
    path = part(made)
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode | more)
    error = error_of(lambda: made.manager().find("llama"))
    assert isinstance(error, InsecureError)
    assert str(path) in error.message
    assert error.hint == f"chmod {mode:o} '{path}'"
    path.chmod(mode)
    assert made.manager().find("llama").model_id == "llama"


@AS_ROOT
@pytest.mark.parametrize("part", PARTS, ids=["folder", "database", "host secret"])
def test_another_owner_is_insecure(made: Desk, part: Callable[[Desk], Path]) -> None:
    os.chown(part(made), NOBODY, -1)
    error = error_of(lambda: made.manager().find("llama"))
    assert isinstance(error, InsecureError)
    assert "another user" in error.message
    assert (error.remedy, error.about) == ("run-as-owner", {"user": "nobody"})


@pytest.mark.parametrize("part", PARTS, ids=["folder", "database", "host secret"])
def test_a_symbolic_link_in_its_place_is_insecure(made: Desk, part: Callable[[Desk], Path], tmp_path: Path) -> None:
    path = part(made)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert isinstance(error_of(lambda: made.manager().find("llama")), InsecureError)


@pytest.mark.parametrize("name", ["keystore.lock"])
def test_a_symbolic_link_in_place_of_the_lock_is_not_followed(made: Desk, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    (made.folder / name).unlink()
    (made.folder / name).symlink_to(target)
    assert isinstance(error_of(lambda: made.manager().revoke(["llama"], reason="x")), InsecureError)
    assert not target.exists()


@AS_ROOT
def test_a_strangers_symbolic_link_on_the_way_is_insecure(made: Desk, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(made.folder.parent)
    assert KeyManager(link / made.folder.name).exists()
    os.chown(link, NOBODY, -1, follow_symlinks=False)
    with KeyManager(link / made.folder.name) as manager:
        assert isinstance(error_of(lambda: manager.find("llama")), InsecureError)
    with KeyManager(link / "new", host_secret_file=made.secret) as manager:
        assert isinstance(error_of(lambda: manager.generate("m", license_key=LICENSE)), InsecureError)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_others_can_enter_is_not_taken_for_a_new_keystore(desk: Desk) -> None:
    desk.folder.mkdir(mode=0o755)
    (desk.folder / "something of somebody").touch()
    error = error_of(lambda: desk.manager().generate("llama", license_key=LICENSE))
    assert isinstance(error, InsecureError)
    assert not desk.file.exists()


def test_an_empty_folder_of_ours_is_closed_and_taken(desk: Desk) -> None:
    desk.folder.mkdir(mode=0o755)
    desk.manager().generate("llama", license_key=LICENSE)
    assert stat.S_IMODE(desk.folder.stat().st_mode) == 0o700


def test_an_empty_database_that_others_can_read_is_not_taken_as_it_is(desk: Desk) -> None:
    desk.folder.mkdir(mode=0o700)
    desk.file.touch()
    desk.file.chmod(0o644)
    error = error_of(lambda: desk.manager().generate("llama", license_key=LICENSE))
    if error is None:
        assert stat.S_IMODE(desk.file.stat().st_mode) == 0o600
    else:
        assert isinstance(error, InsecureError)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_whatever_the_umask_all_that_is_made_is_private(tmp_path: Path, mask: int) -> None:
    with umask(mask), Desk(tmp_path / "a/b") as desk:
        desk.manager().generate("llama", license_key=LICENSE)
        desk.manager().rotate(["llama"], license_key=LICENSE)
    for name, mode in modes(tmp_path).items():
        assert not mode & 0o022, (name, oct(mode))
    assert {oct(mode) for name, mode in modes(desk.folder).items()} == {"0o600"}
    assert {oct(mode) for name, mode in modes(desk.secret.parent).items()} == {"0o600"}
    assert stat.S_IMODE(desk.folder.stat().st_mode) == 0o700


@AS_ROOT
@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_an_unusual_umask_keeps_an_ordinary_user_from_nothing(tmp_path: Path, mask: int) -> None:
    def operation() -> bytes:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.umask(mask)
        with Desk(home / "a/b") as desk:
            desk.manager().generate("llama", license_key=LICENSE)
        with Desk(home / "a/b") as desk:
            desk.manager().rotate(["llama"], license_key=LICENSE)
            return str(desk.manager().find("llama").generation).encode()

    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)
    for parent in home.parents:
        if not parent.stat().st_mode & 0o001:
            if parent not in (tmp_path, tmp_path.parent):
                pytest.skip(f"nobody may not pass {parent}")
            parent.chmod(0o711)
    assert in_a_child(operation) == b"2"


@AS_ROOT
def test_who_may_not_read_it_is_told_so(made: Desk, tmp_path: Path) -> None:
    def operation() -> bytes:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        return type(error_of(lambda: made.manager().find("llama"))).__name__.encode()

    assert in_a_child(operation) in (b"RefusedError", b"InsecureError")


@pytest.mark.parametrize("name", ["a b", "ü€", "new\nline", "quote'\"", "%41?mode=memory#x", "\udcff raw"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    with Desk(tmp_path) as desk:
        desk.folder = tmp_path / name
        desk.manager().generate("llama", license_key=LICENSE)
        desk.close()
        assert desk.manager().find("llama").generation == 1
        desk.manager().rotate(["llama"], license_key=LICENSE)
        desk.close()
        assert desk.manager().validate(deep=True).checks[0].ok
        assert {path.name for path in desk.folder.iterdir()} == {"keystore.db", "keystore.lock", "keystore.reserve"}


def test_a_host_secret_in_a_folder_that_is_no_utf_8_is_refused_in_words(tmp_path: Path) -> None:
    with Desk(tmp_path / "\udcff raw") as desk:
        assert isinstance(error_of(lambda: desk.manager().generate("llama", license_key=LICENSE)), UsageError)


OPERATIONS: list[Callable[[KeyManager], object]] = [
    lambda manager: manager.find("llama"),
    lambda manager: manager.generate("llama", license_key=LICENSE),
    lambda manager: manager.exists() or manager.find("llama"),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=["find", "generate", "exists"])
@pytest.mark.parametrize("name", ["x" * 300, "a\0b"], ids=["too long", "zero byte"])
def test_a_folder_that_cannot_be_is_an_error_of_ours(
    desk: Desk, tmp_path: Path, name: str, operation: Callable[[KeyManager], object]
) -> None:
    assert error_of(lambda: operation(KeyManager(f"{tmp_path}/{name}", host_secret_file=desk.secret))) is not None
    assert not desk.secret.exists()


def test_a_host_secret_behind_a_loop_of_links_is_an_error_of_ours(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    desk.secret = tmp_path / "loop/secret"
    assert error_of(lambda: desk.manager().generate("llama", license_key=LICENSE)) is not None


def test_a_file_or_nothing_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/below", tmp_path / "nowhere"):
        with KeyManager(folder) as manager:
            assert not manager.exists()
            assert isinstance(error_of(lambda manager=manager: manager.find("llama")), (NotFoundError, InsecureError))  # type: ignore[misc]
    with KeyManager(tmp_path / "file", host_secret_file=tmp_path / "secret") as manager:
        error = error_of(lambda: manager.generate("llama", license_key=LICENSE))
        assert isinstance(error, (RefusedError, UnavailableError, InsecureError))


def test_a_relative_folder_is_the_one_that_was_meant(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with KeyManager("keys", host_secret_file="host/secret", clock=desk.clock, pbkdf2_rounds=100_000) as manager:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        manager.generate("llama", license_key=LICENSE)
        assert manager.path == tmp_path / "keys"
    monkeypatch.chdir("/")
    assert desk.manager().find("llama").model_id == "llama"
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("below", ["keys", "keys/secret", "keys/deeper/secret", "link/secret"])
def test_a_host_secret_or_a_mark_may_not_lie_inside_the_keystores_folder(tmp_path: Path, below: str) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "keys")
    error = error_of(lambda: must_lie_outside(tmp_path / below, tmp_path / "keys"))
    assert isinstance(error, InsecureError)
    must_lie_outside(tmp_path / "keys2/secret", tmp_path / "keys")
