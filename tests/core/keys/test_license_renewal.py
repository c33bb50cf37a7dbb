"""Only the license opens its keys, and an older entry is renewed by the next command that writes with it."""

from __future__ import annotations

import hashlib
import hmac
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.core.first_version import in_the_first_version
from tests.core.keystore import kills
from tests.core.keystore.test_kills import chosen
from tests.keystores import OTHER_LICENSE, Desk, desk_in_memory, error_of, events
from tiktrue_keys.core.derivation import LICENSE_TEXT
from tiktrue_keys.core.keys.license_entries import OWNER, LicenseEntry, entries, find_entry
from tiktrue_keys.core.keys.license_renewal import EVENT
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations.verify import verify_view
from tiktrue_keys.errors import RefusedError, WrongLicenseError

LONG = b"a license of more than 64 bytes, which PBKDF2 would take as its SHA-256"
SHORT = b"short"
HASHED = hashlib.sha256(LONG).digest()
PADDED = SHORT + bytes(3)
ONCE = "0123456789abcdef01234567"


def fill(desk: Desk) -> None:
    with desk.manager() as manager:
        manager.generate("llama", license_key=LONG)
        manager.rotate(["llama"], license_key=LONG)
        manager.generate("mistral", license_key=SHORT, new_license=True)
        manager.generate("plain", no_license=True)
        gone = manager.generate("gone", license_key=LONG).keys[0].key_id
        manager.revoke([gone], reason="a test")


@pytest.fixture(scope="module")
def shop() -> Iterator[tuple[Desk, Path]]:
    """What an older program left: two licenses, of which other texts open the keys too. And a copy of it."""
    with desk_in_memory() as desk:
        in_the_first_version(desk, lambda: fill(desk))
        yield desk, saved(desk, desk.folder.parent / "saved")


@pytest.fixture
def old(shop: tuple[Desk, Path]) -> Desk:
    put_back(*shop)
    return shop[0]


def saved(desk: Desk, copy: Path) -> Path:
    desk.close()
    for folder in (desk.folder, desk.secret.parent):
        shutil.copytree(folder, copy / folder.name)
    return copy


def put_back(desk: Desk, copy: Path) -> None:
    desk.close()
    for folder in (desk.folder, desk.secret.parent):
        shutil.rmtree(folder)
        shutil.copytree(copy / folder.name, folder)


def secret_of(manager: KeyManager, license_key: bytes, key: str = "llama") -> bytes:
    with manager.open_key(key, license_key, use=Use.RECOVER_REVOKED) as opened:
        return bytes(opened.secret.view)


def secrets_of(manager: KeyManager) -> dict[str, bytes]:
    """The secret of every key of both licenses."""
    licensed = [key for key in list(manager.keys()) if key.license_tag is not None]
    texts = {key.key_id: SHORT if key.model_id == "mistral" else LONG for key in licensed}
    return {key_id: secret_of(manager, text, key_id) for key_id, text in texts.items()}


def all_entries(manager: KeyManager) -> dict[str, LicenseEntry]:
    with manager.session.read() as (view, _):
        return {entry.short_tag: entry for entry in entries(view.rows, manager.session.root_keys)}


def versions(manager: KeyManager) -> list[int]:
    return sorted(entry.version for entry in all_entries(manager).values())


def test_until_then_the_other_texts_open_and_readers_change_nothing(old: Desk) -> None:
    before = old.file.read_bytes()
    with old.manager() as manager:
        assert secret_of(manager, LONG) == secret_of(manager, HASHED)
        assert secret_of(manager, SHORT, "mistral") == secret_of(manager, PADDED, "mistral")
    assert old.file.read_bytes() == before


WRITING: dict[str, Callable[[KeyManager, bytes], object]] = {
    "generate": lambda manager, text: manager.generate("new", license_key=text),
    "rotate": lambda manager, text: manager.rotate(["llama"], license_key=text),
    "revoke": lambda manager, text: manager.revoke(["llama"], reason="x", rotate=True, license_key=text),
    "export": lambda manager, text: manager.export_public("llama", text),
}


@pytest.mark.parametrize("name", WRITING)
def test_the_next_command_that_writes_with_it_renews_its_entry_and_keeps_the_keys(old: Desk, name: str) -> None:
    with old.manager() as manager:
        before, tag = secrets_of(manager), manager.find("llama").license_tag
    with old.manager() as manager:
        WRITING[name](manager, LONG)
        found = all_entries(manager)
        renewed = found.pop(str(manager.find("llama").license_tag))
        (other,) = found.values()
        root = bytes(manager.session.root)
        assert (renewed.version, other.version, other.salt) == (2, 1, root)
        assert renewed.short_tag != tag
        assert renewed.salt != root
        assert before.items() <= secrets_of(manager).items()
        (record,) = [each for each in manager.audit_records() if each.event == EVENT]
        assert dict(record.detail) == {"old": tag, "new": renewed.short_tag, "keys": 3}
        for text in (HASHED, LONG + b"\0", hmac.digest(LICENSE_TEXT, LONG, "sha256")):
            assert isinstance(error_of(lambda text=text: secret_of(manager, text)), WrongLicenseError)  # type: ignore[misc]
        with manager.session.read() as (view, now):
            verify_view(view, now)
    with old.manager() as manager:
        manager.generate("more", license_key=LONG)
        assert [event for event, _ in events(manager)].count(EVENT) == 1


def test_relicensing_renews_both(old: Desk) -> None:
    with old.manager() as manager:
        before = secrets_of(manager)
        manager.relicense(LONG, SHORT, operation_id=ONCE)
        (entry,) = all_entries(manager).values()
        assert entry.version == 2
        assert {key.license_tag for key in list(manager.keys())} == {entry.short_tag, None}
        assert {key: secret_of(manager, SHORT, key) for key in before} == before
        again = manager.relicense(LONG, SHORT, operation_id=ONCE)
        assert (again.changed, again.new_license_tag) == (False, entry.short_tag)
        for pair in ((LONG, OTHER_LICENSE), (HASHED, SHORT), (LONG, PADDED)):
            error = error_of(lambda pair=pair: manager.relicense(*pair, operation_id=ONCE))  # type: ignore[misc]
            assert isinstance(error, RefusedError)


def test_without_the_license_no_entry_is_renewed(old: Desk) -> None:
    with old.manager() as manager:
        assert isinstance(error_of(lambda: manager.generate("new", license_key=b"unknown")), WrongLicenseError)
        manager.accept_clock()
        manager.generate("new", no_license=True)
        assert versions(manager) == [1, 1]


def test_a_damaged_keystore_keeps_its_entry_and_rotates_what_is_whole(old: Desk) -> None:
    with old.manager() as manager:
        victim = manager.generate("victim", no_license=True).keys[0].key_id
        name = manager.session.root_keys.tag_of(RecordKind.KEY, victim).hex()
    old.edit(f"UPDATE record SET sealed = zeroblob(length(sealed)) WHERE hex(tag) = upper('{name}')")
    with old.manager() as manager:
        manager.rotate(["llama"], license_key=LONG)
        assert versions(manager) == [1, 1]
        assert "license-not-renewed" in {notice.code for notice in manager.session.notices}


@pytest.mark.skipif(kills.skip_reason() is not None, reason=str(kills.skip_reason()))
def test_a_kill_leaves_the_old_entry_or_the_new_one(old: Desk, tmp_path: Path) -> None:
    with old.manager() as manager:
        manager.accept_clock()
        before = secrets_of(manager)
    copy = saved(old, tmp_path / "saved")

    def operation() -> None:
        old.manager().generate("new", license_key=LONG)

    put_back(old, copy)
    points = kills.kill_points(operation, [old.folder, old.secret.parent], tmp_path / "log")
    states = set()
    for point in chosen(points, 14):
        put_back(old, copy)
        outcome = kills.killed_at(operation, point)
        assert outcome.killed or outcome.acknowledged, point
        with old.manager() as manager:
            states.add((*versions(manager), len(list(manager.keys(["new"])))))
            assert before.items() <= secrets_of(manager).items(), point
            manager.rotate(["llama"], license_key=LONG)
            assert versions(manager) == [2, 2], point  # both were given
            assert manager.audit_verify() == manager.audit_size()
    assert {(1, 1, 0), (1, 2, 1)} <= states <= {(1, 1, 0), (1, 2, 0), (1, 2, 1)}


def test_an_entry_that_needs_a_second_factor_is_refused(desk: Desk) -> None:
    with desk.manager() as manager:
        manager.generate("llama", license_key=LONG)
        prepared = manager.session.prepare(LONG)
        assert prepared is not None
        with manager.session.write(new_operation_id()) as transaction:
            found = find_entry(prepared.stretched, transaction.rows, manager.session.root_keys)
            assert found is not None
            name = found[0].tag.hex()
            record = transaction.rows.get(RecordKind.LICENSE, name)
            assert record is not None
            transaction.rows.put(RecordKind.LICENSE, name, record | {"factor": "a second factor"}, owner=OWNER)
            transaction.record("license-enroll")
        error = error_of(lambda: secret_of(manager, LONG))
        assert isinstance(error, RefusedError)
        assert "needs a second factor" in error.message
        assert isinstance(error_of(lambda: secret_of(manager, SHORT)), WrongLicenseError)
