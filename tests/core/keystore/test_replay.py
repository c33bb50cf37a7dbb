"""Operation ids: an act is done once; whoever repeats it, after a timeout or beside another, gets the first result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.keystores import LICENSE, Desk, container, error_of
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError


@dataclass(frozen=True)
class Act:
    """Something to do under an id, and what of its result must come again."""

    name: str
    do: Callable[[KeyManager, str, License], Any]
    told: Callable[[Any], list[str]]


def ids(*groups: Any) -> list[str]:
    return [key.key_id for group in groups for key in group]


ACTS = [
    Act(
        "generate",
        lambda manager, name, license_key: manager.generate("new", license_key=license_key, operation_id=name),
        lambda result: ids(result.keys),
    ),
    Act(
        "generate in a batch",
        lambda manager, name, license_key: manager.generate(
            "new", license_key=license_key, count=150, operation_id=name
        ),
        lambda result: ids(result.keys),
    ),
    Act(
        "rotate",
        lambda manager, name, license_key: manager.rotate(["llama"], license_key=license_key, operation_id=name),
        lambda result: ids(*((rotation.old, rotation.new) for rotation in result.rotations)),
    ),
    Act(
        "rotate --all",
        lambda manager, name, license_key: manager.rotate(every=True, license_key=license_key, operation_id=name),
        lambda result: ids(*((rotation.old, rotation.new) for rotation in result.rotations)),
    ),
    Act(
        "rotate --due",
        lambda manager, name, license_key: manager.rotate(
            due=True, within=30 * 86_400, license_key=license_key, operation_id=name
        ),
        lambda result: ids(*((rotation.old, rotation.new) for rotation in result.rotations)),
    ),
    Act(
        "revoke",
        lambda manager, name, _: manager.revoke(["llama"], reason="x", operation_id=name),
        lambda result: ids(result.keys),
    ),
    Act(
        "revoke --rotate",
        lambda manager, name, license_key: manager.revoke(
            ["llama"], reason="x", rotate=True, license_key=license_key, operation_id=name
        ),
        lambda result: ids(result.keys, *((rotation.old, rotation.new) for rotation in result.successors)),
    ),
    Act(
        "cleanup",
        lambda manager, name, _: manager.cleanup(after=0, operation_id=name),
        lambda result: ids(result.marked, result.destroyed),
    ),
    Act(
        "forget",
        lambda manager, name, _: manager.forget(bytes(range(16)), operation_id=name),
        lambda result: [result.path],
    ),
]
each_act = pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    made = desk.manager()
    made.generate("llama", license_key=LICENSE, lifetime=20 * 86_400)
    made.generate("lost", license_key=LICENSE)
    made.register(container(made.find("llama")))
    made.revoke(["lost"], reason="lost")
    desk.clock.forward(days=15)
    return made


@each_act
def test_repeating_it_gives_the_first_result_and_changes_nothing(manager: KeyManager, desk: Desk, act: Act) -> None:
    first = act.do(manager, "nightly", LICENSE)
    size = manager.audit_size()
    desk.clock.forward(days=1)
    for one in (manager, desk.manager()):
        again = act.do(one, "nightly", LICENSE)
        assert act.told(again) == act.told(first) != []
        assert getattr(again, "changed", False) is False
        assert getattr(again, "operation_id", "nightly") == "nightly"
    assert manager.audit_size() == size


@each_act
def test_another_act_may_not_take_its_id(manager: KeyManager, act: Act) -> None:
    act.do(manager, "nightly", LICENSE)
    others = [other for other in ACTS if other.name.split()[0] != act.name.split()[0]]
    for other in others:
        error = error_of(lambda other=other: other.do(manager, "nightly", LICENSE))  # type: ignore[misc]
        assert isinstance(error, RefusedError), other.name
        assert "nightly" in error.message


@each_act
def test_without_an_id_it_is_another_act_each_time(manager: KeyManager, act: Act) -> None:
    first = list(manager.audit_records())
    act.do(manager, None, LICENSE)  # type: ignore[arg-type]
    added = list(manager.audit_records())[len(first) :]
    assert len({record.operation_id for record in added}) == 1
    assert added[0].operation_id not in {record.operation_id for record in first}


@pytest.mark.parametrize("act", [act for act in ACTS if act.name in ("rotate", "rotate --all", "revoke --rotate")])
def test_two_who_do_it_at_once_do_it_once(manager: KeyManager, desk: Desk, act: Act) -> None:
    firsts: list[Any] = []

    def ask() -> str:  # while this one waits for the license the other one does the same act
        if not firsts:
            firsts.append(act.do(desk.manager(), "nightly", LICENSE))
        return LICENSE

    second = act.do(manager, "nightly", ask)
    assert act.told(second) == act.told(firsts[0])
    assert not second.changed
    assert max(key.generation for key in list(manager.keys())) == 2


def test_an_act_that_failed_may_be_tried_again_under_its_id(manager: KeyManager) -> None:
    assert error_of(lambda: manager.rotate(["llama"], license_key="wrong", operation_id="nightly")) is not None
    assert manager.rotate(["llama"], license_key=LICENSE, operation_id="nightly").changed


def test_the_first_generate_may_be_repeated_too(desk: Desk) -> None:
    first = desk.manager().generate("llama", license_key=LICENSE, operation_id="set-up")
    again = desk.manager().generate("llama", license_key=LICENSE, operation_id="set-up")
    assert first.created_keystore
    assert again.keys == first.keys
    assert not again.changed
