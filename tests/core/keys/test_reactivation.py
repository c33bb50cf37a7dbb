"""A model that a leak has left without an active key gets one by `rotate`, whatever state the leak met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.keystores import LICENSE, Desk, error_of
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import Status, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError, RevokedError, UsageError


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    made = desk.manager()
    made.generate("llama", license_key=LICENSE)
    return made


def ids(manager: KeyManager) -> list[str]:
    return [key.key_id for key in manager.chain("llama")]


def statuses(manager: KeyManager) -> list[str]:
    return [key.status.value for key in manager.chain("llama")]


def prepublish(manager: KeyManager) -> None:
    manager.rotate(["llama"], license_key=LICENSE, prepublish=2 * DAY)


def revoke(manager: KeyManager, generation: int, **options: Any) -> None:
    manager.revoke([ids(manager)[generation - 1]], reason="leak", license_key=LICENSE, **options)


def first_alone(manager: KeyManager, desk: Desk) -> None:
    revoke(manager, 1)


def first_with_a_pending_one(manager: KeyManager, desk: Desk) -> None:
    prepublish(manager)
    revoke(manager, 1)


def the_pending_one(manager: KeyManager, desk: Desk) -> None:
    prepublish(manager)
    revoke(manager, 2)


def both(manager: KeyManager, desk: Desk) -> None:
    prepublish(manager)
    manager.revoke(model="llama", reason="leak")


def the_second_in_the_overlap(manager: KeyManager, desk: Desk) -> None:
    manager.rotate(["llama"], license_key=LICENSE)
    revoke(manager, 2)


def expired_with_a_pending_one(manager: KeyManager, desk: Desk) -> None:
    prepublish(manager)
    desk.clock.forward(days=31)


STATES: dict[Callable[[KeyManager, Desk], None], list[str]] = {
    first_alone: ["revoked", "active"],
    first_with_a_pending_one: ["revoked", "active"],
    the_pending_one: ["rotating", "revoked", "active"],
    both: ["revoked", "revoked", "active"],
    the_second_in_the_overlap: ["rotating", "revoked", "active"],
    expired_with_a_pending_one: ["rotating", "active"],
}


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_rotate_gives_it_one_at_once(
    state: Callable[[KeyManager, Desk], None], manager: KeyManager, desk: Desk
) -> None:
    state(manager, desk)
    done = manager.rotate(["llama"], license_key=LICENSE)

    assert statuses(manager) == STATES[state]
    assert [rotation.new.key_id for rotation in done.rotations if rotation.new] == [ids(manager)[-1]]
    with manager.open_key("llama", LICENSE, use=Use.ENCRYPT) as opened:
        assert opened.key.key_id == ids(manager)[-1]
    assert manager.audit_verify() == manager.audit_size()
    manager.validate(deep=True)


def test_a_key_by_its_id_stays_as_it_is(manager: KeyManager) -> None:
    prepublish(manager)
    revoke(manager, 1)

    for key_id, error in zip(ids(manager), (RevokedError, RefusedError), strict=True):
        raised = error_of(lambda key_id=key_id: manager.rotate([key_id], license_key=LICENSE))  # type: ignore[misc]
        assert isinstance(raised, error)
        assert raised.remedy == "rotate-model"


def test_a_model_that_still_encrypts_waits_for_its_successor(manager: KeyManager) -> None:
    prepublish(manager)

    raised = error_of(lambda: manager.rotate(["llama"], license_key=LICENSE))
    assert raised is not None
    assert raised.remedy == "promote"


def test_generate_beside_a_pending_key_says_rotate(manager: KeyManager) -> None:
    prepublish(manager)
    revoke(manager, 1)

    raised = error_of(lambda: manager.generate("llama", license_key=LICENSE))
    assert raised is not None
    assert raised.remedy == "activate-pending"


def test_a_successor_that_waits_does_not_help(manager: KeyManager) -> None:
    revoke(manager, 1)

    raised = error_of(lambda: manager.rotate(["llama"], license_key=LICENSE, prepublish=DAY))
    assert isinstance(raised, UsageError)
    assert statuses(manager) == ["revoked"]


class TestRevokeWithRotate:
    def test_it_promotes_what_waits(self, manager: KeyManager) -> None:
        prepublish(manager)
        revoke(manager, 1, rotate=True)

        assert statuses(manager) == ["revoked", "active"]

    def test_new_revokes_what_waits_too(self, manager: KeyManager) -> None:
        prepublish(manager)
        revoke(manager, 1, rotate=True, new=True)

        assert statuses(manager) == ["revoked", "revoked", "active"]

    def test_of_the_pending_one(self, manager: KeyManager) -> None:
        prepublish(manager)
        revoke(manager, 2, rotate=True)

        assert statuses(manager) == ["rotating", "revoked", "active"]

    def test_of_an_older_key_makes_nothing(self, manager: KeyManager) -> None:
        manager.rotate(["llama"], license_key=LICENSE)
        revoke(manager, 1, rotate=True)

        assert statuses(manager) == ["revoked", "active"]

    def test_of_the_whole_model(self, manager: KeyManager) -> None:
        prepublish(manager)
        done = manager.revoke(model="llama", reason="leak", rotate=True, license_key=LICENSE)

        assert statuses(manager) == ["revoked", "revoked", "active"]
        assert len(done.successors) == 1
        assert manager.find("llama").status is Status.ACTIVE

    def test_new_needs_rotate(self, manager: KeyManager) -> None:
        assert isinstance(error_of(lambda: revoke(manager, 1, new=True)), UsageError)
