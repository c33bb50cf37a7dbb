"""Operation ids: an operation is done once. A repetition gives the first result, another request is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE, Desk, answers, container, error_of
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.machine.facts import Fact, FactKind, MachineFacts
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError


@dataclass(frozen=True)
class Operation:
    """An operation to do under an id, what of its result must come again, and requests that differ from it."""

    name: str
    do: Callable[[KeyManager, str, License], Any]
    told: Callable[[Any], list[str]]
    differing: tuple[Callable[[KeyManager, str, License], Any], ...] = ()


def ids(*groups: Any) -> list[str]:
    return [key.key_id for group in groups for key in group]


def generate(manager: KeyManager, name: str, license_key: License, model: str = "new", **more: Any) -> Any:
    return manager.generate(model, license_key=license_key, operation_id=name, **more)


def rotate(manager: KeyManager, name: str, license_key: License, *keys: str, **more: Any) -> Any:
    return manager.rotate(keys, license_key=license_key, operation_id=name, **more)


def revoke(manager: KeyManager, name: str, license_key: License, *keys: str, **more: Any) -> Any:
    return manager.revoke(keys, license_key=license_key, operation_id=name, **({"reason": "x"} | more))


def cleanup(manager: KeyManager, name: str, _: License, *keys: str, **more: Any) -> Any:
    return manager.cleanup(keys, operation_id=name, **({"after": 0} | more))


def forget(manager: KeyManager, name: str, _: License, file_id: bytes = bytes(range(16))) -> Any:
    return manager.forget(file_id, operation_id=name)


def relicense(manager: KeyManager, name: str, license_key: License, new: str = OTHER_LICENSE) -> Any:
    return manager.relicense(license_key, new, operation_id=name)


def export_public(manager: KeyManager, name: str, license_key: License, key: str = "llama", **more: Any) -> Any:
    return manager.export_public(key, license_key, operation_id=name, **more)


def backup(manager: KeyManager, name: str, _: License, file: str = "copy.db", **more: Any) -> Any:
    return manager.backup(manager.path.parent / file, operation_id=name, **more)


def restore(manager: KeyManager, name: str, _: License, file: str = "earlier.db", **more: Any) -> Any:
    return manager.restore(manager.path.parent / file, operation_id=name, **more)


def rebind(manager: KeyManager, name: str, license_key: License) -> Any:
    manager.session._facts = facts_with(manager, Fact(FactKind.DISK, "eui.0025385c01504b9a", "a test"))
    return manager.rebind(license_key, operation_id=name)


def facts_with(manager: KeyManager, *disks: Fact) -> MachineFacts:
    """This machine's, with these disks instead of its own."""
    facts = manager.session.facts()
    return replace(facts, facts=(*(fact for fact in facts.facts if fact.kind is not FactKind.DISK), *disks))


def accept_clock(manager: KeyManager, name: str, _: License) -> Any:
    return manager.accept_clock(operation_id=name)


def rotated(result: Any) -> list[str]:
    return ids(*((rotation.old, rotation.new) for rotation in result.rotations))


MONTH = 30 * 86_400
OPERATIONS = [
    Operation(
        "generate",
        generate,
        lambda result: ids(result.keys),
        (
            partial(generate, model="other"),
            partial(generate, lifetime=MONTH - 1),
            partial(generate, decrypt_for=MONTH),
            partial(generate, labels={"team": "vision"}),
            partial(generate, no_license=True),
            partial(generate, new_chain=True),
            partial(generate, new_license=True),
            partial(generate, material=bytes(range(32))),
            partial(generate, count=2),
        ),
    ),
    Operation(
        "generate from a key",
        partial(generate, material=bytes(range(32))),
        lambda result: ids(result.keys),
        (partial(generate, material=bytes(31) + b"x"), generate),
    ),
    Operation("generate in a batch", partial(generate, count=150), lambda result: ids(result.keys), (generate,)),
    Operation(
        "rotate",
        lambda manager, name, license_key: rotate(manager, name, license_key, "llama"),
        rotated,
        (
            lambda manager, name, license_key: rotate(manager, name, license_key, "lost"),
            lambda manager, name, license_key: rotate(manager, name, license_key, "llama", "lost"),
            lambda manager, name, license_key: rotate(manager, name, license_key, "llama", overlap=0),
            lambda manager, name, license_key: rotate(manager, name, license_key, "llama", lifetime=MONTH),
            lambda manager, name, license_key: rotate(manager, name, license_key, "llama", notify=["client"]),
            lambda manager, name, license_key: rotate(manager, name, license_key, "llama", prepublish=0, notify=["c"]),
            lambda manager, name, license_key: rotate(manager, name, license_key, "llama", notify_all=True),
            partial(rotate, every=True),
            partial(rotate, due=True),
        ),
    ),
    Operation("rotate --all", partial(rotate, every=True), rotated, (partial(rotate, due=True),)),
    Operation(
        "rotate --due",
        partial(rotate, due=True, within=MONTH),
        rotated,
        (partial(rotate, due=True), partial(rotate, due=True, within=MONTH, atomic=True)),
    ),
    Operation(
        "revoke",
        lambda manager, name, license_key: revoke(manager, name, license_key, "llama"),
        lambda result: ids(result.keys),
        (
            lambda manager, name, license_key: revoke(manager, name, license_key, "lost"),
            lambda manager, name, license_key: revoke(manager, name, license_key, "spare"),
            lambda manager, name, license_key: revoke(manager, name, license_key, model="llama"),
            lambda manager, name, license_key: revoke(manager, name, license_key, "llama", reason="y"),
            lambda manager, name, license_key: revoke(manager, name, license_key, "llama", rotate=True),
        ),
    ),
    Operation(
        "revoke --rotate",
        lambda manager, name, license_key: revoke(manager, name, license_key, "llama", rotate=True),
        lambda result: ids(result.keys, *((rotation.old, rotation.new) for rotation in result.successors)),
        (lambda manager, name, license_key: revoke(manager, name, license_key, "llama"),),
    ),
    Operation(
        "cleanup",
        cleanup,
        lambda result: ids(result.marked, result.destroyed),
        (
            partial(cleanup, after=1),
            lambda manager, name, license_key: cleanup(manager, name, license_key, "lost"),
            partial(cleanup, confirm=["lost"]),
            partial(cleanup, cancel=["lost"]),
        ),
    ),
    Operation("forget", forget, lambda result: [result.records[0].path], (partial(forget, file_id=bytes(16)),)),
    Operation("relicense", relicense, lambda result: ids(result.keys), (partial(relicense, new="a third license"),)),
    Operation(
        "export-public",
        export_public,
        lambda result: [result.key.key_id, result.public.hex()],
        (partial(export_public, key="spare"), partial(export_public, destination="/key.pub")),
    ),
    Operation(
        "backup",
        backup,
        lambda result: [str(result.path), str(result.audit_size)],
        (partial(backup, file="copy-2.db"), partial(backup, force=True)),
    ),
    Operation(
        "restore",
        restore,
        lambda result: [str(result.restored.epoch), str(result.restored.audit_size)],
        (partial(restore, file="later.db"), partial(restore, accept_clock=True)),
    ),
    Operation("rebind", rebind, lambda result: [str(result.after)]),
    Operation("accept-clock", accept_clock, lambda _: ["accepted"]),
]
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    made = desk.manager()
    made.session._facts = facts_with(made)
    made.generate("llama", license_key=LICENSE, lifetime=20 * 86_400)
    made.generate("lost", license_key=LICENSE)
    made.generate("spare", license_key=LICENSE)
    made.backup(desk.folder.parent / "earlier.db")
    made.backup(desk.folder.parent / "later.db")
    made.register(container(made.find("llama")))
    made.revoke(["lost"], reason="lost")
    desk.clock.forward(days=15)
    return made


@each_operation
def test_repeating_it_gives_the_first_result_and_changes_nothing(
    manager: KeyManager, desk: Desk, operation: Operation
) -> None:
    first = operation.do(manager, "nightly", LICENSE)
    size = manager.audit_size()
    desk.clock.forward(days=1)
    for one in (manager, desk.manager()):
        again = operation.do(one, "nightly", LICENSE)
        assert operation.told(again) == operation.told(first) != []
        assert getattr(again, "changed", False) is False
        assert getattr(again, "operation_id", "nightly") == "nightly"
    assert manager.audit_size() == size


@each_operation
def test_another_operation_may_not_take_its_id(manager: KeyManager, operation: Operation) -> None:
    operation.do(manager, "nightly", LICENSE)
    word = operation.name.split()[0]
    must_be_refused(manager, *(other.do for other in OPERATIONS if other.name.split()[0] != word))


@each_operation
def test_another_request_may_not_take_its_id(manager: KeyManager, operation: Operation) -> None:
    operation.do(manager, "nightly", LICENSE)
    must_be_refused(manager, *operation.differing)


def must_be_refused(manager: KeyManager, *requests: Callable[[KeyManager, str, License], Any]) -> None:
    """Each is refused, naming the operation id; the refusal's record is all that comes of it."""
    changing = ("records", "verified", "checkpoint")
    before = answers(manager)
    for do in requests:
        error = error_of(partial(do, manager, "nightly", LICENSE))
        assert isinstance(error, RefusedError), (do, error)
        assert "nightly" in error.message
        after = answers(manager)
        assert {name: after[name] for name in after if name not in changing} == {
            name: before[name] for name in before if name not in changing
        }
        (record,) = after["records"][len(before["records"]) :]
        assert (record.outcome, record.operation_id, record.detail["error"]) == ("refused", "nightly", "refused")
        before = after


@each_operation
def test_without_an_id_it_is_another_operation_each_time(manager: KeyManager, operation: Operation) -> None:
    first = {record.operation_id for record in manager.audit_records()}
    operation.do(manager, None, LICENSE)  # type: ignore[arg-type]
    assert len({record.operation_id for record in manager.audit_records()} - first) == 1


@pytest.mark.parametrize(
    "operation",
    [operation for operation in OPERATIONS if operation.name in ("rotate", "rotate --all", "revoke --rotate")],
)
def test_two_who_do_it_at_once_do_it_once(manager: KeyManager, desk: Desk, operation: Operation) -> None:
    firsts: list[Any] = []

    def ask() -> str:  # while this one waits for the license the other one does the same operation
        if not firsts:
            firsts.append(operation.do(desk.manager(), "nightly", LICENSE))
        return LICENSE

    second = operation.do(manager, "nightly", ask)
    assert operation.told(second) == operation.told(firsts[0])
    assert not second.changed
    assert max(key.generation for key in list(manager.keys())) == 2


def test_an_operation_that_failed_may_be_tried_again_under_its_id(manager: KeyManager) -> None:
    assert error_of(lambda: manager.rotate(["llama"], license_key="wrong", operation_id="nightly")) is not None
    assert manager.rotate(["llama"], license_key=LICENSE, operation_id="nightly").changed


def test_the_first_generate_may_be_repeated_too(desk: Desk) -> None:
    first = desk.manager().generate("llama", license_key=LICENSE, operation_id="set-up")
    again = desk.manager().generate("llama", license_key=LICENSE, operation_id="set-up")
    assert first.created_keystore
    assert again.keys == first.keys
    assert not again.changed
