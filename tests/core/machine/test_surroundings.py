"""Containers and storage that will not last, over recorded process files and mount tables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiktrue_keys.core.machine.surroundings import container_runtime, read_surroundings

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


KUBELET = "3 1 8:1 /var/lib/kubelet/pods/0a1b/etc-hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw\n"
CONTAINERD = (
    "1 2 0:9 / / rw - overlay overlay rw,lowerdir=/r/io.containerd.snapshotter.v1.overlayfs/snapshots/8\n"
    "4 1 8:1 /r/io.containerd.grpc.v1.cri/sandboxes/0a1b/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
)
CRI_O = (
    OVERLAY + "4 1 0:24 /containers/storage/overlay-containers/0a1b/userdata/hostname /etc/hostname rw - tmpfs t rw\n"
)
DOCKER = OVERLAY + "4 1 8:1 /var/lib/docker/containers/0a1b/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"


@pytest.mark.parametrize(
    ("mounts", "runtime", "is_pod", "name"),
    [
        (CONTAINERD + KUBELET, "containerd", True, "a Kubernetes pod (containerd)"),
        (CONTAINERD, "containerd", False, "a container (containerd)"),
        (CRI_O + KUBELET, "cri-o", True, "a Kubernetes pod (cri-o)"),
        # /run is in memory and hides .containerenv; a process that keeps debuggers away hides its environment.
        (SUBFOLDER.replace("docker", "containers/storage") + "4 1 254:0 /vfs-containers/0a1b/hosts /etc/hosts"
         " ro - ext4 d rw\n", "podman", False, "a container (podman)"),
        (OVERLAY + KUBELET, None, True, "a Kubernetes pod"),
        (DOCKER, "docker", False, "a container (docker)"),
        # The host of these containers sees their roots elsewhere, and is itself none.
        (PLAIN + CONTAINERD.replace(" / / ", " / /run/containerd/io.containerd.runtime.v2.task/k8s.io/0a1b/rootfs ")
         .replace("/etc/hostname", "/mnt/etc/hostname"), None, False, ""),
        (PLAIN, None, False, ""),
    ],
)  # fmt: skip
def test_the_mounts_of_a_runtime_tell_it(
    tmp_path: Path, mounts: str, runtime: str | None, is_pod: bool, name: str
) -> None:
    found = read_surroundings(system(tmp_path, mounts=mounts))

    assert (found.runtime, found.is_pod, found.name) == (runtime, is_pod, name)


def test_without_a_process_table_there_is_no_container(tmp_path: Path) -> None:
    assert container_runtime(tmp_path) is None


def storage(root: Path, path: Path) -> str | None:
    return read_surroundings(root).storage_that_vanishes(os.path.realpath(path))


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
        # What comes from outside on a read-only mount comes back with it: a Secret, a credential.
        (OVERLAY + "31 27 0:20 / {here} ro,relatime - tmpfs tmpfs rw,size=64k\n", None),
        # The folder of an emptyDir is on the node's disk, and is removed with the pod.
        (OVERLAY + "31 27 8:1 /var/lib/kubelet/pods/0a1b/volumes/kubernetes.io~empty-dir/keys {here} rw - ext4 d rw\n",
         "emptyDir"),
        (OVERLAY + "31 27 8:1 /var/lib/kubelet/pods/0a1b/volumes/kubernetes.io~csi/pvc/mount {here} rw - ext4 d rw\n",
         None),
        # A root that is a folder of the host's disk, as storage drivers without layers make it.
        (SUBFOLDER + DOCKER.split("\n")[1] + "\n", "the root of the container"),
        ("", None),
    ],
)  # fmt: skip
def test_storage_is_judged_by_the_mount_that_holds_it(tmp_path: Path, mounts: str, kind: str | None) -> None:
    here = os.path.realpath(tmp_path)
    system(tmp_path, mounts=mounts.replace("{here}", here))
    assert storage(tmp_path, tmp_path / "a b/not/yet/there") == kind


@pytest.mark.parametrize("runtime", ["lxc", "systemd-nspawn", "wsl"])
def test_the_root_of_a_container_that_is_kept_like_a_machine_lasts(tmp_path: Path, runtime: str) -> None:
    system(tmp_path, mounts=SUBFOLDER, environ=b"container=" + runtime.encode())
    assert storage(tmp_path, tmp_path) is None
    system(tmp_path, mounts=SUBFOLDER, environ=b"container=podman")
    assert storage(tmp_path, tmp_path) == "the root of the container"


def test_a_mount_point_itself_is_on_its_mount(tmp_path: Path) -> None:
    system(tmp_path, mounts=f"{PLAIN}31 27 0:20 / {os.path.realpath(tmp_path)} rw - tmpfs tmpfs rw\n")
    assert storage(tmp_path, tmp_path) == "tmpfs"


def test_shared_memory_of_this_machine_is_volatile() -> None:
    if not os.path.ismount("/dev/shm"):
        pytest.skip("/dev/shm is no mount here")
    assert storage(Path("/"), Path("/dev/shm/keys/secret")) == "tmpfs"
