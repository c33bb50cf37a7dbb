"""What operations on a keystore cost, in calls, transactions and bytes; `make bench` has the milliseconds.

Bounds on all calls are twice what was counted: another version of Python or of a library may count a little otherwise.
"""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.counting import HMAC, OPEN, PROCESS, SEAL, SQL, STRETCH, SYNC, calls_of
from tests.keystores import LICENSE, Desk, desk_in_memory
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id

pytestmark = pytest.mark.untraced

MANY = 1_000
FEW = 100


@pytest.fixture(scope="module")
def large() -> Iterator[Desk]:
    """A keystore of MANY keys without a license."""
    with desk_in_memory() as desk:
        desk.manager().generate("many", no_license=True, count=MANY)
        yield desk


@pytest.fixture(scope="module")
def medium() -> Iterator[Desk]:
    """The same of FEW."""
    with desk_in_memory() as desk:
        desk.manager().generate("many", no_license=True, count=FEW)
        yield desk


@pytest.fixture(scope="module")
def small() -> Iterator[Desk]:
    with desk_in_memory() as desk:
        desk.manager().generate("many", license_key=LICENSE, count=10)
        yield desk


def warm(operation: Callable[[], object]) -> Counter[str]:
    """The calls of the second of two runs: the first imports modules and fills caches."""
    operation()
    return calls_of(operation)


def test_a_binding_is_checked_from_what_was_read_before(small: Desk) -> None:
    manager = small.manager()
    key = manager.find("many-0001").key_id
    calls = warm(lambda: manager.validate_hardware_binding(key))
    assert (calls[OPEN], calls[SEAL], calls[SYNC], calls["open"], calls[PROCESS]) == (1, 0, 0, 0, 0)
    assert calls.total() <= 2 * 132


def test_a_batch_is_one_transaction_and_costs_the_same_for_each_key() -> None:
    def batch(count: int) -> Counter[str]:
        names = iter(f"batch-{count}-{turn}" for turn in range(9))
        return warm(lambda: manager.generate(next(names), no_license=True, count=count))

    with desk_in_memory() as desk:
        manager = desk.manager()
        few, many = batch(30), batch(300)
    assert few[SYNC] == many[SYNC] <= 2
    assert many[SEAL] - few[SEAL] == 270 * 5  # the tally and the calendar of the day are sealed once
    assert few[SEAL] <= 30 * 5 + 3
    assert many[STRETCH] == 0
    assert many[HMAC] / 300 <= 2 * 8
    assert many.total() / 300 <= 2 * 583
    assert many.total() <= 10 * few.total()


def test_one_key_and_one_rotation_are_one_transaction_each_and_stretch_the_license_once(small: Desk) -> None:
    manager = small.manager()
    names = iter(f"one-{turn}" for turn in range(9))
    assert calls_of(lambda: manager._session.prepare(LICENSE))[STRETCH] == 1
    one = warm(lambda: manager.generate(next(names), license_key=LICENSE))
    rotation = warm(lambda: manager.rotate(["many-0001"], license_key=LICENSE))
    for calls in (one, rotation):
        assert (calls[STRETCH], calls[PROCESS]) == (0, 0)
        assert calls[SYNC] <= 2
        assert calls[SEAL] <= 12
    assert one.total() <= 2 * 2166
    assert rotation.total() <= 2 * 2710


def test_a_transaction_that_fails_writes_nothing(small: Desk) -> None:
    manager = small.manager()
    session = manager._session

    def failing() -> None:
        try:
            with session.write("operation") as transaction:  # type: ignore[arg-type]
                transaction.record("a-test")
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass

    calls = warm(failing)
    assert (calls[SYNC], calls[SEAL]) == (0, 1)
    assert calls[SQL] <= 2 * 33
    assert calls.total() <= 2 * 1546


def test_one_key_among_many_costs_what_one_among_few_costs(medium: Desk, large: Desk) -> None:
    def opened(desk: Desk) -> Counter[str]:
        manager = desk.manager()

        def open_ten() -> None:
            for number in range(10, 20):
                manager.open_key(f"many-{number:04}", None, use=Use.ENCRYPT).secret.wipe()

        return warm(open_ten)

    few, many = opened(medium), opened(large)
    assert few[OPEN] > 0
    assert many[OPEN] <= 1.2 * few[OPEN]
    assert many.total() <= 1.2 * few.total()


def _one_of(manager: KeyManager, key_id: str) -> dict[str, Callable[[], object]]:
    return {
        "find": lambda: manager.find(key_id),
        "chain": lambda: manager.chain(key_id),
        "validate": lambda: manager.validate([key_id]),
        "list": lambda: manager.select_keys([key_id.rpartition("_")[0]]),
        "rotate": lambda: manager.rotate([key_id], dry_run=True),
        "rotate --due": lambda: manager.rotate(due=True, dry_run=True),
        "status": manager.status,
        "metrics": lambda: (manager.status(), manager.audit_size(), manager.open_intents()),
    }


def test_a_question_about_one_key_reads_as_much_among_many_as_among_few(medium: Desk, large: Desk) -> None:
    def costs(desk: Desk) -> dict[str, Counter[str]]:
        manager = desk.manager()
        key_id = manager.find("many-0042").key_id
        return {name: warm(question) for name, question in _one_of(manager, key_id).items()}

    few, many = costs(medium), costs(large)
    for name, calls in many.items():
        assert 0 < calls[OPEN] <= few[name][OPEN], name
        assert 0 < calls[SQL] <= few[name][SQL] + 2, name  # two rows of one bucket are read together


def test_verifying_takes_no_memory_for_a_key(medium: Desk, large: Desk) -> None:
    def peak(desk: Desk) -> int:
        manager = desk.manager()
        manager.verify()
        tracemalloc.start()
        try:
            manager.verify()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(large) - peak(medium) <= 100 * (MANY - FEW)


def test_the_large_page_cache_is_that_of_transactions_alone(small: Desk) -> None:
    session = small.session()

    def size(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA cache_size").fetchone()[0])

    connection = session.keystore._writer.sqlite
    sizes = [size(connection)]
    with session.write(new_operation_id()) as transaction:
        transaction.record("a-test")
        sizes.append(size(connection))
    assert [*sizes, size(connection)] == [-4096, -65536, -4096]


def test_all_of_many_keys_cost_as_many_times_what_one_costs(medium: Desk, large: Desk) -> None:
    few, many = (warm(desk.manager().validate) for desk in (medium, large))
    assert many.total() <= 1.2 * MANY / FEW * few.total()
    few, many = (calls_of(partial(desk.manager().rotate, every=True)) for desk in (medium, large))
    assert many.total() <= 1.2 * MANY / FEW * few.total()
    assert many[SYNC] == few[SYNC] <= 2
    assert many[SEAL] <= 7 * MANY + 8  # tallies and calendars are sealed once


def test_iterating_many_keys_takes_little_memory(large: Desk) -> None:
    manager = large.manager()
    manager.find("many-0001")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        found = sum(1 for _ in iter(manager.keys()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found >= MANY
    assert peak - before <= 2 * 10 * 2**20 * found / 10_000 + 2**20


def test_a_revocation_check_reads_one_row(small: Desk) -> None:
    manager = small.manager()
    key = manager.find("many-0003").key_id
    calls = warm(lambda: manager.is_revoked(key))
    assert (calls[OPEN], calls[SEAL], calls[SYNC], calls["open"]) == (1, 0, 0, 0)
    assert calls.total() <= 2 * 135


def test_size_on_disk(large: Desk) -> None:
    large.close()
    keys, total = large.rows("SELECT sum(kind = 1), sum(length(sealed)) FROM record")[0]
    assert total / keys <= 1024
    manager = KeyManager(large.folder)
    try:
        assert manager.audit_size() > MANY
    finally:
        manager.close()
