"""Looking at a container without a key, and verifying all of it with one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE
from tests.models.file.test_decrypt import DAMAGE, LENGTH, edit, strip_signature
from tests.models.workshop import MODEL, Workshop, drained
from tiktrue_keys.errors import (
    ExpiredError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    WrongLicenseError,
)
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.inspect import inspect_model
from tiktrue_keys.models.file.open import open_model
from tiktrue_keys.models.file.reencrypt import reencrypt_model
from tiktrue_keys.models.file.verify import Verified, verify_model
from tiktrue_keys.models.format.header_slots import SLOT_SIZE


def verify(shop: Workshop, path: Path, **options: Any) -> Verified:
    return verify_model(shop.manager, path, **{"license_key": LICENSE, **options})


def test_a_container_says_what_it_is(shop: Workshop) -> None:
    sealed = shop.sealed(LENGTH)
    seen = inspect_model(sealed)
    (row,) = shop.manager.containers()
    assert (seen.path, seen.file_id, seen.model_id, seen.name) == (sealed, row.file_id, MODEL, "weights.bin")
    assert (seen.length, seen.segments, seen.size) == (LENGTH, 4, sealed.stat().st_size)
    assert (seen.origin, seen.signature, seen.issuer) == ("keystore", "valid", shop.manager.issuer)
    assert (seen.sequence, seen.slots_equal, seen.piped) == (1, True, False)
    (wrap,) = seen.wraps
    assert (wrap.type, wrap.key_id, wrap.generation) == ("managed-key", shop.key.key_id, 1)
    assert json.loads(json.dumps(seen.to_json()))["wraps"][0]["key_id"] == shop.key.key_id


def test_it_says_what_it_did_not_check(shop: Workshop) -> None:
    seen = inspect_model(shop.sealed())
    assert any("issuer" in words for words in seen.not_verified)
    assert any("header" in words for words in seen.not_verified)
    assert any("signature" in words for words in seen.verified)


def test_inspection_records_nothing_and_needs_no_keystore(shop: Workshop) -> None:
    sealed, before = shop.sealed(), shop.manager.audit_size()
    shutil.move(shop.desk.folder, shop.desk.folder.with_name("away"))
    inspect_model(sealed)
    shutil.move(shop.desk.folder.with_name("away"), shop.desk.folder)
    assert shop.manager.audit_size() == before


def test_signatures_that_are_absent_or_wrong(shop: Workshop) -> None:
    assert inspect_model(shop.unsigned()).signature == "absent"
    sealed = shop.sealed()
    strip_signature(sealed)
    assert inspect_model(sealed).signature == "absent"
    assert not any("signature" in words for words in inspect_model(sealed).verified)


def test_a_header_of_another_name_has_a_wrong_signature(shop: Workshop) -> None:
    from dataclasses import replace

    from tests.models.file.test_decrypt import change_header

    sealed = shop.sealed()
    change_header(sealed, shop.data_key(sealed), lambda header: replace(header, name="other"))
    assert inspect_model(sealed).signature == "wrong"


def test_a_container_from_a_pipe(shop: Workshop) -> None:
    source, path = shop.plain(), shop.folder / "piped.ttm"
    path.write_bytes(drained(lambda sink: encrypt_model(shop.manager, source, sink, key=MODEL, license_key=LICENSE))[1])
    assert inspect_model(path).piped
    assert verify(shop, path).signed


def test_an_interrupted_rewrap_shows(shop: Workshop) -> None:
    sealed = shop.sealed()
    edit(sealed, SLOT_SIZE + 50, b"torn")
    assert not inspect_model(sealed).slots_equal
    assert [notice.code for notice in verify(shop, sealed).warnings] == ["interrupted-rewrap"]


def test_what_is_no_container(shop: Workshop) -> None:
    with pytest.raises(IntegrityError, match="not a model container"):
        inspect_model(shop.plain(100_000))
    with pytest.raises(NotFoundError):
        inspect_model(shop.folder / "absent")


def test_everything_is_verified_and_nothing_written(shop: Workshop) -> None:
    sealed, records = shop.sealed(LENGTH), shop.manager.audit_size()
    seen: list[tuple[int, int | None]] = []
    result = verify(shop, sealed, progress=lambda done, total: seen.append((done, total)))
    assert (result.length, result.segments, result.signed, result.warnings) == (LENGTH, 4, True, ())
    assert result.root == inspect_model(sealed).root
    assert len(result.checks) == 3
    assert seen[-1] == (LENGTH, LENGTH)
    assert shop.names() == {"weights.bin.ttm"}
    assert shop.manager.audit_size() == records


@pytest.mark.parametrize("damage", DAMAGE)
def test_any_damage_is_found(shop: Workshop, damage: str) -> None:
    sealed = shop.sealed(LENGTH)
    DAMAGE[damage](sealed)
    with pytest.raises(IntegrityError):
        verify(shop, sealed, allow_unsigned=True)


@pytest.mark.parametrize("piped", [False, True])
def test_a_segment_forged_by_a_node_with_the_data_key_is_found(shop: Workshop, piped: bool) -> None:
    """Every tag is right; only the signed root tells."""
    source, path = shop.plain(LENGTH), shop.folder / "weights.bin.ttm"
    if piped:
        _, data = drained(lambda sink: encrypt_model(shop.manager, source, sink, key=MODEL, license_key=LICENSE))
        path.write_bytes(data)
    else:
        encrypt_model(shop.manager, source, key=MODEL, license_key=LICENSE)
    source.unlink()
    for index in (0, 2):
        shop.forge(path, index)
        with pytest.raises(IntegrityError):
            verify(shop, path)
        with pytest.raises(IntegrityError):
            decrypt_model(shop.manager, path, license_key=LICENSE)
        with pytest.raises(IntegrityError):
            reencrypt_model(shop.manager, path, license_key=LICENSE)
        with pytest.raises(IntegrityError), open_model(path, shop.manager, LICENSE) as model:
            model.read()
    assert shop.names() == {"weights.bin.ttm"}


def test_an_unsigned_container_is_refused_unless_allowed(shop: Workshop) -> None:
    sealed = shop.unsigned()
    with pytest.raises(RefusedError):
        verify(shop, sealed)
    result = verify(shop, sealed, allow_unsigned=True)
    assert (result.signed, [notice.code for notice in result.warnings]) == (False, ["unsigned"])


def test_the_keys_status_counts(shop: Workshop) -> None:
    sealed = shop.sealed()
    with pytest.raises(WrongLicenseError):
        verify(shop, sealed, license_key=OTHER_LICENSE)
    shop.desk.clock.forward(days=200)
    with pytest.raises(ExpiredError):
        verify(shop, sealed)
    assert verify(shop, sealed, allow_deprecated=True).length == 5000
    shop.manager.revoke(model=MODEL, reason="x")
    with pytest.raises(RevokedError):
        verify(shop, sealed, allow_deprecated=True)


def test_an_expected_root(shop: Workshop) -> None:
    sealed = shop.sealed()
    assert verify(shop, sealed, expected_root=inspect_model(sealed).root).length == 5000
    with pytest.raises(IntegrityError, match="another container"):
        verify(shop, sealed, expected_root=bytes(32))
