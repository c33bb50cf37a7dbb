"""The registry: what is where, what moved, what may be forgotten, and that no needed key is destroyed."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.keystores import LICENSE
from tests.models.file.test_rewrap import rotated, slots
from tests.models.workshop import MODEL, Workshop, drained, other_manager
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.errors import IntegrityError, NotFoundError, UsageError
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.rewrap import rewrap_model
from tiktrue_keys.models.format.header_slots import SLOT_SIZE
from tiktrue_keys.models.registry.containers import HeaderReader, forget, list_containers, scan


def states(shop: Workshop) -> dict[str, str]:
    return {Path(item.record.path).name: item.state for item in list_containers(shop.manager)}


def test_what_lies_at_each_path(shop: Workshop) -> None:
    present, gone, other, cut = (shop.sealed(10, name) for name in ("present", "gone", "other", "cut"))
    source = shop.plain(10, "piped")
    drained(lambda sink: encrypt_model(shop.manager, source, sink, key=MODEL, license_key=LICENSE))
    gone.unlink()
    shutil.copy(present, other)
    os.truncate(cut, 100)
    assert states(shop) == {
        "present.ttm": "present",
        "gone.ttm": "missing",
        "other.ttm": "replaced",
        "cut.ttm": "unreadable",
        "": "piped",
    }
    (listed,) = [item for item in list_containers(shop.manager) if item.state == "present"]
    assert listed.keys_in_file == frozenset({shop.key.key_id})


def test_a_scan_adds_and_follows(shop: Workshop, tmp_path: Path) -> None:
    moved, kept, lost = (shop.sealed(10, name) for name in ("moved", "kept", "lost"))
    (lost_row,) = [row for row in shop.manager.containers() if row.path == str(lost)]
    shop.manager.forget(lost_row.file_id)
    (shop.folder / "deep").mkdir()
    moved.rename(shop.folder / "deep/moved.ttm")
    shutil.copy(kept, shop.folder / "copy.ttm")
    (shop.folder / "link.ttm").symlink_to(kept)
    (shop.folder / "broken.ttm").write_bytes(b"TTM1")
    stranger = other_manager(tmp_path / "other")
    encrypt_model(stranger, shop.plain(10, "foreign"), key=MODEL, license_key=LICENSE)
    found = scan(shop.manager, shop.folder)
    assert [row.path for row in found.added] == [str(lost)]
    assert [row.path for row in found.moved] == [str(shop.folder / "deep/moved.ttm")]
    assert len(found.unchanged) == 1
    # Whichever of the two was met first is the one that the registry follows.
    assert found.copies == ((str(shop.folder / "copy.ttm"), str(kept)),)
    assert found.foreign == (str(shop.folder / "foreign.ttm"),)
    assert [(Path(path).name, type(error)) for path, error in found.failed] == [("broken.ttm", IntegrityError)]
    assert found.changed
    assert not scan(shop.manager, shop.folder).changed
    stranger.close()


def test_a_scan_learns_of_a_rewrap_elsewhere(shop: Workshop) -> None:
    sealed = shop.sealed()
    (row,) = shop.manager.containers()
    _, new = rotated(shop)
    rewrap_model(shop.manager, sealed, license_key=LICENSE)
    shop.manager.register(row)  # as it would be had another machine done the rewrap
    found = scan(shop.manager, shop.folder)
    assert [row.keys for row in found.updated] == [{new}]


def test_a_scan_keeps_both_keys_of_an_unfinished_rewrap(shop: Workshop) -> None:
    sealed = shop.sealed()
    before = sealed.read_bytes()[:SLOT_SIZE]
    old, new = rotated(shop)
    rewrap_model(shop.manager, sealed, license_key=LICENSE)
    with sealed.open("r+b") as file:
        file.write(before)
    shop.manager.register(replace(shop.manager.containers()[0], keys=frozenset({old})))
    scan(shop.manager, shop.folder)
    assert shop.manager.containers()[0].keys == {old, new}


def test_a_scan_wants_a_folder(shop: Workshop) -> None:
    with pytest.raises(UsageError):
        scan(shop.manager, shop.plain())
    with pytest.raises(NotFoundError):
        scan(shop.manager, shop.folder / "absent")


def test_to_forget(shop: Workshop) -> None:
    shop.sealed()
    (row,) = shop.manager.containers()
    assert forget(shop.manager, row.file_id.hex()).record == row
    assert shop.manager.containers() == ()
    assert shop.last_events(1) == [("forget", "ok")]
    with pytest.raises(NotFoundError):
        forget(shop.manager, row.file_id.hex())
    for odd in ("", "zz", "00" * 15, "llama"):
        with pytest.raises(UsageError, match="not a file id"):
            forget(shop.manager, odd)


def test_the_keys_in_a_container(shop: Workshop) -> None:
    sealed = shop.sealed()
    (row,) = shop.manager.containers()
    assert HeaderReader().wraps_in(row) == frozenset({shop.key.key_id})
    old, new = rotated(shop)
    rewrap_model(shop.manager, sealed, license_key=LICENSE)
    assert HeaderReader().wraps_in(row) == frozenset({new})
    assert old != new


@pytest.mark.parametrize("how", ["unlinked", "replaced", "cut", "folder gone", "piped"])
def test_what_cannot_be_read_still_needs_its_keys(shop: Workshop, how: str) -> None:
    sealed = shop.sealed()
    (row,) = shop.manager.containers()
    if how == "unlinked":
        sealed.unlink()
    elif how == "replaced":
        sealed.unlink()
        shop.sealed(7)
    elif how == "cut":
        os.truncate(sealed, 100)
    elif how == "folder gone":
        shop.folder.rename(shop.folder.with_name("unmounted"))
    else:
        row = replace(row, path="", piped=True)
    assert HeaderReader().wraps_in(row) is None


def test_an_unfinished_rewrap_needs_all(shop: Workshop) -> None:
    sealed = shop.sealed()
    (row,) = shop.manager.containers()
    before = sealed.read_bytes()[:SLOT_SIZE]
    old, new = rotated(shop)
    rewrap_model(shop.manager, sealed, license_key=LICENSE)
    with sealed.open("r+b") as file:
        file.write(before)
    assert not slots(sealed).equal
    assert HeaderReader().wraps_in(row) == frozenset({old, new})


def test_cleanup_destroys_a_key_only_when_no_container_needs_it(shop: Workshop) -> None:
    sealed, clock = shop.sealed(), shop.desk.clock
    old = shop.key.key_id
    shop.manager.revoke([old], reason="test", rotate=True, license_key=LICENSE)

    def clean_up_twice() -> Status:
        for _ in range(2):
            clock.forward(days=2)
            shop.manager.cleanup(after=DAY, wraps_in=HeaderReader().wraps_in)
        return shop.manager.find(old).status

    away = sealed.rename(sealed.with_suffix(".away"))
    assert clean_up_twice() is Status.REVOKED  # out of reach
    away.rename(sealed)
    assert clean_up_twice() is Status.REVOKED  # in use
    sealed.unlink()
    forget(shop.manager, shop.manager.containers()[0].file_id.hex())
    assert clean_up_twice() is Status.DESTROYED
