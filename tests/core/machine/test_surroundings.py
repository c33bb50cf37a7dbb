"""Containers and storage that will not last, over recorded process files and mount tables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiktrue_keys.core.machine.surroundings import container_runtime, volatile_storage

PLAIN = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
OVERLAY = "1 2 0:40 / / rw,relatime master:9 - overlay overlay rw,lowerdir=/l\n"
SUBFOLDER = "1 2 254:0 /var/lib/docker/vfs/dir/0a1b / rw - ext4 /dev/vda rw\n"
SUBVOLUME = "1 2 0:31 /@ / rw - btrfs /dev/vda rw,subvol=/@\n"
DOCKER_SUBVOLUME = "1 2 0:31 /@/var/lib/docker/btrfs/subvolumes/0a1b / rw - btrfs /dev/vda rw\n"


def system(root: Path, *, mounts: str = PLAIN, environ: bytes = b"", files: dict[str, str] | None = None) -> Path:
    """A root folder with a process table, a mount table and some more files."""
    for name, content in {"proc/1/environ": "", "proc/self/mountinfo": mounts, **(files or {})}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "proc/1/environ").write_bytes(environ)
    return root


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        (b"HOME=/\0container=lxc\0", "lxc"),
        (b"container=systemd-nspawn", "systemd-nspawn"),
        (b"container=\0", None),
        (b"container=\xff\xfe\0", None),
        (b"my_container=lxc\0", None),
        (b"HOSTNAME=machine\0", None),
        (b"", None),
    ],
)
def test_the_first_process_tells_the_container_manager(tmp_path: Path, environ: bytes, name: str | None) -> None:
    assert container_runtime(system(tmp_path, environ=environ)) == name


@pytest.mark.parametrize(
    ("files", "mounts", "name"),
    [
        ({"run/systemd/container": "docker\n"}, PLAIN, "docker"),
        ({"run/systemd/container": "\n"}, PLAIN, None),
        ({"run/.containerenv": ""}, PLAIN, "podman"),
        ({".dockerenv": ""}, OVERLAY, "docker"),
        ({".dockerenv": ""}, OVERLAY.replace("overlay", "aufs"), "docker"),
        ({".dockerenv": ""}, SUBFOLDER, "docker"),
        ({".dockerenv": ""}, DOCKER_SUBVOLUME, "docker"),
        ({".dockerenv": ""}, PLAIN, None),
        ({".dockerenv": ""}, SUBVOLUME, None),
        ({".dockerenv": ""}, PLAIN + OVERLAY, "docker"),
        ({".dockerenv": ""}, "", None),
        ({".dockerenv": ""}, "garbage\n\xff - \n", None),
        ({}, OVERLAY, None),
    ],
)
def test_marks_in_the_file_system(tmp_path: Path, files: dict[str, str], mounts: str, name: str | None) -> None:
    assert container_runtime(system(tmp_path, files=files, mounts=mounts)) == name


def test_without_a_process_table_there_is_no_container(tmp_path: Path) -> None:
    assert container_runtime(tmp_path) is None


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        (PLAIN, None),
        (OVERLAY, "overlay"),
        (SUBVOLUME, None),
        (PLAIN + "31 27 0:20 / {here} rw - tmpfs tmpfs rw\n", "tmpfs"),
        ("31 27 0:20 / {here} rw - tmpfs tmpfs rw\n" + PLAIN, "tmpfs"),
        (PLAIN + "31 27 0:20 / {here}/other rw - tmpfs tmpfs rw\n", None),
        (PLAIN + "31 27 0:20 / {here}x rw - tmpfs tmpfs rw\n", None),
        (OVERLAY + "31 27 254:16 / {here} rw - ext4 /dev/vdb rw\n", None),
        (PLAIN + "31 27 0:20 / {here} rw - tmpfs t rw\n32 31 254:16 / {here} rw - ext4 /dev/vdb rw\n", None),
        (PLAIN + "31 27 0:20 / {here}/a\\040b rw shared:1 master:2 - ramfs none rw\n", "ramfs"),
        ("", None),
    ],
)
def test_storage_is_judged_by_the_mount_that_holds_it(tmp_path: Path, mounts: str, kind: str | None) -> None:
    here = os.path.realpath(tmp_path)
    system(tmp_path, mounts=mounts.replace("{here}", here))
    assert volatile_storage(tmp_path / "a b/not/yet/there", tmp_path) == kind


def test_a_mount_point_itself_is_on_its_mount(tmp_path: Path) -> None:
    system(tmp_path, mounts=f"{PLAIN}31 27 0:20 / {os.path.realpath(tmp_path)} rw - tmpfs tmpfs rw\n")
    assert volatile_storage(tmp_path, tmp_path) == "tmpfs"


def test_storage_behind_a_link_is_judged_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    real = os.path.realpath(tmp_path / "real")
    system(tmp_path, mounts=f"{PLAIN}31 27 0:20 / {real} rw - tmpfs tmpfs rw\n")
    assert volatile_storage(tmp_path / "link/secret", tmp_path) == "tmpfs"


def test_shared_memory_of_this_machine_is_volatile() -> None:
    if not os.path.ismount("/dev/shm"):
        pytest.skip("/dev/shm is no mount here")
    assert volatile_storage(Path("/dev/shm/keys/secret")) == "tmpfs"
