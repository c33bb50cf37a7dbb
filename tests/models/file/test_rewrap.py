"""Rewrapping in place: to which key, what stays, what it costs, and what a registry full of containers becomes."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.counting import COUNTS_IO, bytes_read
from tests.keystores import LICENSE, OTHER_LICENSE
from tests.models.containers import STRANGER, add_signature
from tests.models.file.test_decrypt import change_header, edit
from tests.models.workshop import MODEL, Workshop, drained, fed_pipe, other_manager, pattern, stretch
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import (
    BusyError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    WrongLicenseError,
)
from tiktrue_keys.models.container.container import read_container
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.rewrap import rewrap_model, rewrap_registered
from tiktrue_keys.models.file.rewrap_batch import Rewrapped
from tiktrue_keys.models.format.header import Wrap, WrapType
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, SLOT_SIZE, HeaderSlots, encode_slot
from tiktrue_keys.models.format.trailer import SIGNATURE_PLACE_FROM_END, SIGNATURE_PLACE_LENGTH, TAIL_LENGTH
from tiktrue_keys.models.format.wraps import wrap_for_key
from tiktrue_keys.models.storage.container_lock import locked_container
from tiktrue_keys.models.storage.header_file import read_slots


def rewrap(shop: Workshop, path: Path, **options: Any) -> Rewrapped:
    return rewrap_model(shop.manager, path, **{"license_key": LICENSE, **options})


def slots(path: Path) -> HeaderSlots:
    with path.open("rb") as file:
        return read_slots(file.fileno())


def rotated(shop: Workshop) -> tuple[str, str]:
    """Key ids of the old and the new key."""
    old = shop.key.key_id
    shop.manager.rotate([MODEL], license_key=LICENSE)
    return old, shop.key.key_id


def test_to_the_active_key_of_its_chain(shop: Workshop) -> None:
    sealed = shop.sealed(3 << 20)
    body = sealed.read_bytes()[HEADER_SIZE:]
    old, new = rotated(shop)
    result = rewrap(shop, sealed)
    assert (result.changed, result.keys_before, result.keys_after) == (True, frozenset({old}), frozenset({new}))
    assert slots(sealed).equal
    assert slots(sealed).current.header.key_ids == {new}
    assert old.encode() not in sealed.read_bytes()[:HEADER_SIZE]
    assert sealed.read_bytes()[HEADER_SIZE:] == body
    assert decrypt_model(shop.manager, sealed, license_key=LICENSE).key.key_id == new


def test_the_old_key_is_not_needed_any_more(shop: Workshop) -> None:
    sealed = shop.sealed()
    old, new = rotated(shop)
    rewrap(shop, sealed)
    assert [row.path for row in shop.manager.containers(new)] == [str(sealed)]
    assert shop.manager.containers(old) == ()
    assert shop.last_events(2) == [("intent", "ok"), ("rewrap", "ok")]


def test_nothing_to_do(shop: Workshop) -> None:
    sealed = shop.sealed()
    before, records = sealed.read_bytes(), shop.manager.audit_size()
    result = rewrap(shop, sealed)
    assert (result.changed, result.keys_before) == (False, result.keys_after)
    assert sealed.read_bytes() == before
    assert shop.manager.audit_size() == records


def test_to_a_named_key(shop: Workshop) -> None:
    sealed = shop.sealed()
    old, new = rotated(shop)
    rewrap(shop, sealed)
    shop.manager.rotate([MODEL], license_key=LICENSE)
    with pytest.raises(RefusedError, match="rotating"):
        rewrap(shop, sealed, to=old)
    assert rewrap(shop, sealed, to=MODEL).keys_after == {shop.key.key_id}
    assert new != shop.key.key_id


def test_another_models_key_is_refused(shop: Workshop) -> None:
    sealed = shop.sealed()
    shop.manager.generate("other", license_key=LICENSE)
    with pytest.raises(RefusedError, match="another model"):
        rewrap(shop, sealed, to="other")
    assert shop.last_events(1) == [("rewrap", "refused")]


def test_a_deprecated_key_opens_for_a_rewrap_a_revoked_one_does_not(shop: Workshop) -> None:
    first, second = shop.sealed(10, "a"), shop.sealed(10, "b")
    rotated(shop)
    shop.desk.clock.forward(days=200)
    shop.manager.rotate([MODEL], license_key=LICENSE)
    assert rewrap(shop, first).changed
    key_id = slots(second).current.header.wraps[0].key_id
    shop.manager.revoke([key_id], reason="leaked")
    with pytest.raises(RevokedError):
        rewrap(shop, second)


def test_after_a_revocation_a_fresh_chain_of_the_model_will_do(shop: Workshop) -> None:
    sealed = shop.unsigned()
    shop.manager.rotate([MODEL], license_key=LICENSE)
    shop.manager.revoke([shop.key.key_id], reason="leaked")
    shop.manager.generate(MODEL, license_key=LICENSE)
    assert rewrap(shop, sealed).keys_after == {shop.key.key_id}


def test_the_license_is_needed_and_asked_for_once(shop: Workshop) -> None:
    sealed = shop.sealed()
    rotated(shop)
    with pytest.raises(WrongLicenseError):
        rewrap(shop, sealed, license_key=OTHER_LICENSE)
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        return LICENSE

    rewrap(shop, sealed, license_key=ask)
    assert len(asked) == 1


def test_another_keystores_wrap_stays(shop: Workshop) -> None:
    sealed = shop.sealed()
    foreign = Wrap(WrapType.MANAGED_KEY, "llama/7b_0123456789abcdef", 1, bytes(60))
    change_header(sealed, shop.data_key(sealed), lambda header: header.with_wraps((*header.wraps, foreign)))
    _, new = rotated(shop)
    assert rewrap(shop, sealed).keys_after == {new}
    assert slots(sealed).current.header.key_ids == {new, foreign.key_id}


@pytest.mark.parametrize("dead", [False, True], ids=["good", "dead"])
def test_a_wrap_that_there_is_already_counts_if_it_holds_the_data_key(shop: Workshop, dead: bool) -> None:
    """A second chain's key has a wrap already, which its writer may never have made to open."""
    keys = [shop.key, *shop.manager.generate(MODEL, license_key=LICENSE, new_chain=True).keys]
    opened, target = sorted(keys, key=lambda key: key.key_id)
    sealed = shop.folder / "weights.ttm"
    encrypt_model(shop.manager, shop.plain(), sealed, key=opened.key_id, license_key=LICENSE)
    data_key = shop.data_key(sealed)
    good = wrap_in(shop, data_key, slots(sealed).current.header.file_id, target)
    planted = replace(good, wrapped=bytes(60)) if dead else good
    change_header(sealed, data_key, lambda header: header.with_wraps((*header.wraps, planted)))
    assert rewrap(shop, sealed, to=target.key_id).keys_after == {target.key_id}
    (kept,) = slots(sealed).current.header.wraps
    assert (kept.key_id, kept == good) == (target.key_id, not dead)
    assert decrypt_model(shop.manager, sealed, license_key=LICENSE).key.key_id == target.key_id


def wrap_in(shop: Workshop, data_key: bytes, file_id: bytes, key: ManagedKey) -> Wrap:
    with shop.manager.open_key(key.key_id, LICENSE, use=Use.ENCRYPT) as opened, SecretBuffer.copy_of(data_key) as data:
        names = {"model_id": MODEL, "key_id": key.key_id}
        return wrap_for_key(data.view, opened.secret.view, file_id=file_id, generation=key.generation, **names)


def cut_in_its_body(sealed: Path) -> None:
    data = sealed.read_bytes()
    sealed.write_bytes(data[:-300] + data[-232:])


def cut_after_its_header(sealed: Path) -> None:
    os.truncate(sealed, HEADER_SIZE)


def stripped(sealed: Path) -> None:
    edit(sealed, -SIGNATURE_PLACE_FROM_END, bytes(SIGNATURE_PLACE_LENGTH))


def of_another_root(sealed: Path) -> None:
    edit(sealed, -TAIL_LENGTH + 24, bytes(32))


def of_another_length(sealed: Path) -> None:
    edit(sealed, -TAIL_LENGTH + 16, bytes(8))


def signed_by_a_stranger(sealed: Path) -> None:
    with sealed.open("r+b") as file:
        add_signature(file.fileno(), read_container(file.fileno()), STRANGER.signer)


@pytest.mark.parametrize(
    "damage",
    [cut_in_its_body, cut_after_its_header, stripped, of_another_root, of_another_length, signed_by_a_stranger],
)
def test_what_nothing_opens_is_not_rewrapped(shop: Workshop, damage: Callable[[Path], None]) -> None:
    """Its key would be called free, and be destroyed."""
    sealed = shop.sealed()
    damage(sealed)
    before = sealed.read_bytes()
    old, _ = rotated(shop)
    with pytest.raises(IntegrityError):
        rewrap(shop, sealed)
    assert sealed.read_bytes() == before
    assert [row.keys for row in shop.manager.containers()] == [{old}]
    assert shop.last_events(1) == [("rewrap", "refused")]


def test_a_recipients_wrap_becomes_the_keys_and_the_mark_stays(shop: Workshop) -> None:
    sealed = shop.unsigned()
    assert rewrap(shop, sealed).changed
    (wrap,) = slots(sealed).current.header.wraps
    assert wrap.type is WrapType.MANAGED_KEY
    with pytest.raises(RefusedError, match="not signed"):
        decrypt_model(shop.manager, sealed, license_key=LICENSE)
    decrypt_model(shop.manager, sealed, license_key=LICENSE, allow_unsigned=True)
    assert (shop.folder / "ci").read_bytes() == pattern(5000)


def test_an_edited_header_is_not_rewrapped(shop: Workshop) -> None:
    """Its checksum is right, its HMAC is another data key's."""
    sealed = shop.sealed()
    header = slots(sealed).current.header
    with SecretBuffer.random() as other:
        edit(sealed, 0, encode_slot(header, 9, other.view) * 2)
    before = sealed.read_bytes()
    rotated(shop)
    with pytest.raises(IntegrityError):
        rewrap(shop, sealed)
    assert sealed.read_bytes() == before


def test_an_interrupted_rewrap_is_finished(shop: Workshop) -> None:
    """A kill between the two slots leaves the new header in one place and the old one in the other."""
    sealed = shop.sealed()
    before = sealed.read_bytes()[:HEADER_SIZE]
    old, new = rotated(shop)
    rewrap(shop, sealed)
    for place in (0, SLOT_SIZE):
        edit(sealed, place, before[:SLOT_SIZE])
        assert not slots(sealed).equal
        result = rewrap(shop, sealed)
        assert (result.changed, result.keys_after) == (True, frozenset({new}))
        assert slots(sealed).equal
        assert old.encode() not in sealed.read_bytes()[:HEADER_SIZE]


def test_a_torn_slot_is_mended(shop: Workshop) -> None:
    sealed = shop.sealed()
    _, new = rotated(shop)
    edit(sealed, SLOT_SIZE + 20, b"torn")
    assert rewrap(shop, sealed).keys_after == {new}
    assert slots(sealed).equal


def test_it_waits_for_the_lock(shop: Workshop) -> None:
    sealed = shop.sealed()
    rotated(shop)
    with locked_container(sealed, 1.0), pytest.raises(BusyError):
        rewrap(shop, sealed, lock_timeout=0.05)


def test_two_at_once_leave_one_whole_container(shop: Workshop) -> None:
    sealed = shop.sealed()
    _, new = rotated(shop)
    shop.manager.document()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            rewrap_model(shop.desk.manager(), sealed, license_key=LICENSE)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert slots(sealed).equal
    assert slots(sealed).current.header.key_ids == {new}
    assert shop.manager.containers()[0].keys == {new}
    assert [event for event in shop.last_events(8) if event[0] == "rewrap"] == [("rewrap", "ok")]


@COUNTS_IO
def test_the_size_does_not_matter(shop: Workshop) -> None:
    """A sparse file of 64 GiB: its header and its last bytes are real, and only they are looked at."""
    sealed = shop.sealed()
    stretch(shop.manager, sealed, shop.data_key(sealed), 64 << 30)
    rotated(shop)
    before = bytes_read()
    assert rewrap(shop, sealed).changed
    assert bytes_read() - before < 1 << 20
    assert sealed.stat().st_blocks * 512 < 1 << 20
    assert sealed.stat().st_size > 64 << 30


def test_a_failed_write_keeps_both_keys(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = shop.sealed()
    old, new = rotated(shop)

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("tiktrue_keys.models.storage.header_file.pwrite_synced", fail)
    with pytest.raises(Exception, match="input/output error"):
        rewrap(shop, sealed)
    assert shop.manager.containers()[0].keys == {old, new}
    assert shop.last_events(1) == [("rewrap", "failed")]


def test_a_rewrapped_copy_does_not_take_the_originals_place(shop: Workshop) -> None:
    sealed = shop.sealed()
    copy = Path(shutil.copy(sealed, shop.folder / "copy.ttm"))
    old, new = rotated(shop)
    assert rewrap(shop, copy).changed
    assert slots(copy).current.header.key_ids == {new}
    assert {row.path: row.keys for row in shop.manager.containers()} == {str(sealed): {old}, str(copy): {new}}


def test_through_a_symbolic_link(shop: Workshop) -> None:
    sealed = shop.sealed()
    rotated(shop)
    link = shop.folder / "link"
    link.symlink_to(sealed)
    assert rewrap(shop, link).path == sealed
    assert link.is_symlink()


def test_every_registered_container_of_the_rotated_keys(shop: Workshop) -> None:
    first, second = shop.sealed(10, "a"), shop.sealed(10, "b")
    shop.manager.generate("other", license_key=LICENSE)
    plain = shop.plain(10, "c")
    encrypt_model(shop.manager, plain, key="other", license_key=LICENSE)
    old, new = rotated(shop)
    batch = rewrap_registered(shop.manager, [old], license_key=LICENSE)
    assert {item.path for item in batch.done} == {first, second}
    assert all(item.changed and item.keys_after == {new} for item in batch.done)
    assert (batch.changed, batch.failed, batch.stale, batch.warnings) == (True, (), (), ())
    everything = rewrap_registered(shop.manager, license_key=LICENSE)
    assert len(everything.done) == 3
    assert not everything.changed


def test_what_cannot_be_rewrapped_is_listed_with_its_last_day(shop: Workshop) -> None:
    gone, replaced, cut = shop.sealed(10, "a"), shop.sealed(10, "b"), shop.sealed(10, "c")
    source = shop.plain(10, "d")
    drained(lambda sink: encrypt_model(shop.manager, source, sink, key=MODEL, license_key=LICENSE))
    old, _ = rotated(shop)
    gone.unlink()
    shutil.copy(cut, replaced)
    os.truncate(cut, 1000)
    batch = rewrap_registered(shop.manager, [old], license_key=LICENSE)
    assert batch.done == ()
    assert not batch.changed
    assert [type(item.error) for item in batch.failed] == [NotFoundError, NotFoundError, IntegrityError]
    assert [item.record.piped for item in batch.stale] == [True]
    ends = shop.manager.find(old).decrypt_until
    assert {item.opens_until for item in (*batch.failed, *batch.stale)} == {ends}
    (notice,) = batch.warnings
    assert notice.code == "stale-containers"
    assert "4 containers" in notice.message
    assert "2027-03-" in notice.message


def test_a_foreign_keystores_container(shop: Workshop, tmp_path: Path) -> None:
    sealed = shop.sealed()
    with other_manager(tmp_path / "other") as stranger, pytest.raises(NotFoundError, match="holds no key"):
        rewrap_model(stranger, sealed, license_key=LICENSE)


def test_readers_see_one_header_or_the_other(shop: Workshop) -> None:
    sealed = shop.sealed()
    data = sealed.read_bytes()
    stop = threading.Event()
    seen: set[frozenset[str]] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add(slots(sealed).current.header.key_ids)

    reader = threading.Thread(target=read)
    reader.start()
    keys: set[frozenset[str]] = {frozenset({shop.key.key_id})}
    for _ in range(5):
        _, new = rotated(shop)
        rewrap(shop, sealed)
        keys.add(frozenset({new}))
    stop.set()
    reader.join()
    assert seen <= keys
    assert len(data) == sealed.stat().st_size


def test_a_pipe_cannot_be_given(shop: Workshop) -> None:
    with fed_pipe(b"") as pipe, pytest.raises((RefusedError, NotFoundError, IntegrityError)):
        rewrap(shop, Path(f"/dev/fd/{pipe.fileno()}"))
