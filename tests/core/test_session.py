"""One keystore as one process uses it: opened when needed, by one thread at a time, never across a fork."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NoReturn

import pytest

from tests.keystores import ACTOR, LICENSE, OTHER_LICENSE, Desk, desk_in_memory, error_of, events, in_a_child, models
from tiktrue_keys.core.audit.record import actor_of_process
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.keystore.lock import writers_lock
from tiktrue_keys.core.keystore.paths import default_folder
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.once import Operation
from tiktrue_keys.core.read_only import SystemLogManager
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import ExpiredError, NotFoundError, Termination, UsageError, WrongMachineError

FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def desk() -> Iterator[Desk]:
    with desk_in_memory() as made:
        made.manager().generate("llama", license_key=LICENSE)
        made.close()
        yield made


def secret_of(manager: KeyManager, key: str = "llama", license_key: str = LICENSE) -> bytes:
    with manager.open_key(key, license_key, use=Use.ENCRYPT) as opened:
        return bytes(opened.secret.view)


class TestOpening:
    def test_nothing_is_opened_before_it_is_needed(self, desk: Desk) -> None:
        manager = desk.manager()
        assert manager._session._keystore is None
        assert manager.path == desk.folder
        manager.find("llama")
        assert manager._session._keystore is not None

    def test_a_closed_one_opens_again_when_it_is_used(self, desk: Desk) -> None:
        with desk.manager() as manager:
            first = secret_of(manager)
            manager.close()
            manager.close()
            assert secret_of(manager) == first
        assert manager.find("llama").generation == 1

    def test_a_keystore_that_comes_later_is_found(self, desk: Desk) -> None:
        desk.folder = desk.folder.with_name("later")
        manager = desk.manager()
        assert isinstance(error_of(lambda: manager.find("llama")), NotFoundError)
        desk.manager().generate("llama", license_key=LICENSE)
        assert manager.find("llama").generation == 1

    @pytest.mark.parametrize("rounds", [0, 99_999, 100_000_001])
    def test_rounds_outside_what_a_keystore_may_ask_for(self, desk: Desk, rounds: int) -> None:
        with pytest.raises(UsageError):
            desk.manager(pbkdf2_rounds=rounds)

    def test_the_actor_is_who_runs_the_process_not_what_the_environment_says(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = actor_of_process("python")
        for name in ("USER", "LOGNAME", "USERNAME", "HOSTNAME"):
            monkeypatch.setenv(name, "mallory")
        assert actor_of_process("python") == before
        assert before.command == "python"

    def test_the_default_folder_is_roots_or_the_users_own(self) -> None:
        folder = default_folder()
        if os.geteuid() == 0:
            assert str(folder) == "/var/lib/tiktrue-keys"
        else:
            assert folder.is_relative_to(os.environ["HOME"])


class TestOneAtATime:
    def test_a_read_inside_a_read_is_a_bug_that_is_told_and_hurts_nobody(self, desk: Desk) -> None:
        session = desk.session()
        try:
            with session.read() as (view, _):
                error_of(lambda: session.read().__enter__())
                assert view.audit.size == 3
            with session.read() as (view, _):
                assert view.audit.get(2).event == "generate"
        finally:
            session.close()

    def test_a_generator_that_is_dropped_half_way_holds_nothing(self, desk: Desk) -> None:
        manager, other = desk.manager(), desk.manager(lock_timeout=0.2)
        for reading in (manager.audit_records(), manager.audit_leaves(), manager.keys()):
            next(iter(reading))
            other.rotate(["llama"], license_key=LICENSE)
        gc.collect()
        assert manager.find("llama").generation == 4

    def test_a_thread_that_closes_does_not_break_the_others(self, desk: Desk) -> None:
        manager = desk.manager()
        wanted = secret_of(manager)
        wrong: list[object] = []
        until = time.monotonic() + 1

        def use() -> None:
            while time.monotonic() < until:
                try:
                    if secret_of(manager) != wanted:
                        wrong.append("another secret")
                except Exception as error:  # noqa: BLE001  any is wrong
                    wrong.append(error)

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            manager.close()
            time.sleep(0.01)
        for thread in threads:
            thread.join()
        assert wrong == []


@FORK
class TestFork:
    def test_a_child_opens_its_own_and_gets_the_same_secrets(self, desk: Desk) -> None:
        manager = desk.manager()
        wanted = secret_of(manager)
        assert in_a_child(lambda: secret_of(manager)) == wanted
        assert secret_of(manager) == wanted

    def test_a_child_that_never_stretched_the_license_itself_does(self, desk: Desk) -> None:
        manager = desk.manager()
        wanted = secret_of(manager)
        assert in_a_child(lambda: secret_of(manager)) == wanted
        assert in_a_child(lambda: str(manager.rotate(["llama"], license_key=LICENSE).changed).encode()) == b"True"
        assert manager.find("llama").generation == 2
        assert secret_of(manager) != wanted

    def test_a_license_that_a_child_adds_is_the_one_that_was_given(self, desk: Desk) -> None:
        manager = desk.manager()
        manager._session.prepare(OTHER_LICENSE)  # stretched before the fork
        made = in_a_child(
            lambda: manager.generate("new", license_key=OTHER_LICENSE, new_license=True).keys[0].key_id.encode()
        )
        assert len(secret_of(desk.manager(), made.decode(), OTHER_LICENSE)) == 32

    def test_parent_and_child_write_at_once(self, desk: Desk) -> None:
        manager = desk.manager()
        manager.find("llama")
        children: list[bytes] = []

        def child(name: str) -> None:
            children.append(in_a_child(lambda: manager.generate(name, license_key=LICENSE).keys[0].model_id.encode()))

        threads = [threading.Thread(target=child, args=(f"child-{number}",)) for number in range(3)]
        for thread in threads:
            thread.start()
        for number in range(5):
            manager.generate(f"parent-{number}", license_key=LICENSE)
        for thread in threads:
            thread.join()
        assert sorted(children) == [b"child-0", b"child-1", b"child-2"]
        assert len(models(manager)) == 9
        assert manager.audit_verify() == 3 + 8

    def test_a_fork_while_another_thread_operations_leaves_both_whole(self, desk: Desk) -> None:
        manager = desk.manager()
        stop = threading.Event()
        made: list[int] = []

        def operation() -> None:
            while not stop.is_set():
                made.append(len(made))
                manager.generate(f"busy-{len(made)}", no_license=True)

        thread = threading.Thread(target=operation)
        thread.start()
        try:
            told = [in_a_child(lambda: str(manager.find("llama").generation).encode()) for _ in range(15)]
        finally:
            stop.set()
            thread.join()
        assert told == [b"1"] * 15
        assert manager.audit_verify() == 3 + len(made)
        assert all(check.ok for check in manager.validate(deep=True).checks)


def test_sessions_come_and_go_without_leaving_anything_open(desk: Desk) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("/proc does not tell")
    desk.manager().rotate(["llama"], license_key=LICENSE)
    desk.close()
    before = descriptors()
    for _ in range(20):
        session = KeystoreSession(desk.session().place, clock=desk.clock, recorder=desk.heard)
        with session.read():
            pass
        session.close()
        with desk.manager() as manager:
            error_of(lambda manager=manager: manager.rotate(["llama"], license_key="wrong"))  # type: ignore[misc]
            error_of(lambda manager=manager: manager.find("nothing"))  # type: ignore[misc]
    gc.collect()
    assert descriptors() <= before + 1
    assert events(desk.manager()).count(("rotate", "refused")) == 20


class TestWhatTheAuditLogCannotHold:
    def test_a_keystore_that_does_not_open_is_reported(self, desk: Desk) -> None:
        desk.secret.write_bytes(bytes(32))
        error = error_of(lambda: desk.manager().find("llama"))
        assert isinstance(error, WrongMachineError)
        assert desk.heard.errors == [(ACTOR, error)]

    def test_one_that_is_not_there_is_not(self, desk: Desk) -> None:
        desk.folder = desk.folder.with_name("later")
        assert isinstance(error_of(lambda: desk.manager().find("llama")), NotFoundError)
        assert desk.heard.errors == []

    def test_a_refusal_is_in_the_audit_log_once_it_is_open(self, desk: Desk) -> None:
        manager = desk.manager()
        error_of(lambda: manager.rotate(["llama"], license_key="wrong"))
        assert events(manager)[-1] == ("rotate", "refused")
        assert desk.heard.errors == []

    def test_a_manager_that_records_elsewhere_uses_the_same_opened_keystore(self, desk: Desk) -> None:
        with desk.manager() as manager:
            size, other = manager.audit_size(), SystemLogManager(manager)
            assert other.path == manager.path
            other.record_use("decrypt", key=other.find("llama"), detail={"to": "stdout"})
            (entry,) = desk.heard.entries
            assert (entry.event, entry.actor, entry.key_id) == ("decrypt", ACTOR, manager.find("llama").key_id)
            assert (entry.number, manager.audit_size()) == (size, size)

    def test_what_it_refuses_is_reported_and_recorded(self, desk: Desk) -> None:
        with desk.manager() as manager, pytest.raises(ExpiredError), SystemLogManager(manager).noting("decrypt"):
            raise ExpiredError("too late")
        assert [str(error) for _, error in desk.heard.errors] == ["too late"]


class TestAnotherProcessHasTheLock:
    """A refusal is recorded as soon as the lock is free, or told elsewhere: it is not lost."""

    def test_it_is_waited_for(self, desk: Desk) -> None:
        manager = desk.manager(lock_timeout=30)
        manager.find("llama")
        with ExitStack() as stack:
            stack.enter_context(writers_lock(desk.folder, timeout=1, actor=ACTOR))
            refused = threading.Thread(target=lambda: error_of(lambda: refuse(manager)))
            refused.start()
            time.sleep(0.2)
        refused.join()
        assert events(manager)[-1] == ("decrypt", "refused")
        assert desk.heard.errors == []
        assert manager.session.notices == []

    def test_it_is_reported_and_said_when_that_takes_too_long(self, desk: Desk) -> None:
        manager = desk.manager(lock_timeout=0.1)
        manager.find("llama")
        with writers_lock(desk.folder, timeout=1, actor=ACTOR):
            error = error_of(lambda: refuse(manager))
            assert isinstance(error, ExpiredError)
            error_of(lambda: refuse(SystemLogManager(manager)))
        assert [str(each) for _, each in desk.heard.errors] == ["too late", "too late"]
        assert events(manager)[-1] == ("generate", "ok")
        notice = manager.session.notices[0]
        assert (notice.code, notice.urgent) == ("not-recorded", True)
        assert notice.message.startswith("this decrypt is not in the audit log: ")

    def test_what_is_never_recorded_is_not_reported_either(self, desk: Desk) -> None:
        manager = desk.manager(lock_timeout=0.1)
        with writers_lock(desk.folder, timeout=1, actor=ACTOR):
            error_of(lambda: manager.rotate(["nothing"], license_key=LICENSE))
        assert desk.heard.errors == []


def refuse(manager: KeyManager) -> None:
    with manager.noting("decrypt"):
        raise ExpiredError("too late")


class TestBeingStopped:
    """SIGTERM in the middle of an operation is recorded as it was before it became no Exception."""

    def test_it_is_the_operations_failure(self, desk: Desk) -> None:
        manager = desk.manager()
        manager.find("llama")
        with pytest.raises(Termination), manager.noting("rotate"):
            raise Termination
        (record,) = list(manager.audit_records())[-1:]
        assert (record.event, record.outcome, record.detail["error"]) == ("rotate", "failed", "terminated")

    def test_a_copy_that_is_not_recorded_goes(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        manager, copy = desk.manager(), desk.folder.parent / "copy.db"

        def stop(*_: object) -> NoReturn:
            raise Termination

        monkeypatch.setattr(Operation, "remember", stop)
        with pytest.raises(Termination):
            manager.backup(copy, operation_id="nightly")
        monkeypatch.undo()
        assert not copy.exists()
        assert manager.backup(copy, operation_id="nightly").changed
