"""revoke: immediate, final, with or without a successor, and what it tells about containers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE, Desk, container, error_of, events
from tiktrue_keys.core.keys.lifecycle import Status, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import NotFoundError, RefusedError, RevokedError, UsageError, WrongLicenseError


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    """llama in three generations, plain without a license."""
    made = desk.manager()
    made.generate("llama", license_key=LICENSE)
    made.rotate(["llama"], license_key=LICENSE)
    made.rotate(["llama"], license_key=LICENSE)
    made.generate("plain", no_license=True)
    return made


def statuses(manager: KeyManager, model: str = "llama") -> list[str]:
    return [key.status.value for key in manager.chain(model)]


def test_one_key_the_others_stay(manager: KeyManager, desk: Desk) -> None:
    second = manager.chain("llama")[1]
    result = manager.revoke([second.key_id], reason="  lost  ")
    assert statuses(manager) == ["rotating", "revoked", "active"]
    assert (result.keys[0].revoked_at, result.keys[0].revoke_reason) == (desk.clock.now, "lost")


def test_a_model_means_all_its_generations(manager: KeyManager) -> None:
    result = manager.revoke(model="llama", reason="lost")
    assert statuses(manager) == ["revoked"] * 3
    assert len(result.keys) == 3
    assert manager.find("plain").status is Status.ACTIVE


def test_all_generations_of_all_chains(manager: KeyManager) -> None:
    manager.generate("plain", no_license=True, new_chain=True)
    assert len(manager.revoke(model="plain", reason="lost").keys) == 2


def test_it_needs_no_license(manager: KeyManager, desk: Desk) -> None:
    def never() -> str:
        raise AssertionError("the license was read")

    assert manager.revoke(["llama"], reason="lost", license_key=never).changed


@pytest.mark.parametrize(
    "request_",
    [
        {"reason": "x"},
        {"reason": "x", "keys": ["llama"], "model": "llama"},
        {"keys": ["llama"], "reason": ""},
        {"keys": ["llama"], "reason": " \n"},
        {"keys": ["llama"], "reason": "x" * 201},
        {"keys": ["llama"], "reason": "two\nlines"},
        {"keys": ["llama"], "reason": "\x1b[2J"},
        {"keys": ["llama"], "reason": "x", "rotate": True},
    ],
    ids=str,
)
def test_usage(manager: KeyManager, request_: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        manager.revoke(**request_)
    assert statuses(manager) == ["rotating", "rotating", "active"]


def test_what_is_revoked_or_unknown_cannot_be_revoked(manager: KeyManager) -> None:
    manager.revoke(["plain"], reason="lost")
    assert isinstance(error_of(lambda: manager.revoke(["plain"], reason="again")), RevokedError)
    assert isinstance(error_of(lambda: manager.revoke(model="plain", reason="again")), RevokedError)
    assert isinstance(error_of(lambda: manager.revoke(["nothing"], reason="x")), NotFoundError)
    assert isinstance(error_of(lambda: manager.revoke(model="nothing", reason="x")), NotFoundError)
    assert manager.find("plain").revoke_reason == "lost"


def test_several_keys_are_one_operation_or_none(manager: KeyManager) -> None:
    with pytest.raises(NotFoundError):
        manager.revoke(["llama", "nothing"], reason="x")
    assert statuses(manager) == ["rotating", "rotating", "active"]


def test_with_a_successor_in_the_same_operation_without_overlap(manager: KeyManager) -> None:
    result = manager.revoke(["llama"], reason="lost", rotate=True, license_key=LICENSE)
    (rotation,) = result.successors
    assert rotation.new is not None
    assert manager.find("llama") == rotation.new
    assert (rotation.new.generation, rotation.new.predecessor) == (4, rotation.old.key_id)
    assert rotation.old.overlap_ends_at == rotation.old.revoked_at
    assert statuses(manager) == ["rotating", "rotating", "revoked", "active"]
    with manager.open_key("llama", LICENSE, use=Use.ENCRYPT) as opened:
        assert len(opened.secret) == 32
    records = list(manager.audit_records())
    assert [record.event for record in records[-2:]] == ["revoke", "rotate"]
    assert len({record.operation_id for record in records[-2:]}) == 1
    event = manager.rotation_event(rotation.old.key_id)
    assert event is not None
    assert event.new_key_id == rotation.new.key_id


def test_a_whole_model_gets_one_successor(manager: KeyManager) -> None:
    result = manager.revoke(model="llama", reason="lost", rotate=True, license_key=LICENSE)
    assert len(result.successors) == 1
    assert statuses(manager) == ["revoked"] * 3 + ["active"]


@pytest.mark.parametrize("license_key", [OTHER_LICENSE, "a stranger's license"])
def test_the_successor_is_made_under_the_keys_own_license_or_nothing_is_done(
    manager: KeyManager, license_key: str
) -> None:
    manager.generate("mistral", license_key=OTHER_LICENSE, new_license=True)
    with pytest.raises(WrongLicenseError):
        manager.revoke(["llama"], reason="lost", rotate=True, license_key=license_key)
    assert statuses(manager) == ["rotating", "rotating", "active"]


def test_a_key_without_license_gets_a_successor_without_one(manager: KeyManager) -> None:
    (rotation,) = manager.revoke(["plain"], reason="lost", rotate=True).successors
    assert rotation.new is not None
    assert rotation.new.license_tag is None


def test_a_dry_run_changes_nothing(manager: KeyManager) -> None:
    size = manager.audit_size()
    result = manager.revoke(model="llama", reason="x", rotate=True, license_key=LICENSE, dry_run=True)
    assert (len(result.keys), result.changed, result.dry_run) == (3, False, True)
    assert manager.audit_size() == size
    assert statuses(manager) == ["rotating", "rotating", "active"]


def test_containers_under_it_need_more_than_a_rewrap_and_it_says_so(manager: KeyManager) -> None:
    key = manager.find("llama")
    manager.register(container(key))
    manager.register(container(key, manager.find("plain"), file_id=b"2" * 16, path="/models/both.ttm"))
    result = manager.revoke(["llama"], reason="lost")
    assert [record.path for record in result.containers] == ["/models/both.ttm", "/models/llama.ttm"]
    (notice,) = [notice for notice in result.warnings if notice.code == "needs-reencryption"]
    assert "a rewrap is not enough" in notice.message
    assert notice.remedy == "reencrypt-containers"


def test_an_opened_key_is_forgotten_at_once(manager: KeyManager, desk: Desk) -> None:
    with desk.manager() as other:
        for one in (manager, other):
            one.open_key("llama", LICENSE, use=Use.ENCRYPT).secret.wipe()
        manager.revoke(["llama"], reason="lost")
        for one in (manager, other):
            error = error_of(lambda one=one: one.open_key("llama", LICENSE, use=Use.ENCRYPT))  # type: ignore[misc]
            assert isinstance(error, RevokedError)


def test_one_that_is_revoked_while_the_license_is_asked_for_does_not_open(manager: KeyManager, desk: Desk) -> None:
    def ask() -> str:
        desk.manager().revoke(["llama"], reason="lost")
        return LICENSE

    assert isinstance(error_of(lambda: manager.open_key("llama", ask, use=Use.ENCRYPT)), RevokedError)


def test_a_destroyed_key_cannot_be_revoked(manager: KeyManager) -> None:
    key = manager.find("plain").key_id
    manager.revoke([key], reason="lost")
    manager.cleanup([key], after=0)
    manager.cleanup([key], after=0)
    assert manager.find(key).status is Status.DESTROYED
    assert isinstance(error_of(lambda: manager.revoke([key], reason="again")), RefusedError)


def test_the_reason_is_in_the_record(manager: KeyManager) -> None:
    manager.revoke(["llama"], reason="lost on the train")
    record = list(manager.audit_records())[-1]
    assert (record.event, record.before, record.after) == ("revoke", "active", "revoked")
    assert record.detail["reason"] == "lost on the train"
    assert ("revoke", "ok") in events(manager)
