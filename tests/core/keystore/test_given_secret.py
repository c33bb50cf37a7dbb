"""Secrets as Kubernetes mounts them: links within the mount, root's, readable by a group; and what is still refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.keystores import error_of
from tiktrue_keys.core.keystore.host_secret import must_be_kept_private
from tiktrue_keys.core.keystore.permissions import must_not_be_writable_by_others
from tiktrue_keys.core.machine.surroundings import Mount, Surroundings
from tiktrue_keys.errors import InsecureError, NotFoundError

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root owns what a cluster gives")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A Secret's volume: ..data is a link to the folder of one version, each key a link through it."""
    folder = tmp_path / "secret"
    version = folder / "..2026_11_30_21_08_46.123456789"
    version.mkdir(parents=True)
    (version / "host").write_bytes(bytes(32))
    (version / "host").chmod(0o440)
    (folder / "..data").symlink_to(version.name)
    (folder / "host").symlink_to("..data/host")
    folder.chmod(0o1777)
    return folder


def pod(*folders: Path, read_only: bool = True, runtime: str | None = "containerd") -> Surroundings:
    given = [Mount("/", os.path.realpath(folder), "tmpfs", read_only=read_only) for folder in folders]
    return Surroundings(runtime, is_pod=runtime is not None, mounts=(Mount("/", "/", "overlay"), *given))


def is_refused(path: Path, surroundings: Surroundings) -> bool:
    return isinstance(error_of(lambda: must_be_kept_private(path, surroundings)), InsecureError)


@AS_ROOT
@pytest.mark.parametrize("mode", [0o400, 0o440, 0o444, 0o644])
def test_a_secret_is_taken_as_it_comes(volume: Path, mode: int) -> None:
    (volume / "..data/host").chmod(mode)

    assert must_be_kept_private(volume / "host", pod(volume)) == Path(os.path.realpath(volume / "host"))


@AS_ROOT
@pytest.mark.parametrize("mode", [0o460, 0o602, 0o666])
def test_what_others_may_write_is_refused(volume: Path, mode: int) -> None:
    (volume / "..data/host").chmod(mode)

    assert is_refused(volume / "host", pod(volume))


@AS_ROOT
def test_another_owner_is_refused(volume: Path) -> None:
    os.chown(volume / "..data/host", 65_534, -1)

    assert is_refused(volume / "host", pod(volume))


@AS_ROOT
def test_a_folder_between_that_others_can_write_is_refused(volume: Path) -> None:
    version = volume / "..data"
    version.chmod(0o777)
    assert is_refused(volume / "host", pod(volume))
    version.chmod(0o755)
    os.chown(version, 65_534, -1)
    assert is_refused(volume / "host", pod(volume))
    os.chown(version, 0, -1)
    assert not is_refused(volume / "host", pod(volume))


@AS_ROOT
def test_a_read_only_mount_excuses_an_open_folder_in_a_container_alone(volume: Path) -> None:
    volume.chmod(0o777)
    assert error_of(lambda: must_not_be_writable_by_others(volume, pod(volume))) is None
    for surroundings in (pod(volume, runtime=None), pod(volume, read_only=False)):
        with pytest.raises(InsecureError, match="can be written by others"):
            must_not_be_writable_by_others(volume, surroundings)


@AS_ROOT
def test_a_mount_that_can_be_written_and_a_machine_are_refused(volume: Path) -> None:
    image = Surroundings("podman", mounts=(Mount("/", "/", "overlay", read_only=True),))

    for surroundings in (pod(volume, read_only=False), pod(volume, runtime=None), Surroundings(), image):
        assert is_refused(volume / "host", surroundings)


@AS_ROOT
def test_a_key_that_the_secret_does_not_have_is_not_found(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path)  # as /var/run is

    error = error_of(lambda: must_be_kept_private(tmp_path / "run/secret/other", pod(volume)))

    assert isinstance(error, NotFoundError)


@AS_ROOT
def test_a_link_out_of_the_mount_is_refused(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/host").write_bytes(bytes(32))
    (tmp_path / "elsewhere/host").chmod(0o444)
    (volume / "other").symlink_to(tmp_path / "elsewhere/host")

    assert is_refused(volume / "other", pod(volume, tmp_path / "elsewhere"))


def test_a_private_file_needs_no_mount_and_a_missing_one_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "host").write_bytes(bytes(32))
    (tmp_path / "host").chmod(0o600)

    assert must_be_kept_private(tmp_path / "host", Surroundings()) == tmp_path / "host"
    assert isinstance(error_of(lambda: must_be_kept_private(tmp_path / "no", Surroundings())), NotFoundError)
