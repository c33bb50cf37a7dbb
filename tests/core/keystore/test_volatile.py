"""What of a keystore vanishes: which places count, the words for it, and what a keystore in memory says of itself."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.keystores import LICENSE, Desk, error_of
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.paths import KeystorePaths
from tiktrue_keys.core.keystore.volatile import (
    HOST_SECRET,
    KEYSTORE,
    MARKS,
    volatile_now,
    volatile_of,
    volatile_parts,
    volatile_when_created,
)
from tiktrue_keys.core.machine.surroundings import Mount, Surroundings
from tiktrue_keys.errors import WrongMachineError

DISK = Mount("/", "/", "ext4")
OVERLAY = Mount("/", "/", "overlay")
VOLUME = Mount("/", "/state", "ext4")
SECRET = Mount("/", "/run/secret", "tmpfs", read_only=True)
ALL = {KEYSTORE: Path("/k"), HOST_SECRET: Path("/h/secret"), MARKS: Path("/h")}


@pytest.mark.parametrize(
    ("places", "surroundings", "names", "words"),
    [
        (ALL, Surroundings(mounts=(DISK,)), (), ""),
        (ALL, Surroundings(), (), ""),
        (
            ALL,
            Surroundings("podman", mounts=(OVERLAY,)),
            ("host-secret", "keystore", "marks"),
            "this container (podman): the database, the host secret and the marks are on overlay",
        ),
        (
            ALL | {KEYSTORE: Path("/state/k")},
            Surroundings("containerd", is_pod=True, mounts=(OVERLAY, VOLUME)),
            ("host-secret", "marks"),
            "this Kubernetes pod (containerd): the host secret and the marks are on overlay",
        ),
        (
            {KEYSTORE: Path("/state/k"), HOST_SECRET: Path("/run/secret/x"), MARKS: Path("/h")},
            Surroundings("containerd", is_pod=True, mounts=(OVERLAY, VOLUME, SECRET)),
            ("marks",),
            "this Kubernetes pod (containerd): the marks are on overlay",
        ),
        (
            {KEYSTORE: Path("/run/k"), HOST_SECRET: Path("/h/secret"), MARKS: Path("/h")},
            Surroundings(mounts=(DISK, Mount("/", "/run", "tmpfs"))),
            ("keystore",),
            "a restart of this machine: the database is on tmpfs",
        ),
    ],
)
def test_which_parts_vanish_and_with_what(
    places: dict[str, Path], surroundings: Surroundings, names: tuple[str, ...], words: str
) -> None:
    found = volatile_parts(places, surroundings)

    assert found.names == names
    assert bool(found) == bool(names)
    assert not names or found.words == f"this keystore will not outlive {words}"


@pytest.fixture
def in_memory() -> Iterator[Desk]:
    if not os.path.ismount("/dev/shm") or not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm to write to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, Desk(Path(folder)) as desk:
        yield desk


def document_of(desk: Desk) -> Document:
    with desk.session().read() as (view, _):
        return view.document


def test_python_is_told_in_the_result_and_in_the_log(in_memory: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="tiktrue_keys"):
        made = in_memory.manager().generate("llama", license_key=LICENSE)

    (notice,) = [notice for notice in made.warnings if notice.code == "volatile-storage"]
    assert notice.message.endswith(": the database, the host secret and the marks are on tmpfs")
    assert notice.remedy == "move-to-a-volume"
    assert [record.getMessage() for record in caplog.records] == [f"{in_memory.folder}: {notice.message}"]
    assert document_of(in_memory).volatile == ("host-secret", "keystore", "marks")
    assert "volatile-storage" in {each.id for each in in_memory.manager().status().findings}
    again = in_memory.manager().generate("other", license_key=LICENSE)
    assert "volatile-storage" not in {notice.code for notice in again.warnings}  # said once; the finding stays


def test_the_header_tells_why_a_host_secret_is_gone(in_memory: Desk) -> None:
    with in_memory.manager() as manager:
        manager.generate("llama", license_key=LICENSE)
    shutil.rmtree(in_memory.secret.parent)

    error = error_of(lambda: in_memory.manager().validate())

    assert isinstance(error, WrongMachineError)
    assert "storage that did not outlive its container or a restart" in error.hint


def test_the_header_counts_where_the_mount_table_cannot_be_read(in_memory: Desk) -> None:
    in_memory.manager().generate("llama", license_key=LICENSE)
    document = document_of(in_memory)
    place = KeystorePaths(in_memory.folder, in_memory.secret)

    assert volatile_of(document, place, Surroundings()).words.endswith("are on storage that does not last")
    assert not volatile_of(replace(document, volatile=()), place, Surroundings())


def test_a_backup_that_is_restored_elsewhere_notes_what_it_loses_there(in_memory: Desk, tmp_path: Path) -> None:
    in_memory.manager().generate("llama", license_key=LICENSE)
    backup = in_memory.folder.parent / "backup.db"
    in_memory.manager().backup(backup)
    moved = Desk(tmp_path)
    with moved:
        moved.manager(host_secret_file=in_memory.secret).restore(backup)
        expected = volatile_now(moved.folder, in_memory.secret, in_memory.secret.parent).names
        with moved.manager(host_secret_file=in_memory.secret).session.read() as (view, _):
            assert view.document.volatile == expected
            assert "host-secret" in expected


def test_it_is_known_before_there_is_a_keystore(in_memory: Desk, tmp_path: Path) -> None:
    assert volatile_when_created(KeystorePaths(in_memory.folder, in_memory.secret)).names == (
        "host-secret",
        "keystore",
        "marks",
    )
    lasting = volatile_now(tmp_path, tmp_path, tmp_path).names
    assert volatile_when_created(KeystorePaths(tmp_path / "k", tmp_path / "host/secret")).names == lasting
    assert not in_memory.folder.exists()
