"""Signing a container that CI has sealed: whose root is vouched for, and what is never signed."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE, error_of, file_operation, in_a_child
from tests.models.containers import add_signature
from tests.models.workshop import EDGES, MODEL, Workshop, other_manager, pattern
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import (
    BusyError,
    ExpiredError,
    IntegrityError,
    NotFoundError,
    RevokedError,
    TikTrueKeysError,
    UsageError,
    WrongLicenseError,
)
from tiktrue_keys.models.container.container import read_container
from tiktrue_keys.models.container.seal import keystore_signer
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.inspect import inspect_model
from tiktrue_keys.models.file.rewrap import rewrap_model
from tiktrue_keys.models.file.sign import Signed, parse_root, sign_model
from tiktrue_keys.models.format.header_slots import encode_header
from tiktrue_keys.models.format.trailer import SIGNATURE_PLACE_FROM_END, SIGNATURE_PLACE_LENGTH
from tiktrue_keys.models.settle.interrupted import settle_intents
from tiktrue_keys.models.storage.container_lock import locked_container
from tiktrue_keys.models.storage.header_file import read_slots

BODY_AT = 65536


def root_of(path: Path) -> bytes:
    return inspect_model(path).root


def sign(shop: Workshop, path: Path, **options: Any) -> Signed:
    return sign_model(shop.manager, path, **{"expected_root": root_of(path), "license_key": LICENSE, **options})


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def strip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-SIGNATURE_PLACE_FROM_END, os.SEEK_END)
        file.write(bytes(SIGNATURE_PLACE_LENGTH))


@pytest.mark.parametrize("length", EDGES)
def test_a_signed_container_opens_without_more_words(shop: Workshop, length: int) -> None:
    path = shop.unsigned(length)
    result = sign(shop, path)
    assert (result.changed, result.root, result.length) == (True, root_of(path), length)
    opened = decrypt_model(shop.manager, path, shop.folder / "out", license_key=LICENSE)
    assert (opened.signed, opened.warnings) == (True, ())
    assert (shop.folder / "out").read_bytes() == pattern(length)


def test_it_is_one_small_write_in_place(shop: Workshop) -> None:
    path = shop.unsigned(3 << 20)
    before, inode = path.read_bytes(), path.stat().st_ino
    sign(shop, path)
    after = path.read_bytes()
    start = len(before) - SIGNATURE_PLACE_FROM_END
    assert (len(after), path.stat().st_ino) == (len(before), inode)
    assert after[:start] == before[:start]
    assert after[start + SIGNATURE_PLACE_LENGTH :] == before[start + SIGNATURE_PLACE_LENGTH :]


def test_it_is_recorded_and_registered_as_signed(shop: Workshop) -> None:
    path = shop.unsigned()
    sign(shop, path)
    assert ("intent", "ok") in shop.last_events(3)
    assert ("sign", "ok") in shop.last_events(3)
    (record,) = shop.manager.containers()
    assert (record.path, record.signed) == (str(path), True)


def test_once_signed_its_signature_cannot_be_taken_away(shop: Workshop) -> None:
    path = shop.unsigned()
    sign(shop, path)
    strip(path)
    for call in (
        lambda: decrypt_model(shop.manager, path, shop.folder / "o", license_key=LICENSE, allow_unsigned=True),
        lambda: sign(shop, path),
    ):
        assert isinstance(error_of(call), IntegrityError)


def test_a_second_time_there_is_nothing_to_do(shop: Workshop) -> None:
    path = shop.unsigned()
    sign(shop, path)
    before, size = path.read_bytes(), shop.manager.audit_size()
    assert sign(shop, path).changed is False
    assert (path.read_bytes(), shop.manager.audit_size()) == (before, size)


def test_another_root_is_not_signed(shop: Workshop) -> None:
    path = shop.unsigned()
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match="the expected root"):
        sign(shop, path, expected_root=bytes(32))
    assert path.read_bytes() == before
    assert shop.last_events(1) == [("sign", "refused")]


@pytest.mark.parametrize("at", [BODY_AT + 3, BODY_AT + 50, BODY_AT + (1 << 20) + 9])
def test_a_changed_body_is_not_signed(shop: Workshop, at: int) -> None:
    path = shop.unsigned(2 << 20)
    root = root_of(path)
    flip(path, at)
    before = path.read_bytes()
    with pytest.raises(IntegrityError):
        sign(shop, path, expected_root=root)
    assert path.read_bytes() == before


def test_a_changed_header_is_not_signed(shop: Workshop) -> None:
    path = shop.unsigned()
    root = root_of(path)
    for slot in (0, 32768):
        flip(path, slot + 200)
    with pytest.raises(IntegrityError):
        sign(shop, path, expected_root=root)


def test_a_header_of_somebody_without_the_data_key_is_not_signed(shop: Workshop) -> None:
    path = shop.unsigned()
    with path.open("r+b") as file, SecretBuffer.random() as wrong:
        header = read_slots(file.fileno()).current.header
        file.write(encode_header(replace(header, name="another name"), wrong.view))
    with pytest.raises(IntegrityError, match="header"):
        sign(shop, path)


def test_a_keystores_own_container_without_signature_was_stripped(shop: Workshop) -> None:
    path = shop.sealed()
    strip(path)
    with pytest.raises(IntegrityError, match="signature was removed"):
        sign(shop, path)


def test_one_that_another_keystore_signed_is_left_alone(shop: Workshop, tmp_path: Path) -> None:
    path = shop.unsigned()
    other = other_manager(tmp_path / "other")
    with path.open("r+b") as file:
        add_signature(file.fileno(), read_container(file.fileno()), keystore_signer(other, "llama"))
    other.close()
    with pytest.raises(IntegrityError, match="another keystore"):
        sign(shop, path)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"license_key": None}, UsageError), ({"license_key": OTHER_LICENSE}, WrongLicenseError)],
)
def test_it_needs_the_license(shop: Workshop, options: dict[str, Any], error: type[TikTrueKeysError]) -> None:
    with pytest.raises(error):
        sign(shop, shop.unsigned(), **options)


def test_the_keys_state_counts(shop: Workshop) -> None:
    path = shop.unsigned()
    shop.desk.clock.forward(days=130)
    with pytest.raises(ExpiredError):
        sign(shop, path)
    assert sign(shop, path, allow_deprecated=True).changed
    other = shop.unsigned(name="other.ttm") if shop.key.status.value == "active" else None
    assert other is None
    shop.manager.revoke(model=MODEL, reason="over")
    with pytest.raises(RevokedError):
        sign(shop, path)


def test_no_file_and_no_container(shop: Workshop) -> None:
    with pytest.raises(NotFoundError):
        sign_model(shop.manager, shop.folder / "none", expected_root=bytes(32), license_key=LICENSE)
    with pytest.raises(IntegrityError):
        sign_model(shop.manager, shop.plain(), expected_root=bytes(32), license_key=LICENSE)


def test_it_waits_for_a_rewrap_that_goes_on(shop: Workshop) -> None:
    path = shop.unsigned()
    with locked_container(path, 1), pytest.raises(BusyError):
        sign(shop, path, lock_timeout=0.1)


def test_a_rewrap_keeps_the_signature(shop: Workshop) -> None:
    path = shop.unsigned()
    sign(shop, path)
    shop.manager.rotate([MODEL], license_key=LICENSE)
    rewrap_model(shop.manager, path, license_key=LICENSE)
    assert decrypt_model(shop.manager, path, shop.folder / "out", license_key=LICENSE).signed


def test_of_a_copy_the_copy_is_signed(shop: Workshop) -> None:
    path, copy = shop.unsigned(), shop.folder / "copy.ttm"
    shutil.copy(path, copy)
    decrypt_model(shop.manager, path, shop.folder / "out", license_key=LICENSE, allow_unsigned=True)
    assert sign(shop, copy).changed
    assert {Path(row.path).name: row.signed for row in shop.manager.containers()} == {"ci.ttm": False, "copy.ttm": True}


@pytest.mark.parametrize("done", [False, True])
def test_a_sign_that_was_killed_is_settled_by_what_the_file_says(shop: Workshop, done: bool) -> None:
    path = shop.unsigned()
    if done:
        sign(shop, path)
    with path.open("rb") as file:
        file_id = read_slots(file.fileno()).current.header.file_id
    intent = file_operation(
        "sign", before=(shop.key,), after=(shop.key,), file_id=file_id, path=str(path), model_id=MODEL
    )

    def begin() -> bytes:
        shop.manager.begin_file_operation(intent)
        return b"begun"

    assert in_a_child(begin) == b"begun"
    settled = settle_intents(shop.manager)
    assert [item.outcome for item in settled.operations] == ["ok" if done else "failed"]
    assert shop.manager.open_intents() == ()
    assert (
        decrypt_model(shop.manager, path, shop.folder / "out", license_key=LICENSE, allow_unsigned=not done).signed
        is done
    )


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 31, "00" * 33, " " + "00" * 32, "00 " * 32])
def test_a_root_has_64_hex_digits(text: str) -> None:
    with pytest.raises(UsageError):
        parse_root(text)


def test_a_root_in_either_case() -> None:
    assert parse_root("AB" * 32) == parse_root("ab" * 32) == b"\xab" * 32
