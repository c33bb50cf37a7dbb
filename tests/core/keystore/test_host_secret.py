"""The host secret: made once, exclusively and privately, never replaced."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.keystores import LICENSE, Desk, error_of
from tiktrue_keys.core.keystore import host_secret
from tiktrue_keys.core.keystore.database import FILE_NAME
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import InsecureError, IntegrityError, NotFoundError, RefusedError


def taken(secret: SecretBuffer) -> bytes:
    with secret:
        return bytes(secret.view)


def test_it_is_made_once_with_32_bytes_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "new/secret"
    made = taken(host_secret.read_or_create(path, named=True))
    assert len(made) == 32
    assert made == path.read_bytes() == taken(host_secret.read_or_create(path, named=True))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert made != taken(host_secret.read_or_create(tmp_path / "another", named=True))
    assert sorted(os.listdir(path.parent)) == ["secret"]


def test_of_two_who_make_it_at_once_both_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "new/secret"
    found: list[bytes] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        found.append(taken(host_secret.read_or_create(path, named=True)))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {path.read_bytes()}


@pytest.mark.parametrize("length", [0, 31, 33, 5000])
def test_another_length_is_refused_and_left_alone(tmp_path: Path, length: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(bytes(length))
    path.chmod(0o600)
    for call in (lambda: host_secret.read(path), lambda: host_secret.read_or_create(path, named=True)):
        assert isinstance(error_of(call), IntegrityError)
    assert path.stat().st_size == length


def test_no_secret_is_in_any_message(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"0123456789abcdef0123456789abcde!" + b"more")
    path.chmod(0o600)
    error = error_of(lambda: host_secret.read(path))
    assert error is not None
    assert "0123456789" not in f"{error.message} {error.hint} {error!r}"


def test_not_there_and_not_ours_are_told_apart(tmp_path: Path) -> None:
    assert isinstance(error_of(lambda: host_secret.read(tmp_path / "nowhere")), NotFoundError)
    (tmp_path / "folder").mkdir()
    assert isinstance(error_of(lambda: host_secret.read(tmp_path / "folder")), InsecureError)
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert isinstance(error_of(lambda: host_secret.read(tmp_path / "fifo")), InsecureError)


def test_a_failed_first_generate_leaves_nothing_that_stands_in_the_way_of_the_next(desk: Desk) -> None:
    assert error_of(lambda: desk.manager().generate("llama", license_key="")) is not None
    assert not desk.folder.exists()
    assert not desk.secret.parent.exists()
    assert error_of(lambda: desk.manager().generate("llama", license_key=LICENSE, lifetime=1)) is not None
    desk.manager().generate("llama", license_key=LICENSE)


def test_a_lost_one_is_not_replaced_while_keystores_need_it(desk: Desk) -> None:
    with desk.manager() as manager:
        manager.generate("llama", license_key=LICENSE)
    desk.secret.unlink()
    before = sorted(os.listdir(desk.secret.parent))
    other = Desk(desk.folder.parent / "other")

    with other.manager(host_secret_file=desk.secret) as manager:
        error = error_of(lambda: manager.generate("llama", license_key=LICENSE))

    assert isinstance(error, RefusedError)
    assert error.message == f"the host secret {desk.secret} is gone, and keystores on this machine still need it"
    assert error.remedy == "host-secret-gone"
    assert sorted(os.listdir(desk.secret.parent)) == before
    assert not (other.folder / FILE_NAME).exists()
    with other.manager() as manager:
        manager.generate("llama", license_key=LICENSE)
    assert other.secret.exists()


def test_a_keystore_that_gets_a_new_one_is_not_kept_from_it_by_its_own_mark(tmp_path: Path) -> None:
    path, own = tmp_path / "secret", bytes(16)
    (tmp_path / f"{own.hex()}.mark").touch()
    assert isinstance(error_of(lambda: host_secret.read_or_create(path, named=True)), RefusedError)

    made = taken(host_secret.read_or_create(path, named=True, keystore_id=own))

    assert made == taken(host_secret.read_or_create(path, named=True))
    path.unlink()
    (tmp_path / f"{'ab' * 16}.mark").touch()
    assert isinstance(error_of(lambda: host_secret.read_or_create(path, named=True, keystore_id=own)), RefusedError)
    assert not path.exists()


def test_a_folder_may_hold_several(tmp_path: Path) -> None:
    taken(host_secret.read_or_create(tmp_path / "first", named=True))
    (tmp_path / f"{'ab' * 16}.mark").touch()

    second = taken(host_secret.read_or_create(tmp_path / "second", named=True))

    assert second != (tmp_path / "first").read_bytes()
