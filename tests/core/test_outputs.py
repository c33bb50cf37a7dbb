"""The gate: what it protects, by every way to the same file, and what may be replaced by what."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.keystores import Desk
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.database import FILE_NAME
from tiktrue_keys.core.keystore.high_water import Mark, write_mark
from tiktrue_keys.core.keystore.lock import FILE_NAME as LOCK
from tiktrue_keys.core.keystore.schema import APPLICATION_ID
from tiktrue_keys.core.outputs import KEYSTORES_ONLY, FileKind, OutputGate, kind_of
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.format.header_slots import MAGIC, SLOT_SIZE

SQLITE = b"SQLite format 3\0" + bytes(52) + APPLICATION_ID.to_bytes(4, "big") + bytes(28)
BEGINNINGS = {
    FileKind.CONTAINER: MAGIC + bytes(60),
    FileKind.BACKUP: SQLITE,
    FileKind.SHARE: b"# tiktrue-keys escrow 16084: share 2 of 5",
    FileKind.MANIFEST: b'{"issuer":"' + b"ab" * 32 + b'","manifest":{"files":[',
    FileKind.METRICS: b"# HELP tiktrue_keys_info ",
    FileKind.OTHER: b"of the operator",
}


def refused(gate: OutputGate, output: Path | str, kind: FileKind = FileKind.OTHER) -> str:
    """The message of a refusal, which advises another path."""
    with pytest.raises(RefusedError) as caught:
        gate.check(output, kind)
    assert caught.value.remedy in ("protected-output", "keystore-folder", "not-replaced")
    return caught.value.message


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "host" / "secret"
    path.parent.mkdir()
    path.write_bytes(bytes(32))
    return path


def _link_twice(path: Path, aside: Path) -> None:
    aside.with_name("first").symlink_to(path)
    aside.symlink_to("first")


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "hard link": os.link,
    "symbolic link": os.symlink,
    "symbolic link to the folder": lambda path, aside: aside.symlink_to(path.parent),
    "two symbolic links": _link_twice,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_a_file_is_that_file(tmp_path: Path, secret: Path, way: str) -> None:
    aside = tmp_path / "aside"
    WAYS[way](secret, aside)
    output = aside / "secret" if aside.is_dir() else aside

    assert refused(KEYSTORES_ONLY.also("the host secret", secret), output) == f"{output} is the host secret"


@pytest.mark.parametrize("way", WAYS)
def test_a_protected_path_may_be_a_link_itself(tmp_path: Path, secret: Path, way: str) -> None:
    aside = tmp_path / "aside"
    WAYS[way](secret, aside)
    gate = KEYSTORES_ONLY.also("the license file", aside / "secret" if aside.is_dir() else aside)

    assert refused(gate, secret) == f"{secret} is the license file"
    assert "is the license file" in refused(gate, aside) or way == "symbolic link to the folder"


def test_a_relative_path_and_a_way_up_lead_to_it(tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = KEYSTORES_ONLY.also("the host secret", secret)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "host" / "link").symlink_to(tmp_path / "deep" / "er")
    monkeypatch.chdir(secret.parent)

    assert "is the host secret" in refused(gate, "secret")
    assert "is the host secret" in refused(gate, "./../host/secret")
    gate.check("link/../secret")  # deep/secret, which abspath would take for host/secret
    (tmp_path / "deep" / "secret").hardlink_to(secret)
    assert "is the host secret" in refused(gate, "link/../secret")


def test_a_missing_file_protects_its_path(tmp_path: Path, secret: Path) -> None:
    secret.unlink()
    gate = KEYSTORES_ONLY.also("the host secret", secret)
    (tmp_path / "aside").symlink_to("host")

    assert "is the host secret" in refused(gate, tmp_path / "aside" / "secret")
    gate.check(tmp_path / "aside" / "other")
    gate.check(tmp_path / "secret")


def test_a_folder_around_a_protected_file_is_refused(tmp_path: Path, secret: Path) -> None:
    gate = KEYSTORES_ONLY.also("the host secret", secret)

    assert refused(gate, secret.parent) == f"{secret.parent} contains the host secret"
    assert "contains the host secret" in refused(gate, tmp_path)
    gate.check(tmp_path / "host.ttm")
    gate.check(secret.parent / "new")


def test_a_protected_folder_takes_nothing(tmp_path: Path) -> None:
    source = tmp_path / "models"
    (source / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(source / "deep")
    gate = KEYSTORES_ONLY.also("the source", source)

    assert refused(gate, source) == f"{source} is the source"
    assert "is inside the source" in refused(gate, source / "new")
    assert "is inside the source" in refused(gate, source / "none" / "new")
    assert "is inside the source" in refused(gate, tmp_path / "link" / "new")
    gate.check(tmp_path / "models.ttm")


@pytest.mark.parametrize("name", ["new", "keystore.db", "keystore.db-journal", "below/new"])
def test_every_keystore_is_closed_to_outputs(tmp_path: Path, name: str) -> None:
    keystore = tmp_path / "of another user"
    (keystore / "below").mkdir(parents=True)
    for own in (FILE_NAME, LOCK):
        (keystore / own).touch()
    (tmp_path / "link").symlink_to(keystore)
    (tmp_path / "deep").symlink_to(keystore / "below")

    for output in (keystore / name, tmp_path / "link" / name, tmp_path / "deep" / "new", keystore):
        assert "which is the folder of a keystore" in refused(KEYSTORES_ONLY, output, FileKind.BACKUP)
    assert "which is the folder of a keystore" in refused(KEYSTORES_ONLY, tmp_path / "deep")
    KEYSTORES_ONLY.check(tmp_path / "beside")
    KEYSTORES_ONLY.check(keystore / ".." / "beside")
    assert "which is the folder of a keystore" in refused(KEYSTORES_ONLY, keystore / ".." / keystore.name / "new")


def test_a_backup_with_the_name_of_a_keystore_closes_no_folder(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(SQLITE)

    KEYSTORES_ONLY.check(tmp_path / "new")
    KEYSTORES_ONLY.check(tmp_path / FILE_NAME, FileKind.BACKUP)
    assert "is a keystore or the backup of one" in refused(KEYSTORES_ONLY, tmp_path / FILE_NAME)


@pytest.mark.parametrize("there", FileKind)
@pytest.mark.parametrize("new", FileKind)
def test_what_replaces_what(tmp_path: Path, there: FileKind, new: FileKind) -> None:
    path = tmp_path / "output"
    path.write_bytes(BEGINNINGS[there])
    is_kept = there not in (FileKind.METRICS, FileKind.OTHER)

    assert kind_of(BEGINNINGS[there]) is there
    if there is new or (not is_kept and new is not FileKind.METRICS):
        KEYSTORES_ONLY.check(path, new)
    else:
        assert (there.value if is_kept else "not a file of metrics") in refused(KEYSTORES_ONLY, path, new)


def test_a_container_is_known_by_its_second_slot(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.ttm"
    damaged.write_bytes(bytes(SLOT_SIZE) + MAGIC + bytes(SLOT_SIZE))

    assert "is a model container" in refused(KEYSTORES_ONLY, damaged)
    KEYSTORES_ONLY.check(damaged, FileKind.CONTAINER)
    damaged.write_bytes(SQLITE.ljust(SLOT_SIZE, b"\0") + MAGIC)
    assert "is a keystore or the backup of one" in refused(KEYSTORES_ONLY, damaged, FileKind.CONTAINER)
    damaged.write_bytes(bytes(SLOT_SIZE + 1) + MAGIC)
    KEYSTORES_ONLY.check(damaged)


def test_what_another_keystore_keeps_on_this_machine(desk: Desk, tmp_path: Path) -> None:
    with desk.manager() as manager:
        manager.generate("llama", no_license=True)
    reserve = desk.mark.with_suffix(".reserve")
    desk.mark.with_name("of the operator").write_bytes(bytes(33))

    assert refused(KEYSTORES_ONLY, desk.mark) == f"{desk.mark} is the mark of a keystore"
    assert refused(KEYSTORES_ONLY, reserve) == f"{reserve} is the reserve of a keystore"
    assert refused(KEYSTORES_ONLY, desk.secret, FileKind.BACKUP) == f"{desk.secret} is the host secret of a keystore"
    KEYSTORES_ONLY.check(desk.mark.with_name("of the operator"))
    for name, data in (("a", bytes(32)), (f"{'ab' * 16}.mark", b"{}"), (f"{'ab' * 16}.reserve", bytes(100))):
        (tmp_path / name).write_bytes(data)
        KEYSTORES_ONLY.check(tmp_path / name)


@pytest.mark.parametrize("heartbeat", [None, Instant(1_795_608_000)])
def test_every_mark_is_known(tmp_path: Path, heartbeat: Instant | None) -> None:
    path = tmp_path / "renamed"
    write_mark(path, Mark(2**40, 2**40, bytes(32), heartbeat), root=memoryview(bytes(32)), keystore_id=bytes(16))

    assert "is the mark of a keystore" in refused(KEYSTORES_ONLY, path)


@pytest.mark.parametrize("data", [b"", b"TTM", b"SQLite format 3\0", b"SQLite format 3\0" + bytes(84), b"# HELP other"])
def test_a_beginning_that_is_not_ours_is_another_file(data: bytes) -> None:
    assert kind_of(data) is FileKind.OTHER


def test_a_path_that_names_nothing_is_left_to_its_writer(tmp_path: Path) -> None:
    for output in ("a\0b", "a\0b/c", "", tmp_path / "none" / "none", tmp_path / ("n" * 300)):
        KEYSTORES_ONLY.check(output)
    KEYSTORES_ONLY.check_sources(["a\0b", "", tmp_path / "none"])


def test_a_keystore_with_its_secret_and_marks(desk: Desk) -> None:
    with desk.manager() as manager:
        manager.generate("llama", no_license=True)
        gate = manager.output_gate()
    (mark,) = desk.secret.parent.glob("*.mark")

    assert "is the keystore" in refused(gate, desk.folder / FILE_NAME)
    assert "is the lock of the keystore" in refused(gate, desk.folder / LOCK)
    assert "is inside the folder of the keystore" in refused(gate, desk.folder / "new")
    assert "is the host secret" in refused(gate, desk.secret)
    assert "is the mark of a keystore" in refused(gate, mark)
    mark.rename(mark.with_name("elsewhere"))
    assert "has the name of a keystore's mark" in refused(gate, mark)
    gate.check(desk.secret.parent / "new")


def test_what_is_stored_apart_from_the_host_secret(desk: Desk, tmp_path: Path) -> None:
    with desk.manager() as manager:
        manager.generate("llama", no_license=True)
        gate = manager.output_gate().also("the source", tmp_path / "source")
    host = desk.secret.parent
    (tmp_path / "link").symlink_to(host)

    for kind in (FileKind.BACKUP, FileKind.SHARE):
        for output in (host / "new", tmp_path / "link" / "new", desk.folder / ".." / "host" / "new"):
            with pytest.raises(RefusedError, match="lies beside the host secret") as caught:
                gate.check(output, kind)
            assert caught.value.hint == "choose another disk or folder"
        gate.check(tmp_path / "new", kind)
        gate.check(tmp_path / "none" / "new", kind)
    gate.check(host / "new", FileKind.CONTAINER)


def test_a_session_protects_what_its_caller_names(desk: Desk, tmp_path: Path) -> None:
    with desk.manager(protected={"the license file": tmp_path / "license"}) as manager:
        manager.generate("llama", no_license=True)

        assert "is the license file" in refused(manager.output_gate(), tmp_path / "license")


def test_what_it_lives_on_is_no_source(desk: Desk, tmp_path: Path) -> None:
    with desk.manager() as manager:
        manager.generate("llama", no_license=True)
        gate = manager.output_gate()
    (tmp_path / "link").symlink_to(desk.secret)
    (tmp_path / "model").write_bytes(b"weights")

    gate.check_sources([tmp_path / "model"])
    for source in (desk.secret, tmp_path / "link"):
        with pytest.raises(RefusedError, match="is the host secret, not a model"):
            gate.check_sources([tmp_path / "model", source])
    with open(desk.secret, "rb") as file, pytest.raises(RefusedError, match="the source is the host secret"):
        gate.check_sources([file.fileno()])
    (tmp_path / "to").symlink_to(desk.folder / FILE_NAME)
    for source in (desk.folder / FILE_NAME, tmp_path / "to"):
        with pytest.raises(RefusedError, match="is a keystore, not a model"):
            KEYSTORES_ONLY.check_sources([source])
