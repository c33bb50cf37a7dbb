"""Intents and the registry: what is known of files before, during and after an operation on one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.keystores import ACTOR, FILE_ID, LICENSE, NOON, Desk, container, error_of, file_operation, in_a_child
from tiktrue_keys.core.containers import intents
from tiktrue_keys.core.containers.owner_process import describe_process, is_running, this_process
from tiktrue_keys.core.containers.registry import MAX_WRAPS
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, TikTrueKeysError

PATH = "/models/llama.ttm"
NIGHTLY = OperationRequest.of("rewrap", "nightly", {"path": PATH})


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    return desk.manager()


@pytest.fixture
def keys(manager: KeyManager) -> tuple[ManagedKey, ManagedKey]:
    """A key and its successor."""
    manager.generate("llama", license_key=LICENSE)
    manager.rotate(["llama"], license_key=LICENSE)
    first, second = manager.chain("llama")
    return first, second


Keys = tuple[ManagedKey, ManagedKey]


def registered(manager: KeyManager) -> set[str] | None:
    """The key ids under which the container is known, as the registry and as the keys' own lists have it."""
    record = manager.container(FILE_ID)
    listed = {key.key_id for key in list(manager.keys()) if manager.containers(key.key_id)}
    assert listed == (set(record.keys) if record else set())
    return set(record.keys) if record else None


def ids(*keys: ManagedKey) -> set[str]:
    return {key.key_id for key in keys}


class TestAnOperation:
    def test_a_new_file(self, manager: KeyManager, keys: Keys) -> None:
        begun = manager.begin_file_operation(file_operation("encrypt", after=keys[1:], temporary="/models/.llama.tmp"))
        assert manager.open_intents() == (begun,)
        assert (begun.existed, begun.at, begun.process) == (False, NOON, this_process())
        assert registered(manager) == ids(keys[1])
        manager.finish_file_operation(
            begun.operation_id, outcome="ok", keys=frozenset(ids(keys[1])), detail={"size": 7}
        )
        assert manager.open_intents() == ()
        assert registered(manager) == ids(keys[1])
        intent, outcome = list(manager.audit_records())[-2:]
        assert (intent.event, outcome.event, outcome.outcome) == ("intent", "encrypt", "ok")
        assert intent.operation_id == outcome.operation_id == begun.operation_id
        assert outcome.detail == {"file_id": FILE_ID.hex(), "path": PATH, "size": 7}
        assert outcome.key_id == keys[1].key_id

    def test_a_new_file_that_never_came_to_be_is_forgotten(self, manager: KeyManager, keys: Keys) -> None:
        intent = manager.begin_file_operation(file_operation("encrypt", after=keys[1:]))
        manager.finish_file_operation(intent.operation_id, outcome="failed", keys=None)
        assert registered(manager) is None

    def test_between_intent_and_outcome_a_file_counts_under_every_key_that_may_open_it(
        self, manager: KeyManager, keys: Keys
    ) -> None:
        manager.register(container(keys[0]))
        intent = manager.begin_file_operation(file_operation("rewrap", before=keys[:1], after=keys[1:]))
        assert intent.existed
        assert registered(manager) == ids(*keys)
        manager.finish_file_operation(intent.operation_id, outcome="ok", keys=frozenset(ids(keys[1])))
        assert registered(manager) == ids(keys[1])

    @pytest.mark.parametrize("keys_now", [None, frozenset[str]()])
    def test_a_known_file_keeps_what_it_had_when_the_operation_failed(
        self, manager: KeyManager, keys: Keys, keys_now: frozenset[str] | None
    ) -> None:
        manager.register(container(keys[0]))
        intent = manager.begin_file_operation(file_operation("rewrap", before=keys[:1], after=keys[1:]))
        manager.finish_file_operation(intent.operation_id, outcome="failed", keys=keys_now)
        assert registered(manager) == ids(keys[0])

    def test_what_had_the_name_before_is_kept_and_an_earlier_version_said_nothing_of_it(
        self, manager: KeyManager, keys: Keys
    ) -> None:
        begun = file_operation("decrypt", before=keys[:1], after=keys[:1])
        intent = manager.begin_file_operation(replace(begun, before="size=5&ETag=x"))
        assert manager.open_intents() == (intent,)
        stored = intents._intent_json(intent)
        assert intents._intent_of(stored) == intent
        del stored["before"]
        assert intents._intent_of(stored) == replace(intent, before=None)

    def test_another_manager_settles_it(self, manager: KeyManager, desk: Desk, keys: Keys) -> None:
        intent = manager.begin_file_operation(file_operation("rewrap", before=keys[:1], after=keys[1:]))
        desk.close()
        other = desk.manager()
        assert other.open_intents() == (intent,)
        other.finish_file_operation(intent.operation_id, outcome="ok", keys=frozenset(ids(keys[1])))
        error = error_of(
            lambda: manager.finish_file_operation(intent.operation_id, outcome="failed", keys=frozenset(ids(keys[0])))
        )
        assert isinstance(error, IntegrityError)
        assert registered(manager) == ids(keys[1])

    def test_the_same_operation_is_not_begun_twice(self, manager: KeyManager, keys: Keys) -> None:
        manager.begin_file_operation(file_operation("rewrap", before=keys[:1], after=keys[1:]), NIGHTLY)
        again = error_of(
            lambda: manager.begin_file_operation(file_operation("rewrap", before=keys[:1], after=keys[1:]), NIGHTLY)
        )
        assert isinstance(again, RefusedError)

    def test_a_chosen_operation_is_not_done_twice_and_its_end_is_remembered(
        self, manager: KeyManager, keys: Keys
    ) -> None:
        assert manager.finished_file_operation(NIGHTLY) is None
        intent = file_operation("rewrap", before=keys[:1], after=keys[1:])
        manager.begin_file_operation(intent, NIGHTLY)
        manager.finish_file_operation("nightly", outcome="ok", keys=frozenset(ids(keys[1])))
        assert manager.finished_file_operation(NIGHTLY) == (FILE_ID, PATH)
        assert isinstance(error_of(lambda: manager.begin_file_operation(intent, NIGHTLY)), RefusedError)
        for operation_name, path in (("encrypt", PATH), ("rewrap", "/models/mistral.ttm")):
            other = OperationRequest.of(operation_name, "nightly", {"path": path})
            assert isinstance(error_of(lambda other=other: manager.finished_file_operation(other)), RefusedError)  # type: ignore[misc]

    def test_one_that_failed_may_be_begun_again(self, manager: KeyManager, keys: Keys) -> None:
        intent = file_operation("rewrap", before=keys[:1], after=keys[1:])
        manager.begin_file_operation(intent, NIGHTLY)
        manager.finish_file_operation("nightly", outcome="failed", keys=None)
        assert manager.begin_file_operation(intent, NIGHTLY).operation_id == "nightly"


class TestRegistry:
    def test_a_container_is_found_by_itself_and_by_each_of_its_keys(self, manager: KeyManager, keys: Keys) -> None:
        record = container(*keys)
        manager.register(record)
        assert manager.container(FILE_ID) == record
        assert manager.containers() == manager.containers(keys[0].key_id) == (record,)
        assert manager.container(b"x" * 16) is None

    def test_registering_it_again_as_it_is_writes_nothing(self, manager: KeyManager, keys: Keys) -> None:
        manager.register(container(keys[0]))
        size = manager.audit_size()
        manager.register(container(keys[0]))
        assert manager.audit_size() == size
        manager.register(container(keys[1]))
        assert registered(manager) == ids(keys[1])

    def test_what_is_forgotten_is_gone(self, manager: KeyManager, keys: Keys) -> None:
        manager.register(container(*keys))
        assert manager.forget(FILE_ID).records[0].path == PATH
        assert registered(manager) is None
        assert isinstance(error_of(lambda: manager.forget(FILE_ID)), NotFoundError)

    def test_they_are_listed_by_path(self, manager: KeyManager, keys: Keys) -> None:
        for number, path in enumerate(("/b", "/a", "/c")):
            manager.register(container(keys[0], file_id=bytes([number]) * 16, path=path))
        assert [record.path for record in manager.containers()] == ["/a", "/b", "/c"]

    @pytest.mark.parametrize(
        "path", ["/" + "x" * 4095, "/" + "\N{SNOWMAN}" * 1300, "/new\nline", "/raw \udcff", "/\x1b[2J"]
    )
    def test_a_path_comes_back_as_it_was(self, manager: KeyManager, desk: Desk, keys: Keys, path: str) -> None:
        record = container(keys[0], path=path)
        manager.register(record)
        intent = manager.begin_file_operation(file_operation("rewrap", before=keys[:1], after=keys[1:], path=path))
        assert intent.path == path
        desk.close()
        assert manager.open_intents()[0].path == path
        assert manager.audit_verify() == manager.audit_size()

    def test_more_keys_than_a_container_can_have_are_refused_not_cut(self, manager: KeyManager) -> None:
        manager.generate("many", no_license=True, count=MAX_WRAPS * 2 + 1)
        many = [key for key in list(manager.keys()) if key.model_id.startswith("many")]
        whole = container(*many[:MAX_WRAPS])
        manager.register(whole)
        assert manager.container(FILE_ID) == whole
        error = error_of(lambda: manager.register(container(*many)))
        record = manager.container(FILE_ID)
        assert record is not None
        assert record.keys == (whole.keys if isinstance(error, TikTrueKeysError) else container(*many).keys)


class TestWhoDoesIt:
    def test_this_process_runs(self) -> None:
        assert is_running(this_process())
        assert this_process() == describe_process(os.getpid())

    def test_a_process_that_ended_does_not_even_if_its_number_is_taken_again(self) -> None:
        ended = in_a_child(lambda: this_process().encode()).decode()
        assert not is_running(ended)
        pid, start, boot = this_process().split(":")
        assert not is_running(f"{pid}:{int(start) + 1}:{boot}")
        assert not is_running(f"{pid}:{start}:another-boot")

    @pytest.mark.parametrize("process", ["", "::", "x:1:2", "-1:1:2", "1", "99999999999999999999:1:2", "1:2:3:4"])
    def test_nonsense_does_not(self, process: str) -> None:
        assert not is_running(process)

    def test_a_name_with_blanks_and_parentheses_is_read_right(self, tmp_path: Path) -> None:
        program = tmp_path / "a ) (b"
        program.symlink_to("/bin/sleep")
        pid = os.spawnv(os.P_NOWAIT, program, ["sleep", "60"])
        try:
            assert is_running(describe_process(pid))
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def test_the_actor_is_in_every_record(manager: KeyManager, keys: Keys) -> None:
    manager.register(container(keys[0]))
    assert {record.actor for record in list(manager.audit_records())} == {ACTOR}
