"""The registry: what is where, what moved, what may be forgotten, and that no needed key is destroyed."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE
from tests.models.file.test_rewrap import rotated, slots
from tests.models.workshop import MODEL, Workshop, drained, other_manager
from tiktrue_keys.core.folder_removal import remove_folder
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.errors import IntegrityError, NotFoundError, UsageError
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.rewrap import rewrap_model
from tiktrue_keys.models.format.header_slots import SLOT_SIZE, decode_slots, encode_slot
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


def nested(root: Path, names: list[str]) -> int:
    """Make folders in each other, and return a descriptor of the last one: its path may be too long to use."""
    root.mkdir()
    folder = os.open(root, os.O_RDONLY)
    for name in names:
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    return folder


def test_a_scan_of_folders_nested_without_end(shop: Workshop) -> None:
    """Deeper than Python's stack, longer than a path may be, and a link back: the others are still found."""
    sealed = shop.sealed(10, "sealed")
    deep, long = shop.folder / "deep", shop.folder / "long"
    os.close(nested(deep, ["d"] * 1100))
    os.close(nested(long, ["n" * 200] * 30))
    bottom = deep.joinpath(*["d"] * 1100)
    shutil.copy(sealed, bottom / "copy.ttm")
    (bottom / "back").symlink_to(shop.folder)
    try:
        found = scan(shop.manager, shop.folder, LICENSE)
    finally:
        remove_folder(deep)
        remove_folder(long)
    assert [row.path for row in found.added] == [str(bottom / "copy.ttm")]
    assert [row.path for row in found.unchanged] == [str(sealed)]
    ((where, error),) = found.failed
    assert where.startswith(str(long))
    assert error.message == f"the folder {where} has too long a name"
    assert not deep.exists()
    assert not long.exists()


def test_the_claim_of_what_cannot_be_read_stays(shop: Workshop) -> None:
    sealed = shop.sealed(10, "model")
    (row,) = shop.manager.containers()
    shop.manager.forget(row.file_id)
    assert scan(shop.manager, shop.folder).waiting == (str(sealed),)
    kept, data = shop.manager.claims(), sealed.read_bytes()
    os.truncate(sealed, 100)
    assert [path for path, _ in scan(shop.manager, shop.folder).failed] == [str(sealed)]
    assert shop.manager.claims() == kept
    sealed.write_bytes(data)
    assert [each.path for each in scan(shop.manager, shop.folder, LICENSE).added] == [str(sealed)]
    assert shop.manager.claims() == ()


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
    found = scan(shop.manager, shop.folder, LICENSE)
    assert [row.path for row in found.added] == [str(shop.folder / "copy.ttm"), str(lost)]
    assert [row.path for row in found.moved] == [str(shop.folder / "deep/moved.ttm")]
    assert len(found.unchanged) == 1
    assert found.copies == ((str(shop.folder / "copy.ttm"), str(kept)),)
    assert found.foreign == (str(shop.folder / "foreign.ttm"),)
    assert [(Path(path).name, type(error)) for path, error in found.failed] == [("broken.ttm", IntegrityError)]
    assert found.changed
    assert not scan(shop.manager, shop.folder, LICENSE).changed
    stranger.close()


def test_a_scan_learns_of_a_rewrap_elsewhere(shop: Workshop) -> None:
    sealed = shop.sealed()
    (row,) = shop.manager.containers()
    _, new = rotated(shop)
    rewrap_model(shop.manager, sealed, license_key=LICENSE)
    shop.manager.register(row)  # as it would be had another machine done the rewrap
    found = scan(shop.manager, shop.folder, LICENSE)
    assert [row.keys for row in found.updated] == [{new}]


def test_a_scan_keeps_both_keys_of_an_unfinished_rewrap(shop: Workshop) -> None:
    sealed = shop.sealed()
    before = sealed.read_bytes()[:SLOT_SIZE]
    old, new = rotated(shop)
    rewrap_model(shop.manager, sealed, license_key=LICENSE)
    with sealed.open("r+b") as file:
        file.write(before)
    shop.manager.register(replace(shop.manager.containers()[0], keys=frozenset({old})))
    scan(shop.manager, shop.folder, LICENSE)
    assert shop.manager.containers()[0].keys == {old, new}


def test_a_scan_wants_a_folder(shop: Workshop) -> None:
    with pytest.raises(UsageError):
        scan(shop.manager, shop.plain())
    with pytest.raises(NotFoundError):
        scan(shop.manager, shop.folder / "absent")


def test_to_forget(shop: Workshop) -> None:
    shop.sealed()
    (row,) = shop.manager.containers()
    assert forget(shop.manager, row.file_id.hex()).records == (row,)
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
    assert row.keys | (HeaderReader().wraps_in(row) or frozenset()) == {old, new}


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


def passed(shop: Workshop) -> None:
    """Let the old key's decryption period pass; it may then be destroyed unless something needs it."""
    shop.desk.clock.forward(days=400)
    shop.manager.accept_clock()


def kept(shop: Workshop, key_id: str, **options: Any) -> str:
    """Why cleanup keeps the key; empty when it marks it."""
    result = shop.manager.cleanup(wraps_in=HeaderReader().wraps_in, dry_run=True, **options)
    return next((item.reason for item in result.kept if item.key.key_id == key_id), "")


def test_a_copy_needs_its_key_by_itself(shop: Workshop) -> None:
    sealed = shop.sealed()
    copy = shop.folder / "copy.ttm"
    shutil.copy(sealed, copy)
    scan(shop.manager, shop.folder, LICENSE)
    old, _ = rotated(shop)
    rewrap_model(shop.manager, sealed, license_key=LICENSE)
    passed(shop)
    assert str(copy) in kept(shop, old)
    copy.unlink()
    assert "cannot be read" in kept(shop, old)
    (row,) = [row for row in shop.manager.containers() if row.path == str(copy)]
    assert forget(shop.manager, row.file_id.hex(), location=copy).records == (row,)
    assert kept(shop, old) == ""
    assert [row.path for row in shop.manager.containers()] == [str(sealed)]
    with pytest.raises(NotFoundError, match=r"copy\.ttm"):
        forget(shop.manager, row.file_id.hex(), location=copy)


def forge(sealed: Path, wraps_for: str) -> None:
    """What anyone can do who can write the file: a header that names another key."""
    slots = decode_slots(sealed.read_bytes()[: 2 * SLOT_SIZE])
    header = slots.current.header
    (wrap,) = header.wraps
    forged = header.with_wraps((replace(wrap, key_id=wraps_for),))
    raw = encode_slot(forged, slots.current.sequence + 1, memoryview(bytes(32)))
    with sealed.open("r+b") as file:
        file.write(raw * 2)


@pytest.mark.parametrize("license_key", [LICENSE, None], ids=["with the license", "without it"])
def test_a_forged_header_takes_no_key_from_a_row(shop: Workshop, license_key: str | None) -> None:
    sealed = shop.sealed()
    old, new = rotated(shop)
    forge(sealed, new)
    found = scan(shop.manager, shop.folder, license_key)
    assert bool(found.failed) == bool(license_key)
    assert found.updated == ()
    assert [row.keys for row in shop.manager.containers()] == [{old}]
    passed(shop)
    assert str(sealed) in kept(shop, old)


def test_without_the_license_a_container_waits_and_delays_destruction(shop: Workshop) -> None:
    sealed = shop.sealed()
    (row,) = shop.manager.containers()
    shop.manager.forget(row.file_id)
    old, _ = rotated(shop)
    found = scan(shop.manager, shop.folder)
    assert found.waiting == (str(sealed),)
    assert [notice.code for notice in found.warnings] == ["waiting-containers"]
    assert shop.manager.containers() == ()
    assert not found.changed
    passed(shop)
    assert kept(shop, old) == f"an unverified header at {sealed} names it"
    assert kept(shop, old, confirm=[old]) == ""
    scan(shop.manager, shop.folder, LICENSE)
    assert shop.manager.claims() == ()
    assert str(sealed) in kept(shop, old, confirm=[old])
    assert "unverified" not in kept(shop, old)


def test_a_claim_goes_with_its_file(shop: Workshop) -> None:
    sealed = shop.sealed()
    shop.manager.forget(shop.manager.containers()[0].file_id)
    scan(shop.manager, shop.folder)
    assert [claim.path for claim in shop.manager.claims()] == [str(sealed)]
    records = shop.manager.audit_size()
    scan(shop.manager, shop.folder)
    assert shop.manager.audit_size() == records
    sealed.unlink()
    scan(shop.manager, shop.folder)
    assert shop.manager.claims() == ()


def test_a_container_without_a_license_needs_none_to_be_scanned(shop: Workshop) -> None:
    shop.manager.generate("plain", no_license=True)
    encrypt_model(shop.manager, shop.plain(10, "free"), key="plain")
    free = shop.manager.containers()[0]
    shop.manager.forget(free.file_id)
    found = scan(shop.manager, shop.folder)
    assert [row.path for row in found.added] == [free.path]
    assert found.waiting == ()
