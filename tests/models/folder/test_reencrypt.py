"""A whole encrypted folder under new data keys: all of it new, or all of it as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.cli.view.test_envelope import check
from tests.keystores import LICENSE, OTHER_LICENSE
from tests.models.file.test_decrypt import edit
from tests.models.file.test_rewrap import slots
from tests.models.folder.test_folders import TAMPERING
from tests.models.settle.test_interrupted import died, each_kill, kill_me, killed_before_outcome
from tests.models.workshop import Workshop, folder_request, pattern
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import (
    BusyError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    UnavailableError,
    UsageError,
    WrongLicenseError,
)
from tiktrue_keys.models.container.seal import keystore_signer, seal_container
from tiktrue_keys.models.folder.decrypt import decrypt_folder
from tiktrue_keys.models.folder.encrypt import encrypt_folder
from tiktrue_keys.models.folder.manifest_file import read_manifest
from tiktrue_keys.models.folder.reencrypt import ReencryptedFolder, reencrypt_folder
from tiktrue_keys.models.folder.verify import verify_folder
from tiktrue_keys.models.format.header_slots import HEADER_SIZE
from tiktrue_keys.models.settle.interrupted import settle_intents
from tiktrue_keys.models.storage.container_lock import locked_container

FILES = {"config.json": 30, "model-1.safetensors": 3 << 20, "model-2.safetensors": 2000, "sub/vocab.txt": 0}
SEALED = ("model-1.safetensors.ttm", "model-2.safetensors.ttm", "sub/vocab.txt.ttm")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    with made.desk:
        yield made


@pytest.fixture
def folder(shop: Workshop) -> Path:
    """llama.ttm, whose source is gone."""
    source = shop.folder / "llama"
    for name, length in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(pattern(length))
    made = encrypt_folder(shop.manager, folder_request(source, plain=["*.json"])).destination
    shutil.rmtree(source)
    return made


def reencrypt(shop: Workshop, folder: Path, **options: Any) -> ReencryptedFolder:
    return reencrypt_folder(shop.manager, folder, **{"license_key": LICENSE, **options})


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hidden(shop: Workshop) -> list[str]:
    return [path.name for path in shop.folder.iterdir() if path.name.startswith(".")]


def ids(folder: Path) -> dict[str, bytes]:
    return {entry.place: entry.file_id for entry in read_manifest(folder).manifest.containers}


def rows(shop: Workshop) -> dict[str, bytes]:
    return {record.path: record.file_id for record in shop.manager.containers()}


def is_untouched(shop: Workshop, folder: Path, before: dict[str, bytes]) -> None:
    assert tree(folder) == before
    assert rows(shop) == {str(folder / place): file_id for place, file_id in ids(folder).items()}
    assert (hidden(shop), shop.manager.open_intents()) == ([], ())


def opens_as_before(shop: Workshop, folder: Path) -> None:
    verify_folder(shop.manager, folder, license_key=LICENSE)
    decrypt_folder(shop.manager, folder, shop.folder / "out", license_key=LICENSE)
    assert tree(shop.folder / "out") == {name: pattern(length) for name, length in FILES.items()}
    shutil.rmtree(shop.folder / "out")


@pytest.mark.parametrize("jobs", [1, 4])
def test_every_key_and_every_body_is_new_and_the_plaintext_is_the_same(shop: Workshop, folder: Path, jobs: int) -> None:
    before, old = tree(folder), read_manifest(folder).manifest
    keys = {shop.data_key(folder / place) for place in SEALED}
    made = reencrypt(shop, folder, jobs=jobs)
    after = tree(folder)
    assert (made.changed, made.path, made.plain, made.length) == (True, folder, ("config.json",), sum(FILES.values()))
    assert set(after) == set(before)
    assert after["config.json"] == before["config.json"]
    # Of each body its beginning, Tink's salt and nonce prefix: a header is another one whatever becomes of the body.
    bodies = {content[place][HEADER_SIZE : HEADER_SIZE + 40] for content in (before, after) for place in SEALED}
    assert len(bodies) == 2 * len(SEALED)
    assert not keys & {shop.data_key(folder / place) for place in SEALED}
    new = read_manifest(folder).manifest
    assert (new.folder_id, new.name, new.model_id) == (made.folder_id, old.name, old.model_id)
    assert new.folder_id != old.folder_id
    assert [each.path for each in made.files] == [folder / place for place in SEALED]
    assert [each.file_id for each in made.files] == [entry.file_id for entry in new.containers]
    assert [each.old_file_id for each in made.files] == [entry.file_id for entry in old.containers]
    opens_as_before(shop, folder)


def test_registry_and_log(shop: Workshop, folder: Path) -> None:
    made = reencrypt(shop, folder, operation_id="once")
    is_untouched(shop, folder, tree(folder))
    assert all(record.signed for record in shop.manager.containers())
    last = [record for record in shop.manager.audit_records() if record.operation_id == "once"]
    events = [record.event for record in last]
    assert events == ["intent", *["move"] * 3, *["forget"] * 3, "reencrypt-folder"]
    assert last[-1].detail["file_id"] == made.folder_id.hex()


def test_a_revoked_keys_folder_is_saved_when_asked_to(shop: Workshop, folder: Path) -> None:
    revoked, before = shop.key.key_id, tree(folder)
    shop.manager.revoke([revoked], reason="leaked", rotate=True, license_key=LICENSE)
    with pytest.raises(RevokedError):
        reencrypt(shop, folder)
    is_untouched(shop, folder, before)
    made = reencrypt(shop, folder, recover_revoked=True)
    assert made.key.key_id == shop.key.key_id != revoked
    uses = [record for record in shop.manager.audit_records() if record.event == "recover-revoked"]
    assert [record.key_id for record in uses] == [revoked] * 3
    assert shop.manager.containers(revoked) == ()
    opens_as_before(shop, folder)


def test_to_another_model(shop: Workshop, folder: Path) -> None:
    shop.manager.generate("other", license_key=LICENSE)
    assert reencrypt(shop, folder, to="other").key.model_id == "other"
    assert read_manifest(folder).manifest.model_id == "other"
    assert {slots(folder / place).current.header.model_id for place in SEALED} == {"other"}
    opens_as_before(shop, folder)


def test_owner_and_permissions_stay(shop: Workshop, folder: Path) -> None:
    modes = {folder: 0o750, folder / "sub": 0o711, folder / "config.json": 0o644, folder / SEALED[0]: 0o640}
    for path, mode in modes.items():
        path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(folder / "sub", 1234, 1235)
        os.chown(folder / SEALED[2], 1234, 1235)
    owners = {path: (path.stat().st_uid, path.stat().st_gid) for path in (folder, *folder.rglob("*"))}
    reencrypt(shop, folder)
    assert {path: path.stat().st_mode & 0o777 for path in modes} == modes
    assert {path: (path.stat().st_uid, path.stat().st_gid) for path in owners} == owners


@pytest.mark.parametrize("how", ["removed", "added", "swapped", "edited", "plain edited", "manifest edited"])
def test_a_folder_that_was_changed_stays_as_it_is(shop: Workshop, folder: Path, how: str) -> None:
    tamper, words = TAMPERING[how]
    tamper(folder)
    before, known = tree(folder), rows(shop)
    with pytest.raises((IntegrityError, NotFoundError), match=words):
        reencrypt(shop, folder, jobs=3)
    assert (tree(folder), rows(shop), hidden(shop)) == (before, known, [])


def test_a_license_that_does_not_fit_is_told_before_anything_is_made(shop: Workshop, folder: Path) -> None:
    before, size = tree(folder), shop.manager.audit_size()
    with pytest.raises(WrongLicenseError):
        reencrypt(shop, folder, license_key=OTHER_LICENSE)
    is_untouched(shop, folder, before)
    assert [record.event for record in shop.manager.audit_records()][size:] == ["reencrypt-folder"]


def test_a_confirmation_that_nothing_asks_for_is_refused(shop: Workshop, folder: Path) -> None:
    before = ids(folder)
    for options in ({}, {"recover_revoked": True}):
        with pytest.raises(UsageError, match="'other' was"):
            reencrypt(shop, folder, confirmed="other", **options)
    assert ids(folder) == before


def test_an_interrupt_leaves_the_old_one(shop: Workshop, folder: Path) -> None:
    def interrupt(done: int, _: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    before = tree(folder)
    with pytest.raises(KeyboardInterrupt):
        reencrypt(shop, folder, progress=interrupt, jobs=2)
    is_untouched(shop, folder, before)
    assert shop.last_events(1) == [("reencrypt-folder", "failed")]


def test_a_failing_swap_puts_the_old_one_back(shop: Workshop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, rename = tree(folder), os.rename

    def fail(old: Any, new: Any, **options: Any) -> None:
        if str(old).endswith(".tmp") and Path(new) == folder:
            raise OSError(5, "Input/output error")
        rename(old, new, **options)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(UnavailableError):
        reencrypt(shop, folder)
    is_untouched(shop, folder, before)


def test_it_waits_for_every_container_and_holds_them_over_the_swap(
    shop: Workshop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(folder)
    with locked_container(folder / SEALED[1], 1.0), pytest.raises(BusyError):
        reencrypt(shop, folder, lock_timeout=0.05)
    is_untouched(shop, folder, before)
    rename, looked = os.rename, []

    def rename_under_lock(old: Any, new: Any, **options: Any) -> None:
        if Path(os.fsdecode(old)) == folder:
            for place in SEALED:
                with pytest.raises(BusyError), locked_container(folder / place, 0.0):
                    raise AssertionError("somebody else got the lock")
            looked.append(old)
        rename(old, new, **options)

    monkeypatch.setattr(os, "rename", rename_under_lock)
    reencrypt(shop, folder)
    assert looked


def test_a_folder_that_another_process_replaced_meanwhile(
    shop: Workshop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = import_module("tiktrue_keys.models.folder.reencrypt")
    checked = module.must_be_complete

    def replace_then(*given: Any, **named: Any) -> None:
        checked(*given, **named)
        monkeypatch.setattr(module, "must_be_complete", checked)
        with shop.desk.manager() as other:
            reencrypt_folder(other, folder, license_key=LICENSE)

    monkeypatch.setattr(module, "must_be_complete", replace_then)
    with pytest.raises(BusyError, match="replaced by another process"):
        reencrypt(shop, folder)
    is_untouched(shop, folder, tree(folder))


def test_a_repeated_operation_id_gives_the_first_result(shop: Workshop, folder: Path) -> None:
    first = reencrypt(shop, folder, operation_id="once")
    before = tree(folder)
    again = reencrypt(shop, folder, operation_id="once")
    assert (again.changed, tree(folder)) == (False, before)
    assert (again.folder_id, again.key, again.plain, again.length) == (
        first.folder_id,
        first.key,
        first.plain,
        first.length,
    )
    for old, new in zip(first.files, again.files, strict=True):
        assert (new.path, new.old_file_id, new.file_id, new.root) == (old.path, old.old_file_id, old.file_id, old.root)
    reencrypt(shop, folder)
    with pytest.raises(RefusedError, match="another folder"):
        reencrypt(shop, folder, operation_id="once")


def whole(shop: Workshop, folder: Path) -> bool:
    """Whether the folder is the old one's successor; it is one of the two, and the registry has it as it is."""
    found = ids(folder)
    assert verify_folder(shop.manager, folder, license_key=LICENSE).length == sum(FILES.values())
    assert rows(shop) == {str(folder / place): file_id for place, file_id in found.items()}
    return "reencrypt-folder" in {event for event, outcome in shop.last_events(12) if outcome == "ok"}


def test_a_kill_anywhere_leaves_the_old_one_or_the_new_one(shop: Workshop, folder: Path) -> None:
    old = ids(folder)

    def look() -> None:
        assert whole(shop, folder) == (set(ids(folder).values()).isdisjoint(old.values()))

    def work(manager: KeyManager) -> None:
        reencrypt_folder(manager, folder, license_key=LICENSE, jobs=2)

    assert each_kill(shop, work, look, sample=6) > 30


@pytest.mark.parametrize("at", ["before the second rename", "before the outcome"])
def test_a_kill_late_in_the_operation_leaves_the_new_one(shop: Workshop, folder: Path, at: str) -> None:
    rename = os.rename

    def kill_before_the_second(old: Any, new: Any, **named: Any) -> None:
        if Path(os.fsdecode(new)) == folder:
            kill_me()
        rename(old, new, **named)

    def work(manager: KeyManager) -> None:
        reencrypt_folder(manager, folder, license_key=LICENSE, operation_id="once")

    def until_then() -> None:
        os.rename = kill_before_the_second  # type: ignore[assignment]
        work(shop.desk.manager())

    old = ids(folder)
    if at == "before the outcome":
        killed_before_outcome(shop, work, "once")
    else:
        assert died(until_then)
        assert not folder.exists()
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["ok"]
    assert set(ids(folder).values()).isdisjoint(old.values())
    assert whole(shop, folder)
    assert hidden(shop) == []
    again = reencrypt(shop, folder, operation_id="once")
    assert (again.changed, [each.old_file_id for each in again.files]) == (False, [old[place] for place in SEALED])


def test_a_damaged_segment_in_the_last_file(shop: Workshop, folder: Path) -> None:
    edit(folder / SEALED[0], 2 << 20, b"\0\0\0\0")
    before = tree(folder)
    with pytest.raises(IntegrityError, match="segment"):
        reencrypt(shop, folder, jobs=3)
    assert tree(folder) == before
    assert (hidden(shop), shop.manager.open_intents()) == ([], ())


def test_another_container_of_the_same_id_that_we_signed(shop: Workshop, folder: Path) -> None:
    """No command makes one; were there one, only the root in the manifest tells it from the listed one."""
    sealed = folder / SEALED[1]
    header, signer = replace(slots(sealed).current.header, length=None), keystore_signer(shop.manager, "llama")
    key, source = shop.data_key(sealed), shop.plain(2000)
    with SecretBuffer.copy_of(key) as secret, source.open("rb") as plain, sealed.open("w+b") as out:
        seal_container(plain.fileno(), out.fileno(), header, secret.view, signer=signer)
    before = tree(folder)
    with pytest.raises(IntegrityError, match="another container than the manifest lists"):
        reencrypt(shop, folder)
    is_untouched(shop, folder, before)


def test_the_command(shop: Workshop, folder: Path) -> None:
    result = check(shop.program().json("reencrypt-model", str(folder), "--jobs", "2"))["result"]
    assert [each["path"] for each in result["files"]] == [str(folder / place) for place in SEALED]
    assert (result["path"], result["plain"], result["length"]) == (str(folder), ["config.json"], sum(FILES.values()))
    assert result["folder_id"] == read_manifest(folder).manifest.folder_id.hex()
