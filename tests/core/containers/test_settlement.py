"""What an operation on a file does to other containers' rows: in the transaction of its outcome, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.keystores import FILE_ID, LICENSE, NOON, Desk, file_operation
from tiktrue_keys.core.containers.intents import FileIntent, Settlement
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError

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
