"""rotate: who gets a successor, who is left out and why, and what holds the rest up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE, Desk, container, error_of, events
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import MAX_LIFETIME, Status, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import NotFoundError, RefusedError, RevokedError, UsageError, WrongLicenseError


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    """llama under the first license, mistral under another one, plain without one; each for 30 days."""
    made = desk.manager()
    made.generate("llama", license_key=LICENSE, labels={"team": "a"})
    made.generate("mistral", license_key=OTHER_LICENSE, new_license=True)
    made.generate("plain", no_license=True)
    return made


def never() -> str:
    raise AssertionError("the license was read")


def generations(manager: KeyManager) -> dict[str, int]:
    return {model: manager.find(model).generation for model in ("llama", "mistral", "plain")}


def rotated_models(result: Any) -> list[str]:
    return sorted(rotation.old.model_id for rotation in result.rotations)


def failed_models(manager: KeyManager, result: Any) -> list[str]:
    return sorted(manager.find(failure.key_id).model_id for failure in result.failures)


def test_a_successor_keeps_periods_labels_license_and_binding(manager: KeyManager, desk: Desk) -> None:
    old = manager.find("llama")
    desk.clock.forward(days=3)
    (rotation,) = manager.rotate(["llama"], license_key=LICENSE).rotations
    new = rotation.new
    assert new is not None
    assert (new.lifetime, new.decrypt_until - new.expires_at) == (old.lifetime, old.decrypt_until - old.expires_at)
    assert (new.labels, new.license_tag, new.fingerprint) == (old.labels, old.license_tag, old.fingerprint)
    assert new.created_at == rotation.old.rotated_at == desk.clock.now
    assert rotation.old.overlap_ends_at == desk.clock.now + 7 * DAY
    assert rotation.old.expires_at == old.expires_at
    assert manager.find("plain") == manager.chain("plain")[-1]


def test_another_lifetime_and_overlap(manager: KeyManager, desk: Desk) -> None:
    manager.rotate(["llama"], license_key=LICENSE, lifetime=5 * DAY, overlap=0)
    old, new = manager.chain("llama")
    assert (new.lifetime, old.status) == (5 * DAY, Status.DEPRECATED)
    manager.rotate(["plain"], overlap=DAY)
    assert manager.chain("plain")[0].overlap_ends_at == desk.clock.now + DAY


def test_an_overlap_never_outlasts_the_decryption_period(desk: Desk) -> None:
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE, lifetime=DAY, decrypt_for=DAY)
    desk.clock.forward(days=5)
    manager.rotate(["llama"], license_key=LICENSE, overlap=100 * DAY)
    assert manager.chain("llama")[0].status is Status.DEPRECATED


@pytest.mark.parametrize(
    "terms",
    [
        {"overlap": -1},
        {"overlap": MAX_LIFETIME + 1},
        {"overlap": DAY / 2},
        {"lifetime": 59},
        {"lifetime": DAY * 1.5},
        {"notify": [""]},
        {"notify": ["x" * 129]},
        {"notify": ["a\nb"]},
        {"notify": [f"client{number}" for number in range(257)]},
        {"keys": []},
        {"keys": ["llama"], "every": True},
        {"every": True, "due": True},
    ],
    ids=str,
)
def test_out_of_bounds_is_a_usage_error(manager: KeyManager, terms: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        manager.rotate(**({"keys": ["llama"], "license_key": LICENSE} | terms))
    assert generations(manager) == {"llama": 1, "mistral": 1, "plain": 1}


def test_a_text_in_place_of_a_list_is_one_name_not_its_letters(manager: KeyManager) -> None:
    result = manager.rotate("llama", license_key=LICENSE, notify="client1")
    assert rotated_models(result) == ["llama"]
    assert [request.client for request in result.distributions] == ["client1"]


def test_named_keys_are_one_operation_or_none(manager: KeyManager) -> None:
    with pytest.raises(NotFoundError):
        manager.rotate(["llama", "nothing"], license_key=LICENSE)
    with pytest.raises(WrongLicenseError):
        manager.rotate(["llama", "mistral"], license_key=LICENSE)
    with pytest.raises(UsageError):
        manager.rotate(["llama", "plain"])
    assert generations(manager) == {"llama": 1, "mistral": 1, "plain": 1}
    result = manager.rotate(["llama", "plain", "llama", manager.find("llama").key_id], license_key=LICENSE)
    assert rotated_models(result) == ["llama", "plain"]
    assert generations(manager) == {"llama": 2, "mistral": 1, "plain": 2}


def test_the_old_end_of_a_chain_a_revoked_key_and_a_pending_one_cannot_be_rotated(manager: KeyManager) -> None:
    old = manager.find("llama").key_id
    manager.rotate([old], license_key=LICENSE)
    error = error_of(lambda: manager.rotate([old], license_key=LICENSE))
    assert isinstance(error, RefusedError)
    plain = manager.find("plain").key_id
    manager.revoke(["plain"], reason="lost")
    assert isinstance(error_of(lambda: manager.rotate([plain])), RevokedError)


def test_all_rotates_what_the_license_opens_and_names_the_rest(manager: KeyManager) -> None:
    result = manager.rotate(every=True, license_key=LICENSE)
    assert rotated_models(result) == ["llama", "plain"]
    assert failed_models(manager, result) == ["mistral"]
    assert all(isinstance(failure.error, WrongLicenseError) for failure in result.failures)
    assert generations(manager) == {"llama": 2, "mistral": 1, "plain": 2}


@pytest.mark.parametrize("batch", [{"every": True}, {"due": True}])
@pytest.mark.parametrize("license_key", [None, "a stranger's license"])
def test_without_the_right_license_a_batch_still_rotates_what_needs_none(
    manager: KeyManager, desk: Desk, batch: dict[str, bool], license_key: str | None
) -> None:
    desk.clock.forward(days=25)
    result = manager.rotate(**batch, license_key=license_key)  # type: ignore[arg-type]
    assert rotated_models(result) == ["plain"]
    assert failed_models(manager, result) == ["llama", "mistral"]


def test_due_takes_those_with_a_week_or_a_third_of_their_life_left(manager: KeyManager, desk: Desk) -> None:
    manager.generate("short", no_license=True, lifetime=3 * DAY)
    assert rotated_models(manager.rotate(due=True)) == []
    desk.clock.forward(days=2)
    assert rotated_models(manager.rotate(due=True, license_key=LICENSE)) == ["short"]
    desk.clock.forward(days=20)
    assert "llama" not in rotated_models(manager.rotate(due=True, license_key=LICENSE))
    desk.clock.forward(days=1)
    assert "llama" in rotated_models(manager.rotate(due=True, license_key=LICENSE))


def test_nothing_due_reads_no_license_and_writes_nothing(manager: KeyManager) -> None:
    size = manager.audit_size()
    result = manager.rotate(due=True, license_key=never)
    assert (result.changed, result.rotations, result.failures, result.warnings) == (False, (), (), ())
    assert manager.audit_size() == size


def test_where_no_licensed_key_is_due_no_license_is_read(desk: Desk) -> None:
    manager = desk.manager()
    manager.generate("plain", no_license=True, lifetime=DAY)
    manager.generate("llama", license_key=LICENSE)
    desk.clock.forward(days=1)
    assert rotated_models(manager.rotate(due=True, license_key=never)) == ["plain"]


def test_due_again_has_nothing_left_to_do(manager: KeyManager, desk: Desk) -> None:
    desk.clock.forward(days=40)
    assert rotated_models(manager.rotate(due=True, license_key=LICENSE)) == ["llama", "plain"]
    assert rotated_models(manager.rotate(due=True, license_key=OTHER_LICENSE)) == ["mistral"]
    result = manager.rotate(due=True, license_key=never)
    assert not result.changed


def test_due_with_atomic_is_all_or_nothing(manager: KeyManager, desk: Desk) -> None:
    desk.clock.forward(days=25)
    with pytest.raises(WrongLicenseError):
        manager.rotate(due=True, atomic=True, license_key=LICENSE)
    assert generations(manager) == {"llama": 1, "mistral": 1, "plain": 1}


def test_a_dry_run_plans_and_touches_nothing(manager: KeyManager, desk: Desk) -> None:
    desk.clock.forward(days=25)
    size = manager.audit_size()
    for batch in ({"due": True}, {"every": True}):
        result = manager.rotate(**batch, dry_run=True, license_key=LICENSE)  # type: ignore[arg-type]
        assert rotated_models(result) == ["llama", "plain"]
        assert result.dry_run
        assert not result.changed
        assert {rotation.new for rotation in result.rotations} == {None}
    assert manager.audit_size() == size


def test_a_dry_run_of_named_keys_reads_no_license(manager: KeyManager) -> None:
    assert rotated_models(manager.rotate(["llama"], dry_run=True, license_key=never)) == ["llama"]


def test_a_dry_run_of_a_batch_lists_the_keys_of_other_licenses_as_failed(manager: KeyManager, desk: Desk) -> None:
    desk.clock.forward(days=25)
    size = manager.audit_size()
    for batch in ({"due": True}, {"every": True}):
        result = manager.rotate(**batch, dry_run=True, license_key="another license")  # type: ignore[arg-type]
        assert rotated_models(result) == ["plain"]
        assert [type(failure.error) for failure in result.failures] == [WrongLicenseError, WrongLicenseError]
        assert [failure.key_id.partition("_")[0] for failure in result.failures] == ["llama", "mistral"]
    with pytest.raises(WrongLicenseError):
        manager.rotate(due=True, atomic=True, dry_run=True, license_key="another license")
    assert manager.audit_size() == size + 1  # the refusal


def test_containers_that_still_name_the_old_key_are_listed(manager: KeyManager) -> None:
    manager.register(container(manager.find("llama")))
    result = manager.rotate(["llama"], license_key=LICENSE)
    assert [record.path for record in result.containers] == ["/models/llama.ttm"]
    assert manager.rotate(["plain"]).containers == ()


def test_clients_are_kept_with_the_rotation_however_many(manager: KeyManager) -> None:
    clients = [f"client-{number:03d}-{'x' * 100}" for number in range(256)]
    result = manager.rotate(["llama"], license_key=LICENSE, notify=clients)
    assert sorted(request.client for request in result.distributions) == clients
    event = manager.rotation_event(manager.chain("llama")[0].key_id)
    assert event is not None
    assert event.notified == event.undeliverable == tuple(clients)
    assert event.acknowledged == ()


def test_a_rotation_event_is_one_small_row(manager: KeyManager, desk: Desk) -> None:
    manager.rotate(["llama"], license_key=LICENSE, notify=[f"client{number}" for number in range(50)])
    desk.close()
    assert desk.rows("SELECT max(length(sealed)) FROM record WHERE kind = 5")[0][0] <= 500
    assert desk.rows("SELECT max(length(sealed)) FROM record WHERE kind = 1")[0][0] <= 1024


def test_the_old_secret_stays_and_the_new_one_is_fresh(manager: KeyManager) -> None:
    def secret(key: str, use: Use) -> bytes:
        with manager.open_key(key, LICENSE, use=use) as opened:
            return bytes(opened.secret.view)

    old = secret("llama", Use.ENCRYPT)
    manager.rotate(["llama"], license_key=LICENSE)
    first, second = manager.chain("llama")
    assert secret(first.key_id, Use.DECRYPT) == old != secret(second.key_id, Use.DECRYPT)


FAILING: list[Callable[[KeyManager], object]] = [
    lambda manager: manager.rotate(["llama"], license_key=OTHER_LICENSE),
    lambda manager: manager.rotate(["llama"], license_key="a stranger's"),
    lambda manager: manager.rotate([manager.chain("plain")[0].key_id]),
]


@pytest.mark.parametrize("operation", FAILING, ids=["other license", "unknown license", "has a successor"])
def test_a_failure_is_recorded_and_leaves_all_as_it_was(
    manager: KeyManager, operation: Callable[[KeyManager], object]
) -> None:
    manager.rotate(["plain"])
    before = sorted(manager.keys(), key=lambda key: key.key_id)
    size = manager.audit_size()
    assert error_of(lambda: operation(manager)) is not None
    assert sorted(manager.keys(), key=lambda key: key.key_id) == before
    assert [event for event in events(manager)[size:] if event[1] != "ok"] == [("rotate", "refused")]


def test_a_hundred_failing_keys_are_not_a_hundred_records(desk: Desk) -> None:
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE, count=100, lifetime=DAY)
    manager.generate("mistral", license_key=OTHER_LICENSE, new_license=True, lifetime=DAY)
    desk.clock.forward(days=2)
    size = manager.audit_size()
    result = manager.rotate(due=True, license_key=OTHER_LICENSE)
    assert len(result.failures) == 100
    assert manager.audit_size() - size <= 3
