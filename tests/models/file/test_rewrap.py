"""Rewrapping in place: to which key, what stays, what it costs, and what a registry full of containers becomes."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.counting import COUNTS_IO, bytes_read
from tests.keystores import LICENSE, OTHER_LICENSE
from tests.models.file.test_decrypt import change_header, edit
from tests.models.workshop import MODEL, Workshop, drained, fed_pipe, other_manager, pattern
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import (
    BusyError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    WrongLicenseError,
)
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.rewrap import rewrap_model, rewrap_registered
from tiktrue_keys.models.file.rewrap_batch import Rewrapped
from tiktrue_keys.models.format.header import Wrap, WrapType
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, SLOT_SIZE, HeaderSlots, encode_slot
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
    foreign = Wrap(WrapType.MANAGED_KEY, "elsewhere_0123456789abcdef", 1, bytes(60))
    change_header(sealed, shop.data_key(sealed), lambda header: header.with_wraps((*header.wraps, foreign)))
    _, new = rotated(shop)
    assert rewrap(shop, sealed).keys_after == {new}
    assert slots(sealed).current.header.key_ids == {new, foreign.key_id}


def test_another_models_wrap_stays_and_can_be_rewrapped_by_itself(shop: Workshop) -> None:
    """A container for two models of this keystore: a rewrap replaces the wraps of one of them."""
    sealed = shop.sealed()
    other = shop.manager.generate("other", license_key=LICENSE).keys[0]
    data_key = shop.data_key(sealed)
    file_id = slots(sealed).current.header.file_id
    with shop.manager.open_key("other", LICENSE, use=Use.ENCRYPT) as opened, SecretBuffer.copy_of(data_key) as secret:
        wrap = wrap_for_key(
            secret.view, opened.secret.view, file_id=file_id, model_id=MODEL, key_id=other.key_id, generation=1
        )
    change_header(sealed, data_key, lambda header: header.with_wraps((*header.wraps, wrap)))
    _, new = rotated(shop)
    assert rewrap(shop, sealed, to=MODEL).keys_after == {new, other.key_id}
    shop.manager.rotate(["other"], license_key=LICENSE)
    newer = shop.manager.find("other").key_id
    assert rewrap(shop, sealed, to="other").keys_after == {new, newer}
    assert shop.manager.containers()[0].keys == {new, newer}


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
    """A sparse file of 64 GiB: only its header is real, and only its header is looked at."""
    sealed = shop.sealed()
    os.truncate(sealed, 64 << 30)
    rotated(shop)
    before = bytes_read()
    assert rewrap(shop, sealed).changed
    assert bytes_read() - before < 1 << 20
    assert sealed.stat().st_blocks * 512 < 1 << 20


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
