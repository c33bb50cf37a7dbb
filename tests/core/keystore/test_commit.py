"""A COMMIT that raises may be durable all the same: the truth is looked up before anybody is told."""

from __future__ import annotations

import gc
import sqlite3
import weakref
from collections.abc import Iterator
from typing import Any, cast

import pytest

from tests.keystores import LICENSE, Desk, error_of, events
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations.verify import verify_view
from tiktrue_keys.errors import BusyError, IntegrityError, TikTrueKeysError, UnavailableError


class FailingConnection:
    """A real connection whose COMMITs fail as told: before or after they did their work; everything else passes."""

    def __init__(self, real: sqlite3.Connection, error: sqlite3.Error, *, after: bool, times: int = 1) -> None:
        self.real = real
        self.error = error
        self.after = after
        self.left = times

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if statement != "COMMIT" or self.left == 0:
            return self.real.execute(statement, *parameters)
        self.left -= 1
        if self.after:
            self.real.execute(statement)
        raise self.error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def failing(manager: KeyManager, error: sqlite3.Error, *, after: bool, times: int = 1) -> FailingConnection:
    """Put a failing connection into the opened manager."""
    keystore = manager._session.keystore
    wrapped = FailingConnection(keystore._writer.sqlite, error, after=after, times=times)
    keystore._writer.sqlite = cast(sqlite3.Connection, wrapped)
    return wrapped


@pytest.fixture
def manager(desk: Desk) -> Iterator[KeyManager]:
    with desk.manager() as made:
        made.generate("llama", license_key=LICENSE)
        yield made


IO_ERROR = sqlite3.OperationalError("disk I/O error")


def test_durable_all_the_same_is_a_success(manager: KeyManager, desk: Desk) -> None:
    wrapped = failing(manager, IO_ERROR, after=True)
    rotated = manager.rotate(["llama"], license_key=LICENSE)
    assert wrapped.left == 0
    assert rotated.changed
    assert manager.find("llama").generation == 2
    assert events(manager)[-1] == ("rotate", "ok")
    desk.close()
    assert manager.audit_verify() == 4


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (IO_ERROR, UnavailableError),
        (sqlite3.OperationalError("database or disk is full"), UnavailableError),
        (sqlite3.OperationalError("database is locked"), BusyError),
        (sqlite3.DatabaseError("database disk image is malformed"), IntegrityError),
    ],
)
def test_not_durable_is_a_failure_that_left_everything_as_it_was(
    manager: KeyManager, desk: Desk, raised: sqlite3.Error, kind: type[TikTrueKeysError]
) -> None:
    before = manager.find("llama")
    failing(manager, raised, after=False)
    error = error_of(lambda: manager.rotate(["llama"], license_key=LICENSE, operation_id="nightly"))
    assert isinstance(error, kind)
    assert manager.find("llama") == before
    assert ("rotate", "ok") not in events(manager)
    assert not manager._session.keystore._writer.sqlite.in_transaction
    repeated = manager.rotate(["llama"], license_key=LICENSE, operation_id="nightly")
    assert repeated.changed
    assert manager.find("llama").generation == 2
    desk.close()
    assert manager.validate(deep=True).checks[0].ok


def test_a_failure_that_can_be_recorded_is(manager: KeyManager) -> None:
    failing(manager, IO_ERROR, after=False)
    error_of(lambda: manager.rotate(["llama"], license_key=LICENSE))
    assert events(manager)[-1] == ("rotate", "failed")


def test_one_that_cannot_be_recorded_is_still_told(manager: KeyManager) -> None:
    failing(manager, IO_ERROR, after=False, times=9)
    assert isinstance(error_of(lambda: manager.rotate(["llama"], license_key=LICENSE)), UnavailableError)
    assert manager.find("llama").generation == 1
    assert events(manager)[-1] == ("generate", "ok")


def test_an_operation_of_many_keys_is_all_or_nothing(manager: KeyManager) -> None:
    manager.generate("batch", license_key=LICENSE, count=20)
    failing(manager, IO_ERROR, after=False)
    assert error_of(lambda: manager.rotate(every=True, license_key=LICENSE)) is not None
    assert {key.generation for key in list(manager.keys())} == {1}
    failing(manager, IO_ERROR, after=True)
    assert len(manager.rotate(every=True, license_key=LICENSE).rotations) == 21


def test_an_exception_inside_an_operation_leaves_no_transaction_open(manager: KeyManager) -> None:
    session = manager._session

    def interrupted() -> None:
        with session.write(new_operation_id()) as transaction:
            transaction.record("interrupted")
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(ZeroDivisionError), session.read():
            raise ZeroDivisionError
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    assert not session.keystore._writer.sqlite.in_transaction
    assert events(manager)[-1] == ("generate", "ok")
    assert manager.rotate(["llama"], license_key=LICENSE).changed


def test_the_rows_of_a_transaction_are_freed_when_it_ends(manager: KeyManager) -> None:
    gc.disable()  # rows in a reference cycle would wait for the collector, those of many transactions at a time
    try:
        with manager.session.write(new_operation_id()) as transaction:
            transaction.record("forget", model_id="llama")
            rows = weakref.ref(transaction.rows)
        del transaction
        assert rows() is None
    finally:
        gc.enable()


def test_a_creation_whose_commit_fails_leaves_no_keystore_and_a_manager_that_goes_on(desk: Desk) -> None:
    class Clock:
        calls = 0

        def __call__(self) -> float:
            self.calls += 1
            if self.calls == 2:  # between the making of the mark and the commit
                raise OSError("a clock that fails")
            return float(desk.clock.now)

    with desk.manager(clock=Clock()) as manager:
        with pytest.raises(OSError, match="a clock that fails"):
            manager.generate("llama", license_key=LICENSE)
        assert not manager.exists()
        assert type(error_of(lambda: manager.find("llama"))).__name__ == "NotFoundError"
        assert list(desk.secret.parent.glob("*.mark")) == []
        manager.generate("llama", license_key=LICENSE)
        assert manager.find("llama").generation == 1


def test_a_transaction_that_forgets_what_it_has_read_is_whole(desk: Desk) -> None:
    with desk.manager() as manager:
        manager.generate("llama", no_license=True)
        with manager.session.write(new_operation_id()) as transaction:
            rows = transaction.rows
            for number in range(200):
                rows.put(RecordKind.COUNTER, str(number), {"day": number, "counts": {}})
                if number % 50 == 0:
                    rows.release()
                    assert rows._buckets == {}
            for number in range(0, 200, 2):
                rows.put(RecordKind.COUNTER, str(number), {"day": -number, "counts": {}})
            rows.release()
            for number in range(0, 200, 3):
                assert rows.delete(RecordKind.COUNTER, str(number))
            transaction.record("clock-accept")
    with desk.manager() as manager, manager.session.read() as (view, now):
        verify_view(view, now)
        found = {payload["day"] for payload in view.rows.scan(RecordKind.COUNTER)}
        assert found == {number * (1 if number % 2 else -1) for number in range(200) if number % 3}
