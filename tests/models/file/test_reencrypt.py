"""A new data key and a new body in place of the old ones: which key, what stays, and what a failure leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE
from tests.models.file.test_decrypt import DAMAGE, LENGTH, strip_signature
from tests.models.file.test_rewrap import slots
from tests.models.workshop import EDGES, MODEL, Workshop, drained, folder_request, pattern
from tiktrue_keys.core.durable import NewFile
from tiktrue_keys.errors import BusyError, IntegrityError, RefusedError, RevokedError, UnavailableError
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.reencrypt import Reencrypted, reencrypt_model
from tiktrue_keys.models.folder.encrypt import encrypt_folder
from tiktrue_keys.models.format.header import Origin, Wrap, WrapType
from tiktrue_keys.models.format.header_slots import HEADER_SIZE
from tiktrue_keys.models.storage.container_lock import locked_container


def reencrypt(shop: Workshop, path: Path, **options: Any) -> Reencrypted:
    return reencrypt_model(shop.manager, path, **{"license_key": LICENSE, **options})


@pytest.mark.parametrize("length", EDGES)
def test_the_plaintext_is_the_same_and_nothing_else_is(shop: Workshop, length: int) -> None:
    sealed = shop.sealed(length)
    before, old_key = sealed.read_bytes(), shop.data_key(sealed)
    result = reencrypt(shop, sealed)
    assert result.changed
    assert result.old_file_id != result.file_id
    assert shop.data_key(sealed) != old_key
    assert sealed.read_bytes()[HEADER_SIZE : HEADER_SIZE + 40] != before[HEADER_SIZE : HEADER_SIZE + 40]
    decrypt_model(shop.manager, sealed, license_key=LICENSE)
    assert (shop.folder / "weights.bin").read_bytes() == pattern(length)
    assert shop.names() == {"weights.bin", "weights.bin.ttm"}


def test_the_registry_follows_the_new_container(shop: Workshop) -> None:
    sealed = shop.sealed()
    result = reencrypt(shop, sealed)
    (row,) = shop.manager.containers()
    assert (row.file_id, row.path, row.signed) == (result.file_id, str(sealed), True)
    assert shop.last_events(3) == [("intent", "ok"), ("forget", "ok"), ("reencrypt", "ok")]


def test_a_revoked_keys_model_is_saved_when_asked_to(shop: Workshop) -> None:
    sealed, revoked = shop.sealed(), shop.key.key_id
    shop.manager.revoke([revoked], reason="leaked", rotate=True, license_key=LICENSE)
    with pytest.raises(RevokedError):
        reencrypt(shop, sealed)
    result = reencrypt(shop, sealed, recover_revoked=True)
    assert result.key.key_id == shop.key.key_id != revoked
    uses = [record for record in shop.manager.audit_records() if record.event == "recover-revoked"]
    assert [record.key_id for record in uses] == [revoked]
    assert shop.manager.containers(revoked) == ()
    decrypt_model(shop.manager, sealed, license_key=LICENSE)


def test_to_another_model(shop: Workshop) -> None:
    sealed = shop.sealed()
    shop.manager.generate("other", license_key=LICENSE)
    assert reencrypt(shop, sealed, to="other").key.model_id == "other"
    assert slots(sealed).current.header.model_id == "other"


def test_an_unsigned_container_stays_unsigned(shop: Workshop) -> None:
    sealed = shop.unsigned()
    with pytest.raises(RefusedError, match="not signed"):
        reencrypt(shop, sealed)
    result = reencrypt(shop, sealed, allow_unsigned=True)
    assert (result.signed, slots(sealed).current.header.origin) == (False, Origin.RECIPIENT)
    assert [notice.code for notice in result.warnings] == ["unsigned"]
    with pytest.raises(RefusedError, match="not signed"):
        decrypt_model(shop.manager, sealed, license_key=LICENSE)


def test_keys_of_others_do_not_open_the_new_one_and_that_is_said(shop: Workshop) -> None:
    from tests.models.file.test_decrypt import change_header

    sealed = shop.sealed()
    foreign = Wrap(WrapType.MANAGED_KEY, "llama/7b_0123456789abcdef", 1, bytes(60))
    change_header(sealed, shop.data_key(sealed), lambda header: header.with_wraps((*header.wraps, foreign)))
    assert [notice.code for notice in reencrypt(shop, sealed).warnings] == ["dropped-recipients"]


def test_one_made_into_a_pipe_gets_its_leaves(shop: Workshop) -> None:
    source, sealed = shop.plain(3 << 20), shop.folder / "piped.ttm"
    _, data = drained(lambda sink: encrypt_model(shop.manager, source, sink, key=MODEL, license_key=LICENSE))
    sealed.write_bytes(data)
    reencrypt(shop, sealed)
    assert sealed.stat().st_size == len(data) + 4 * 32
    decrypt_model(shop.manager, sealed, license_key=LICENSE)
    assert (shop.folder / "piped").read_bytes() == pattern(3 << 20)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_container_is_left_as_it_is(shop: Workshop, damage: str) -> None:
    sealed = shop.sealed(LENGTH)
    DAMAGE[damage](sealed)
    before = sealed.read_bytes()
    with pytest.raises(IntegrityError):
        reencrypt(shop, sealed, allow_unsigned=True)
    assert sealed.read_bytes() == before
    assert shop.names() == {"weights.bin.ttm"}
    assert shop.paths() == ["weights.bin.ttm"]


def test_what_was_written_is_read_back_before_it_replaces(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = shop.sealed(LENGTH)
    before = sealed.read_bytes()
    written = os.pwrite

    def lose_a_byte(fd: int, data: bytes, offset: int) -> int:
        if offset == HEADER_SIZE + (1 << 20):
            data = b"\0" * len(data)
        return written(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", lose_a_byte)
    with pytest.raises(IntegrityError):
        reencrypt(shop, sealed)
    assert sealed.read_bytes() == before
    assert shop.names() == {"weights.bin.ttm"}


def test_an_interrupt_leaves_the_old_one(shop: Workshop) -> None:
    sealed = shop.sealed(40 << 20)
    before = sealed.read_bytes()

    def progress(_: int, __: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reencrypt(shop, sealed, progress=progress)
    assert sealed.read_bytes() == before
    assert shop.names() == {"weights.bin.ttm"}
    assert shop.paths() == ["weights.bin.ttm"]
    assert shop.manager.open_intents() == ()


def test_it_waits_for_the_lock_and_holds_it_over_the_rename(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = shop.sealed()
    with locked_container(sealed, 1.0), pytest.raises(BusyError):
        reencrypt(shop, sealed, lock_timeout=0.05)
    commit = NewFile.commit

    def commit_under_lock(self: NewFile, replace: bool) -> None:
        if self.path == sealed:
            with pytest.raises(BusyError), locked_container(sealed, 0.0):
                raise AssertionError("somebody else got the lock")
        commit(self, replace)

    monkeypatch.setattr(NewFile, "commit", commit_under_lock)
    reencrypt(shop, sealed)


def test_a_failure_after_the_rename_leaves_one_row(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when only the folder's sync fails: the new container is there, and the old one is not."""
    sealed, commit = shop.sealed(), NewFile.commit

    def commit_and_fail(self: NewFile, replace: bool) -> None:
        commit(self, replace)
        if self.path == sealed:
            raise UnavailableError("the folder cannot be synced")

    monkeypatch.setattr(NewFile, "commit", commit_and_fail)
    operations: list[Callable[[], object]] = [
        lambda: reencrypt(shop, sealed),
        lambda: encrypt_model(shop.manager, shop.plain(), sealed, key=MODEL, license_key=LICENSE, force=True),
    ]
    for operation in operations:
        with pytest.raises(UnavailableError):
            operation()
        assert shop.last_events(1)[0][1] == "failed"
        assert [row.file_id for row in shop.manager.containers()] == [slots(sealed).current.header.file_id]
    monkeypatch.undo()
    result = reencrypt(shop, sealed)
    assert [row.file_id for row in shop.manager.containers()] == [result.file_id]


def test_mode_and_link_stay(shop: Workshop) -> None:
    sealed = shop.sealed()
    sealed.chmod(0o640)
    link = shop.folder / "link"
    link.symlink_to(sealed)
    reencrypt(shop, link)
    assert link.is_symlink()
    assert sealed.stat().st_mode & 0o777 == 0o640


def test_a_file_of_an_encrypted_folder_is_refused(shop: Workshop) -> None:
    (shop.folder / "dir/deep").mkdir(parents=True)
    shop.plain(10, "dir/deep/a.bin")
    encrypt_folder(shop.manager, folder_request(shop.folder / "dir"))
    with pytest.raises(RefusedError, match="belongs to the encrypted folder"):
        reencrypt(shop, shop.folder / "dir.ttm/deep/a.bin.ttm")


def test_a_repeated_operation_id_gives_the_first_result(shop: Workshop) -> None:
    sealed = shop.sealed()
    first = reencrypt(shop, sealed, operation_id="once")
    again = reencrypt(shop, sealed, operation_id="once")
    assert (again.changed, again.file_id, again.root) == (False, first.file_id, first.root)
    assert (again.old_file_id, again.signed, again.key) == (first.old_file_id, True, first.key)
    reencrypt(shop, sealed)
    with pytest.raises(RefusedError, match="another container"):
        reencrypt(shop, sealed, operation_id="once")


def test_a_stripped_signature_is_not_made_good(shop: Workshop) -> None:
    sealed = shop.sealed()
    strip_signature(sealed)
    with pytest.raises(IntegrityError, match="signature was removed"):
        reencrypt(shop, sealed, allow_unsigned=True)
