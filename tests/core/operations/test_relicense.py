"""relicense: all keys of one license go over to another in one operation; the keys themselves stay."""

from __future__ import annotations

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE, Desk, error_of
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.relicense import Relicensed
from tiktrue_keys.errors import UsageError, WrongLicenseError


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    made = desk.manager()
    made.generate("llama", license_key=LICENSE, count=3)
    made.generate("plain", no_license=True)
    return made


def secret_of(manager: KeyManager, key: str, license_key: str) -> bytes:
    with manager.open_key(key, license_key, use=Use.DECRYPT) as opened:
        return bytes(opened.secret.view)


def test_every_key_goes_over_and_the_old_license_opens_nothing_any_more(manager: KeyManager) -> None:
    before = [secret_of(manager, f"llama-000{number}", LICENSE) for number in (1, 2, 3)]
    result = manager.relicense(LICENSE, OTHER_LICENSE)
    assert len(result.keys) == 3
    assert [secret_of(manager, f"llama-000{number}", OTHER_LICENSE) for number in (1, 2, 3)] == before
    assert isinstance(error_of(lambda: secret_of(manager, "llama-0001", LICENSE)), WrongLicenseError)
    assert isinstance(error_of(lambda: manager.generate("new", license_key=LICENSE)), WrongLicenseError)
    assert manager.find("plain").license_tag is None
    assert manager.audit_verify() == manager.audit_size()


def test_rotated_and_revoked_generations_go_along(manager: KeyManager) -> None:
    manager.rotate(["llama-0001"], license_key=LICENSE)
    manager.revoke(["llama-0002"], reason="lost")
    manager.relicense(LICENSE, OTHER_LICENSE)
    first = manager.chain("llama-0001")[0].key_id
    assert len(secret_of(manager, first, OTHER_LICENSE)) == 32
    with manager.open_key("llama-0002", OTHER_LICENSE, use=Use.RECOVER_REVOKED) as opened:
        assert len(opened.secret) == 32


def test_a_wrong_old_license_changes_nothing(manager: KeyManager) -> None:
    with pytest.raises(WrongLicenseError):
        manager.relicense("a stranger's", OTHER_LICENSE)
    assert isinstance(error_of(lambda: secret_of(manager, "llama-0001", OTHER_LICENSE)), WrongLicenseError)
    assert len(secret_of(manager, "llama-0001", LICENSE)) == 32


def test_the_same_license_twice_is_a_mistake(manager: KeyManager) -> None:
    with pytest.raises(UsageError):
        manager.relicense(LICENSE, LICENSE)


def test_a_dry_run_plans_only(manager: KeyManager) -> None:
    size = manager.audit_size()
    result = manager.relicense(LICENSE, OTHER_LICENSE, dry_run=True)
    assert (len(result.keys), result.changed) == (3, False)
    assert manager.audit_size() == size


def test_two_licenses_become_one(manager: KeyManager) -> None:
    manager.generate("mistral", license_key=OTHER_LICENSE, new_license=True)
    manager.relicense(LICENSE, OTHER_LICENSE)
    assert len({key.license_tag for key in list(manager.keys()) if key.license_tag}) == 1


def test_repeated_or_done_by_two_at_once_it_is_done_once(manager: KeyManager, desk: Desk) -> None:
    firsts: list[Relicensed] = []

    def ask() -> str:
        if not firsts:
            firsts.append(desk.manager().relicense(LICENSE, OTHER_LICENSE, operation_id="once"))
        return LICENSE

    for old in (ask, LICENSE):
        again = manager.relicense(old, OTHER_LICENSE, operation_id="once")
        assert not again.changed
        assert [key.key_id for key in again.keys] == [key.key_id for key in firsts[0].keys]
