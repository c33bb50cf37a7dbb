"""The public half of a key as a file, and its export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE, error_of
from tests.models.workshop import MODEL, Workshop
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.instants import DAY, Instant
from tiktrue_keys.errors import (
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    TikTrueKeysError,
    UsageError,
    WrongLicenseError,
)
from tiktrue_keys.models.file.export_public import export_recipient
from tiktrue_keys.models.format.recipient import MAX_RECIPIENT, Recipient, read_recipient


def exported(shop: Workshop, **options: Any) -> Recipient:
    return export_recipient(shop.manager, MODEL, license_key=LICENSE, **options).recipient


def made_file(shop: Workshop) -> tuple[Path, dict[str, Any]]:
    path = shop.folder / "model.pub"
    export_recipient(shop.manager, MODEL, path, license_key=LICENSE)
    return path, json.loads(path.read_text())


# The file.


def test_the_file_is_one_line_that_says_whose_key_it_is_and_how_long(shop: Workshop) -> None:
    path, members = made_file(shop)
    key = shop.key
    assert (members["model_id"], members["key_id"], members["generation"]) == (MODEL, key.key_id, 1)
    assert (members["not_before"], members["not_after"]) == ("2026-11-25T12:00:00Z", "2026-12-25T12:00:00Z")
    assert members["issuer"] == shop.manager.issuer.hex()
    assert path.read_bytes() == canonical_json(members) + b"\n"
    assert path.stat().st_mode & 0o777 == 0o644


def test_it_is_read_back_as_it_was(shop: Workshop) -> None:
    path, _ = made_file(shop)
    assert read_recipient(path) == exported(shop)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("not_after", "2036-12-25T12:00:00Z"),
        ("not_before", "2026-11-25T11:00:00Z"),
        ("not_before", "2026-11-25"),
        ("model_id", "other"),
        ("key_id", "llama/7b_0123456789abcdef"),
        ("key_id", "llama/7b"),
        ("generation", 2),
        ("generation", "1"),
        ("generation", True),
        ("generation", 0),
        ("public", ""),
        ("public", "****"),
        ("issuer", "00" * 32),
        ("issuer", "zz"),
        ("signature", "00" * 64),
        ("type", "another type"),
        ("version", 2),
        ("version", True),
        ("version", None),
        ("extra", 1),
    ],
)
def test_an_edited_member_is_refused(shop: Workshop, member: str, value: object) -> None:
    path, members = made_file(shop)
    path.write_bytes(canonical_json(members | {member: value}) + b"\n")
    with pytest.raises(IntegrityError, match=r"model\.pub"):
        read_recipient(path)


def test_a_period_that_the_issuer_did_not_sign_is_a_wrong_signature(shop: Workshop) -> None:
    recipient = replace(exported(shop), not_after=Instant(shop.desk.clock.now + 3650 * DAY))
    with pytest.raises(IntegrityError, match="the signature of the recipient file is wrong"):
        Recipient.decode(recipient.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"\xff\xfe\n",
        b"-----BEGIN PUBLIC KEY-----\n",
        b"{" + b" " * MAX_RECIPIENT + b"}\n",
        b'{"a":' * 2000 + b"\n",
        b'{"version":9007199254740993}\n',
    ],
)
def test_what_is_no_recipient_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.pub"
    path.write_bytes(data)
    assert isinstance(error_of(lambda: read_recipient(path)), IntegrityError)


def test_every_flipped_bit_and_every_truncation_is_refused(shop: Workshop) -> None:
    whole = exported(shop).encode()
    for at in range(0, len(whole), 7):
        flipped = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        for data in (flipped, whole[:at]):
            assert isinstance(error_of(lambda data=data: Recipient.decode(data)), IntegrityError), at  # type: ignore[misc]


# The export.


def test_the_export_is_recorded_and_the_key_marked(shop: Workshop) -> None:
    before = shop.key
    exported(shop)
    assert (before.exported, shop.key.exported) == (False, True)
    assert shop.last_events(1) == [("export-public", "ok")]


def test_an_exported_key_is_destroyed_only_when_confirmed(shop: Workshop) -> None:
    exported(shop)
    key = shop.key
    shop.manager.revoke([key.key_id], reason="over")
    assert shop.manager.cleanup().marked == ()
    assert [marked.key_id for marked in shop.manager.cleanup(confirm=[key.key_id]).marked] == [key.key_id]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"license_key": None}, UsageError),
        ({"license_key": OTHER_LICENSE}, WrongLicenseError),
        ({"key": "nothing"}, NotFoundError),
    ],
)
def test_it_needs_the_key_and_its_license(
    shop: Workshop, options: dict[str, Any], error: type[TikTrueKeysError]
) -> None:
    with pytest.raises(error):
        export_recipient(shop.manager, **{"key": MODEL, "license_key": LICENSE, **options})
    assert not shop.key.exported


def test_a_key_that_encrypts_nothing_is_not_exported(shop: Workshop) -> None:
    old = shop.key
    shop.manager.rotate([MODEL], license_key=LICENSE)
    with pytest.raises(RefusedError):
        export_recipient(shop.manager, old.key_id, license_key=LICENSE)
    shop.manager.revoke(model=MODEL, reason="over")
    with pytest.raises(RevokedError):
        export_recipient(shop.manager, MODEL, license_key=LICENSE)


def test_an_existing_file_stays_unless_forced(shop: Workshop) -> None:
    path = shop.folder / "model.pub"
    path.write_text("mine")
    with pytest.raises(RefusedError):
        export_recipient(shop.manager, MODEL, path, license_key=LICENSE)
    assert (path.read_text(), shop.key.exported) == ("mine", False)
    export_recipient(shop.manager, MODEL, path, license_key=LICENSE, force=True)
    assert read_recipient(path).key_id == shop.key.key_id


def test_a_repeated_operation_exports_once(shop: Workshop) -> None:
    first = export_recipient(shop.manager, MODEL, license_key=LICENSE, operation_id="ci-1")
    again = export_recipient(shop.manager, MODEL, license_key=LICENSE, operation_id="ci-1")
    assert (first.changed, again.changed) == (True, False)
    assert again.recipient == first.recipient
    assert [record.event for record in shop.manager.audit_records()].count("export-public") == 1
