"""What an operation on a file does to other containers' rows: in the transaction of its outcome, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.counting import commits_of
from tests.keystores import FILE_ID, LICENSE, NOON, Desk, file_operation, in_a_child
from tiktrue_keys.core.containers import settlement
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.containers.settlement import Ending, NewContainer, Settlement
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError

FOLDER = "/models/dir.ttm"
OLD, OTHER = b"o" * 16, b"x" * 16


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    return desk.manager()


@pytest.fixture
def key(manager: KeyManager) -> ManagedKey:
    return manager.generate("llama", license_key=LICENSE).keys[0]


def registered(manager: KeyManager, key: ManagedKey, file_id: bytes, path: str) -> None:
    manager.register(ContainerRecord(file_id, path, "llama", "a name", frozenset({key.key_id}), NOON))


def begun(manager: KeyManager, key: ManagedKey) -> FileIntent:
    return manager.begin_file_operation(file_operation("encrypt", after=(key,), temporary="/models/.llama.tmp"))


def rows(manager: KeyManager) -> dict[bytes, str]:
    return {record.file_id: record.path for record in manager.containers()}


@pytest.mark.parametrize("path", ["/models/llama.ttm", "/models/llama.ttm/a/b.ttm", "/models/.llama.tmp/b.ttm"])
def test_what_was_replaced_is_forgotten_with_the_outcome(manager: KeyManager, key: ManagedKey, path: str) -> None:
    registered(manager, key, OLD, path)
    intent = begun(manager, key)
    assert set(rows(manager)) == {OLD, FILE_ID}
    others = Settlement(gone=[OLD])
    manager.finish_file_operation(intent.operation_id, outcome="ok", keys=frozenset({key.key_id}), others=others)
    assert rows(manager) == {FILE_ID: "/models/llama.ttm"}
    assert [record.file_id for record in manager.containers(key.key_id)] == [FILE_ID]
    last = list(manager.audit_records())[-2:]
    assert [(record.event, record.operation_id) for record in last] == [
        ("forget", intent.operation_id),
        ("encrypt", intent.operation_id),
    ]
    assert last[0].detail == {"file_id": OLD.hex(), "path": path}


@pytest.mark.parametrize("path", ["/models/llama.ttm2", "/models/phi.ttm", "/models"])
def test_what_is_known_to_lie_elsewhere_stays(manager: KeyManager, key: ManagedKey, path: str) -> None:
    registered(manager, key, OLD, path)
    intent = begun(manager, key)
    others = Settlement(gone=[OLD, OTHER])
    manager.finish_file_operation(intent.operation_id, outcome="ok", keys=frozenset({key.key_id}), others=others)
    assert rows(manager)[OLD] == path


def test_what_moved_is_followed(manager: KeyManager, key: ManagedKey) -> None:
    registered(manager, key, OLD, "/models/.llama.tmp/b.ttm")
    registered(manager, key, OTHER, "/models/llama.ttm/c.ttm")
    before = {record.file_id: record for record in manager.containers()}
    intent = begun(manager, key)
    new = "/models/llama.ttm/b.ttm"
    others = Settlement({OLD: new, OTHER: "/models/llama.ttm/c.ttm", b"u" * 16: "/nobody knows it"})
    manager.finish_file_operation(intent.operation_id, outcome="ok", keys=None, others=others)
    assert {record.file_id: record for record in manager.containers()} == before | {OLD: replace(before[OLD], path=new)}
    events = [record.event for record in manager.audit_records()]
    assert events[-3:] == ["intent", "move", "encrypt"]


def test_an_operation_that_was_settled_already_changes_no_row(manager: KeyManager, key: ManagedKey) -> None:
    registered(manager, key, OLD, "/models/llama.ttm")
    intent = begun(manager, key)
    manager.finish_file_operation(intent.operation_id, outcome="failed", keys=None)
    size = manager.audit_size()
    with pytest.raises(IntegrityError, match="settled by another process"):
        manager.finish_file_operation(intent.operation_id, outcome="ok", keys=None, others=Settlement(gone=[OLD]))
    assert (rows(manager), manager.audit_size()) == ({OLD: "/models/llama.ttm"}, size)


# Folders


def folder_begun(manager: KeyManager, key: ManagedKey) -> FileIntent:
    intent = file_operation("encrypt-folder", after=(key,), path=FOLDER, temporary="/models/.dir.tmp")
    return manager.begin_file_operation(intent)


def new_container(key: ManagedKey, number: int) -> NewContainer:
    file_id, path = number.to_bytes(16, "big"), f"{FOLDER}/{number}.ttm"
    record = ContainerRecord(file_id, path, "llama", "a name", frozenset({key.key_id}), NOON)
    return NewContainer(record, "encrypt", {"length": number})


def test_a_folder_keeps_its_key_and_has_no_row(manager: KeyManager, key: ManagedKey) -> None:
    intent = folder_begun(manager, key)
    assert (set(intent.needs), rows(manager)) == ({str(key.key_id)}, {})
    manager.revoke([key.key_id], reason="a test")
    assert manager.cleanup(dry_run=True).kept[0].reason == f"an unfinished encrypt-folder of {FOLDER} needs it"
    manager.finish_file_operation(intent.operation_id, outcome="failed", keys=None)
    assert (rows(manager), manager.cleanup(dry_run=True).kept) == ({}, ())


@pytest.mark.parametrize(("count", "commits"), [(0, 1), (1, 1), (3, 1), (4, 2), (7, 3)])
def test_rows_are_written_in_parts_of_which_the_last_one_closes_the_intent(
    manager: KeyManager, key: ManagedKey, count: int, commits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiktrue_keys.core.manager.ROWS_AT_ONCE", 3)
    intent, made = folder_begun(manager, key), [new_container(key, number) for number in range(count)]
    ending = Ending("ok", None, {"files": count}, Settlement(made=made))
    assert commits_of(lambda: manager.finish_file_operations({intent.operation_id: ending})) == commits
    assert manager.open_intents() == ()
    assert rows(manager) == {new.record.file_id: new.record.path for new in made}
    records = [record for record in manager.audit_records() if record.operation_id == intent.operation_id]
    assert [record.event for record in records] == ["intent", *["encrypt"] * count, "encrypt-folder"]
    assert [record.detail["length"] for record in records[1:-1]] == list(range(count))
    assert {record.key_id for record in records} == {key.key_id}


def test_a_container_that_has_a_row_keeps_it_at_its_new_place(manager: KeyManager, key: ManagedKey) -> None:
    intent, new = folder_begun(manager, key), new_container(key, 1)
    older = replace(new.record, path="/models/.dir.tmp/1.ttm", name="another name")
    manager.register(older)
    ending = Ending("ok", None, {}, Settlement(made=[new]))
    manager.finish_file_operations({intent.operation_id: ending})
    assert manager.container(new.record.file_id) == replace(older, path=new.record.path)


def test_a_kill_between_two_parts_leaves_the_intent_open(
    manager: KeyManager, key: ManagedKey, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiktrue_keys.core.manager.ROWS_AT_ONCE", 2)
    intent, made = folder_begun(manager, key), [new_container(key, number) for number in range(5)]
    ending = Ending("ok", None, {}, Settlement(made=made))
    manager.close()

    def killed() -> bytes:
        apply, parts = settlement.apply_settlement, iter("12")

        def apply_twice(*given: object) -> None:
            next(parts)
            apply(*given)  # type: ignore[arg-type]

        monkeypatch.setattr("tiktrue_keys.core.containers.intents.apply_settlement", apply_twice)
        with pytest.raises(StopIteration):
            desk.manager().finish_file_operations({intent.operation_id: ending})
        return b"stopped"

    assert in_a_child(killed) == b"stopped"
    assert [left.operation_id for left in manager.open_intents()] == [intent.operation_id]
    assert len(rows(manager)) == 4
    manager.finish_file_operations({intent.operation_id: ending})
    assert (len(rows(manager)), manager.open_intents()) == (5, ())
    events = [record.event for record in manager.audit_records() if record.operation_id == intent.operation_id]
    assert events.count("encrypt") == 5


def test_many_operations_begin_and_end_in_a_transaction_each(manager: KeyManager, key: ManagedKey) -> None:
    begun = [(file_operation("rewrap", after=(key,), file_id=bytes([number] * 16)), None) for number in range(5)]
    intents: list[FileIntent] = []
    assert commits_of(lambda: intents.extend(manager.begin_file_operations(begun))) == 1
    assert len({intent.operation_id for intent in intents}) == len(rows(manager)) == 5
    endings = {intent.operation_id: Ending("ok", frozenset({key.key_id})) for intent in intents}
    assert commits_of(lambda: manager.finish_file_operations(endings)) == 1
    for intent in intents:
        events = [record.event for record in manager.audit_records() if record.operation_id == intent.operation_id]
        assert events == ["intent", "rewrap"]


def test_of_many_operations_one_that_was_settled_stops_all(manager: KeyManager, key: ManagedKey) -> None:
    begun = [(file_operation("rewrap", after=(key,), file_id=bytes([number] * 16)), None) for number in range(2)]
    first, second = manager.begin_file_operations(begun)
    manager.finish_file_operation(second.operation_id, outcome="failed", keys=None)
    endings = {intent.operation_id: Ending("ok", frozenset({key.key_id})) for intent in (first, second)}
    with pytest.raises(IntegrityError, match="settled by another process"):
        manager.finish_file_operations(endings)
    assert [intent.operation_id for intent in manager.open_intents()] == [first.operation_id]
