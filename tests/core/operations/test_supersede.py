"""What a release names while and after a container or a folder is re-encrypted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.core.dispatch.test_releases import entry
from tests.keystores import LICENSE
from tests.models.settle.test_interrupted import killed_before_outcome
from tests.models.workshop import MODEL, Workshop, folder_request
from tiktrue_keys.core.containers.settlement import ROWS_AT_ONCE, Settlement
from tiktrue_keys.core.dispatch.releases import MAX_ENTRIES
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.release import ReleaseRequest
from tiktrue_keys.core.operations.supersede import AT_ONCE
from tiktrue_keys.errors import IntegrityError, RefusedError, UnavailableError
from tiktrue_keys.models.file.reencrypt import Reencrypted, reencrypt_model
from tiktrue_keys.models.file.verify import verify_model
from tiktrue_keys.models.folder.encrypt import encrypt_folder
from tiktrue_keys.models.folder.new_folder import folder_intent
from tiktrue_keys.models.folder.reencrypt import reencrypt_folder
from tiktrue_keys.models.folder.verify import verify_folder
from tiktrue_keys.models.format.header_slots import HEADER_SIZE
from tiktrue_keys.models.model_release import release_models
from tiktrue_keys.models.settle.interrupted import settle_intents


def reencrypt(shop: Workshop, path: Path, **options: Any) -> Reencrypted:
    return reencrypt_model(shop.manager, path, license_key=LICENSE, **options)


def named(shop: Workshop) -> dict[bytes, int]:
    return {each.file_id: each.until for each in shop.manager.releases()[0].entries}


def test_the_old_container_leaves_after_the_overlap(shop: Workshop) -> None:
    sealed, copy = shop.sealed(), shop.folder / "copy.ttm"
    release_models(shop.manager, [sealed])
    shutil.copy(sealed, copy)
    made = reencrypt(shop, sealed)

    assert made.release == 2
    assert named(shop) == {made.old_file_id: shop.desk.clock.now + 7 * DAY, made.file_id: 0}
    for path in (sealed, copy):
        verify_model(shop.manager, path, license_key=LICENSE)
    shop.desk.clock.forward(days=7)
    verify_model(shop.manager, sealed, license_key=LICENSE)
    with pytest.raises(RefusedError, match="does not name"):
        verify_model(shop.manager, copy, license_key=LICENSE)
    again = reencrypt(shop, sealed)  # what has left is dropped with the next release
    assert set(named(shop)) == {made.file_id, again.file_id}


def test_it_leaves_at_once_where_a_revoked_key_was_used(shop: Workshop) -> None:
    sealed = shop.sealed()
    release_models(shop.manager, [sealed])
    shop.manager.revoke([shop.key.key_id], reason="stolen", rotate=True, license_key=LICENSE)
    made = reencrypt(shop, sealed, recover_revoked=True)
    assert named(shop) == {made.file_id: 0}
    verify_model(shop.manager, sealed, license_key=LICENSE)


def test_what_was_not_named_is_not_named_by_a_new_data_key(shop: Workshop) -> None:
    """Else a re-encryption would launder last week's weights into the release."""
    this, last = shop.sealed(100, "this.bin"), shop.sealed(100, "last.bin")
    release_models(shop.manager, [this])
    before = named(shop)
    assert reencrypt(shop, last).release is None
    assert named(shop) == before
    with pytest.raises(RefusedError, match="does not name"):
        verify_model(shop.manager, last, license_key=LICENSE)


def test_a_withdrawn_or_left_one_takes_nothing_with_it(shop: Workshop) -> None:
    this, last = shop.sealed(100, "this.bin"), shop.sealed(100, "last.bin")
    release_models(shop.manager, [this, last])
    gone = verify_model(shop.manager, last, license_key=LICENSE).file_id
    release_models(shop.manager, withdraw=[gone.hex()])
    assert reencrypt(shop, last).release is None
    assert set(named(shop)) == {verify_model(shop.manager, this, license_key=LICENSE).file_id}


def test_a_release_without_room_stops_it_before_the_file_changes(shop: Workshop) -> None:
    sealed = shop.sealed()
    release_models(shop.manager, [sealed])
    full = ReleaseRequest({MODEL: [entry(number) for number in range(MAX_ENTRIES - 1)]})
    shop.manager.release(full, OperationRequest.of("release", None, {}))
    before = sealed.read_bytes()
    with pytest.raises(RefusedError, match="names at most 256"):
        reencrypt(shop, sealed)
    assert sealed.read_bytes() == before
    assert len(named(shop)) == MAX_ENTRIES
    assert shop.manager.open_intents() == ()


class _Failing(KeyManager):
    """Names the new container, and then its disk is gone."""

    def name_successor(self, operation_id: str, root: bytes) -> int | None:
        assert super().name_successor(operation_id, root) == 2
        assert len(self.releases()[0].entries) == 2
        raise UnavailableError("the disk is gone")


def test_a_failure_after_it_was_named_takes_the_new_entry_back(shop: Workshop) -> None:
    sealed = shop.sealed()
    release_models(shop.manager, [sealed])
    (old,) = named(shop)
    with pytest.raises(UnavailableError):
        reencrypt_model(_Failing(session=shop.manager.session), sealed, license_key=LICENSE)
    assert named(shop) == {old: 0}
    verify_model(shop.manager, sealed, license_key=LICENSE)


@pytest.mark.parametrize("recover", [False, True])
def test_a_folder_follows_as_a_whole(shop: Workshop, recover: bool) -> None:
    source = shop.folder / "dir"
    source.mkdir()
    for name in ("a.bin", "b.bin"):
        shop.plain(100, f"dir/{name}")
    folder = Path(str(encrypt_folder(shop.manager, folder_request(source)).destination))
    release_models(shop.manager, [folder])
    (old,) = named(shop)
    made = reencrypt_folder(shop.manager, folder, license_key=LICENSE, recover_revoked=recover)
    assert made.release == 2
    assert named(shop)[made.folder_id] == 0
    assert set(named(shop)) == ({made.folder_id} if recover else {made.folder_id, old})
    verify_folder(shop.manager, folder, license_key=LICENSE)
    verify_model(shop.manager, folder / "a.bin.ttm", license_key=LICENSE)


@pytest.fixture
def folder(shop: Workshop) -> Path:
    """A folder of two files, each of which is released by itself."""
    source = shop.folder / "dir"
    source.mkdir()
    for name in ("a.bin", "b.bin"):
        shop.plain(100, f"dir/{name}")
    made = Path(str(encrypt_folder(shop.manager, folder_request(source)).destination))
    release_models(shop.manager, [made / "a.bin.ttm", made / "b.bin.ttm"])
    return made


@pytest.mark.parametrize("recover", [False, True])
def test_files_that_are_released_by_themselves_follow_their_folder(shop: Workshop, folder: Path, recover: bool) -> None:
    old, other = set(named(shop)), shop.sealed()
    release_models(shop.manager, [other])
    (kept,) = set(named(shop)) - old
    made = reencrypt_folder(shop.manager, folder, license_key=LICENSE, recover_revoked=recover)
    assert made.release is None
    leaving: dict[bytes, int] = {} if recover else dict.fromkeys(old, shop.desk.clock.now + 7 * DAY)
    assert named(shop) == {kept: 0, **leaving, **{each.file_id: 0 for each in made.files}}
    verify_model(shop.manager, folder / "a.bin.ttm", license_key=LICENSE)


def test_files_of_a_folder_that_was_not_finished_are_not_named(shop: Workshop, folder: Path) -> None:
    before = named(shop)
    with (folder / "b.bin.ttm").open("r+b") as file:
        file.seek(HEADER_SIZE + 50)
        file.write(b"damage")
    with pytest.raises(IntegrityError):
        reencrypt_folder(shop.manager, folder, license_key=LICENSE, jobs=1)
    assert named(shop) == before


def test_files_follow_a_folder_whose_operation_was_killed_at_its_end(shop: Workshop, folder: Path) -> None:
    old = set(named(shop))

    def work(manager: KeyManager) -> None:
        reencrypt_folder(manager, folder, license_key=LICENSE, recover_revoked=True, operation_id="once")

    killed_before_outcome(shop, work, "once")
    assert old < set(named(shop))
    settle_intents(shop.manager)
    assert old.isdisjoint(named(shop))
    assert len(named(shop)) == 2
    verify_model(shop.manager, folder / "a.bin.ttm", license_key=LICENSE)


class _Killed(KeyManager):
    """Is killed before the first rows of a large folder change."""

    def settle_part(self, operation_id: str, part: Settlement) -> None:
        raise UnavailableError("killed")


def test_files_of_a_large_folder_leave_before_their_rows_do(shop: Workshop, folder: Path) -> None:
    """Settling finds them by their rows: what leaves after a part of these is gone would be missed."""
    intent = folder_intent("reencrypt-folder", bytes(16), folder, shop.folder / ".new", model_id=MODEL, name="dir")
    begun = shop.manager.begin_file_operation(replace(intent, supersedes="11" * 16, leaves=AT_ONCE))
    gone = [*named(shop), *(number.to_bytes(16, "big") for number in range(ROWS_AT_ONCE))]
    with pytest.raises(UnavailableError):
        _Killed(session=shop.manager.session).finish_file_operation(
            begun.operation_id, outcome="ok", keys=None, others=Settlement(gone=gone)
        )
    assert named(shop) == {}
