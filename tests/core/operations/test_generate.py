"""generate: what a new key may be, in which number, and what stands in its way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.keystores import LICENSE, NOON, OTHER_LICENSE, Desk, error_of, events, models
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import MAX_LIFETIME, Status, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError, UsageError


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    return desk.manager()


def secret_of(manager: KeyManager, key: str, license_key: str | None = LICENSE) -> bytes:
    with manager.open_key(key, license_key, use=Use.ENCRYPT) as opened:
        return bytes(opened.secret.view)


def test_a_key_has_the_periods_and_labels_that_were_asked_for(manager: KeyManager) -> None:
    labels = {"team": "a", "ü": "\N{SNOWMAN}" * 64, "empty": ""}
    (key,) = manager.generate("llama", license_key=LICENSE, lifetime=2 * DAY, decrypt_for=3 * DAY, labels=labels).keys
    assert (key.created_at, key.expires_at, key.decrypt_until) == (NOON, NOON + 2 * DAY, NOON + 5 * DAY)
    assert manager.find("llama") == key
    assert dict(key.labels) == labels
    with pytest.raises(TypeError):
        key.labels["team"] = "b"  # type: ignore[index]


@pytest.mark.parametrize(("lifetime", "decrypt_for"), [(60, 0), (MAX_LIFETIME, MAX_LIFETIME)])
def test_the_shortest_and_the_longest_periods(manager: KeyManager, lifetime: int, decrypt_for: int) -> None:
    (key,) = manager.generate("llama", license_key=LICENSE, lifetime=lifetime, decrypt_for=decrypt_for).keys
    assert (key.lifetime, key.decrypt_until - key.expires_at) == (lifetime, decrypt_for)


@pytest.mark.parametrize(
    "terms",
    [
        {"lifetime": 59},
        {"lifetime": -1},
        {"lifetime": MAX_LIFETIME + 1},
        {"lifetime": 2**70},
        {"lifetime": 30.5 * DAY},
        {"lifetime": float("nan")},
        {"decrypt_for": -1},
        {"decrypt_for": MAX_LIFETIME + 1},
        {"decrypt_for": 90.0 * DAY},
        {"labels": {"": "x"}},
        {"labels": {"x" * 65: "x"}},
        {"labels": {"x": "y" * 65}},
        {"labels": {"x": "new\nline"}},
        {"labels": {"x\x1b": "y"}},
        {"labels": {"x": "\udcff"}},
        {"labels": {str(number): "" for number in range(17)}},
        {"count": 0},
        {"count": -1},
        {"count": 10_000},
        {"material": b""},
        {"material": bytes(31)},
        {"material": bytes(33)},
        {"material": bytes(32), "count": 2},
        {"no_license": True, "new_license": True},
        {"license_key": None},
        {"operation_id": "a b"},
        {"operation_id": ""},
    ],
    ids=str,
)
def test_what_is_out_of_bounds_is_a_usage_error_before_anything_is_made(
    manager: KeyManager, desk: Desk, terms: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        manager.generate("llama", **({"license_key": LICENSE} | terms))
    assert not desk.folder.exists()


def test_a_batch_is_numbered_and_one_operation(manager: KeyManager) -> None:
    made = manager.generate("llama", license_key=LICENSE, count=12)
    assert [key.model_id for key in made.keys] == [f"llama-{number:04d}" for number in range(1, 13)]
    assert models(manager) == [f"llama-{number:04d}" for number in range(1, 13)]
    assert events(manager).count(("generate", "ok")) == 12
    assert {record.operation_id for record in list(manager.audit_records())} == {made.operation_id}


def test_a_batch_in_which_one_is_refused_makes_none(manager: KeyManager) -> None:
    manager.generate("llama-0007", license_key=LICENSE)
    with pytest.raises(RefusedError):
        manager.generate("llama", license_key=LICENSE, count=12)
    assert models(manager) == ["llama-0007"]


def test_a_model_id_must_leave_room_for_the_number(manager: KeyManager) -> None:
    with pytest.raises(UsageError):
        manager.generate("x" * 92, license_key=LICENSE, count=2)
    assert len(manager.generate("x" * 91, license_key=LICENSE, count=2).keys) == 2


def test_the_callers_own_material_becomes_the_key(manager: KeyManager) -> None:
    manager.generate("llama", license_key=LICENSE, material=bytes(range(32)))
    assert secret_of(manager, "llama") == bytes(range(32))


@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"x"])
def test_one_byte_repeated_is_not_a_key(manager: KeyManager, byte: bytes) -> None:
    with pytest.raises(UsageError, match="one byte repeated"):
        manager.generate("llama", license_key=LICENSE, material=byte * 32)


def test_every_key_has_material_of_its_own(manager: KeyManager) -> None:
    manager.generate("llama", license_key=LICENSE, count=20)
    assert len({secret_of(manager, f"llama-{number:04d}") for number in range(1, 21)}) == 20


def test_a_second_chain_must_be_asked_for_and_makes_the_model_id_ambiguous(manager: KeyManager) -> None:
    first = manager.generate("llama", license_key=LICENSE).keys[0]
    error = error_of(lambda: manager.generate("llama", license_key=LICENSE))
    assert isinstance(error, RefusedError)
    assert error.key_id == first.key_id
    second = manager.generate("llama", license_key=LICENSE, new_chain=True).keys[0]
    ambiguous = error_of(lambda: manager.find("llama"))
    assert isinstance(ambiguous, UsageError)
    assert first.key_id in ambiguous.hint
    assert second.key_id in ambiguous.hint
    assert manager.find(second.key_id[-16:-8]) == second
    assert (second.generation, second.predecessor) == (1, None)


def test_after_revocation_a_model_starts_again(manager: KeyManager) -> None:
    first = manager.generate("llama", license_key=LICENSE).keys[0]
    manager.revoke([first.key_id], reason="lost")
    assert manager.find("llama").status is Status.REVOKED
    second = manager.generate("llama", license_key=LICENSE).keys[0]
    assert manager.find("llama") == second


def test_a_model_may_start_again_as_often_as_it_must(manager: KeyManager) -> None:
    model = "m" * 96
    for _ in range(160):
        manager.generate(model, no_license=True)
        manager.revoke([model], reason="again")
    assert manager.generate(model, no_license=True).keys[0].generation == 1


def test_a_key_without_a_license_is_bound_to_the_machine_alone(manager: KeyManager) -> None:
    (key,) = manager.generate("llama", no_license=True).keys
    assert (key.binding, key.license_tag) == ("machine", None)
    assert len(secret_of(manager, "llama", None)) == 32
    assert events(manager) == [("keystore-create", "ok"), ("generate", "ok")]


def test_a_model_called_like_anothers_short_id_is_not_mistaken_for_it(manager: KeyManager) -> None:
    key = manager.generate("llama", license_key=LICENSE).keys[0]
    short = key.key_id[-16:-8]
    assert manager.find(short) == key
    manager.generate(short, license_key=LICENSE)
    assert isinstance(error_of(lambda: manager.find(short)), UsageError)
    assert manager.find(key.key_id) == key


def test_another_license_waits_until_it_is_asked_for(manager: KeyManager) -> None:
    manager.generate("llama", license_key=LICENSE)
    assert error_of(lambda: manager.generate("mistral", license_key=OTHER_LICENSE)) is not None
    manager.generate("mistral", license_key=OTHER_LICENSE, new_license=True)
    assert manager.find("mistral").license_tag != manager.find("llama").license_tag


@pytest.mark.parametrize("now", [-5, 2**40, 10**12, float("inf"), float("nan")])
def test_a_clock_outside_of_all_years_makes_no_keystore(desk: Desk, now: float) -> None:
    with desk.manager(clock=lambda: now) as manager:
        error = error_of(lambda: manager.generate("llama", license_key=LICENSE))
    assert error is not None
    assert error.code != "internal"
    assert not desk.manager().exists()
