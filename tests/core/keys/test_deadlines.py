"""The agenda says what reading every key says, at any time, and reads no more for more keys."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.counting import SQL, calls_of
from tests.keystores import Desk
from tiktrue_keys.core.instants import DAY, Instant, Seconds
from tiktrue_keys.core.keys import deadlines
from tiktrue_keys.core.keys.keyring import all_keys, put_key
from tiktrue_keys.core.keys.lifecycle import DEFAULT_WITHIN, Status, is_due
from tiktrue_keys.core.keystore import agenda
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.errors import IntegrityError


def grow(manager: KeyManager, seed: int) -> None:
    """Some months of random operations."""
    chance = random.Random(seed)
    manager.generate("first", no_license=True)
    clock: Callable[[], float] = manager.session.clock
    for number in range(30):
        everything = list(manager.keys())
        keys = [key for key in everything if key.status in (Status.ACTIVE, Status.EXPIRED) and not key.successor]
        deed = chance.choice(["generate", "generate", "rotate", "revoke", "prepublish", "wait", "cleanup"])
        if deed == "generate" or not keys:
            days = chance.choice([1, 5, 30, 400])
            manager.generate(f"m{number}", no_license=True, lifetime=days * DAY, count=chance.choice([1, 3]))
        elif deed == "rotate":
            manager.rotate([chance.choice(keys).key_id], overlap=chance.choice([0, DAY, 9 * DAY]))
        elif deed == "prepublish":
            manager.rotate([chance.choice(keys).key_id], prepublish=DAY)
        elif deed == "revoke":
            manager.revoke([chance.choice(keys).key_id], reason="a test")
        elif deed == "cleanup":
            manager.cleanup(after=0)
        else:
            clock.forward(days=chance.choice([0.2, 3, 20]))  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(6))
def test_it_says_what_all_keys_say(desk: Desk, seed: int) -> None:
    with desk.manager() as manager:
        grow(manager, seed)
        for days in (0, 1, 6.99, 8, 31, 500):
            with manager.session.read() as (view, now):
                then = Instant(now + int(days * DAY))
                must_say_the_same(view.rows, then)


def must_say_the_same(rows: Rows, now: Instant) -> None:
    keys = [stored.key for stored in all_keys(rows, now)]
    for within in (Seconds(DAY), DEFAULT_WITHIN, Seconds(40 * DAY)):
        counts = deadlines.key_counts(rows, now, within)
        due = {key.key_id for key in keys if is_due(key, now, within)}
        assert {stored.key.key_id for stored in deadlines.due_keys(rows, now, within, [])} == due
        assert counts.due == len(due)
        assert {status: count for status, count in counts.by_status.items() if count} == Counter(
            key.status for key in keys
        )
        active = [key.expires_at for key in keys if key.status is Status.ACTIVE]
        assert counts.next_expiry == min(active, default=None)
    deadlines.must_agree(rows, now)


def test_many_that_expire_on_one_day_are_not_read_for_the_first(desk: Desk) -> None:
    with desk.manager() as manager:
        manager.generate("early", no_license=True)
        desk.clock.forward(seconds=60)
        first = manager.generate("batch", no_license=True, count=100).keys[0]
        with manager.session.read() as (view, now):
            counts = deadlines.key_counts(view.rows, now, DEFAULT_WITHIN)
        assert counts.next_expiry == first.expires_at - 60
        manager.revoke(["early"], reason="a test")
        with manager.session.read() as (view, now):
            counts = deadlines.key_counts(view.rows, now, DEFAULT_WITHIN)
        assert counts.next_expiry == first.expires_at - 60  # earlier by less than a day, as documented


def test_with_nothing_due_it_costs_the_same_among_many_keys(desk: Desk) -> None:
    def cost() -> int:
        manager.key_counts()  # what opening costs is counted once, before
        return calls_of(lambda: (manager.key_counts(), manager.rotate(due=True)))[SQL]

    with desk.manager() as manager:
        manager.generate("few", no_license=True, count=70)
        cost()  # the first run of the day renews the heartbeat
        few = cost()
        manager.generate("many", no_license=True, count=400)
        assert cost() == few


def test_where_most_keys_are_due_all_are_read_in_one_pass(desk: Desk) -> None:
    with desk.manager() as manager:
        manager.generate("many", no_license=True, count=200)
        desk.clock.forward(days=24)
        manager.generate("fresh", no_license=True)
        counts = manager.key_counts()
        assert (counts.due, counts.by_status[Status.ACTIVE]) == (200, 201)
        assert counts.next_expiry == min(key.expires_at for key in manager.select_keys())
        assert calls_of(manager.key_counts)[SQL] <= 20


def test_a_key_on_another_day_is_found(desk: Desk) -> None:
    with desk.manager() as manager:
        key = manager.generate("llama", no_license=True).keys[0]
        manager.generate("other", no_license=True)
        with manager.session.write(new_operation_id()) as transaction:
            rows, now = transaction.rows, transaction.now
            (stored,) = [each for each in all_keys(rows, now) if each.key.key_id == key.key_id]
            put_key(rows, replace(stored.key, expires_at=Instant(key.expires_at + 90 * DAY)), stored.wrapped)
            payload = rows.get(RecordKind.KEY, key.key_id)
            assert payload is not None
            old = agenda.day_of(key.expires_at - 7 * DAY)
            rows.put(RecordKind.KEY, key.key_id, payload, Owner(RecordKind.AGENDA, f"due {old}"))
            transaction.record("test")
        with manager.session.read() as (view, now), pytest.raises(IntegrityError, match="agenda"):
            deadlines.must_agree(view.rows, now)


def test_where_the_agenda_is_damaged_every_key_is_read(desk: Desk) -> None:
    with desk.manager() as manager:
        keys = {key.key_id for key in manager.generate("m", no_license=True, count=20).keys}
    desk.clock.forward(days=25)
    assert desk.edit("UPDATE record SET owner = NULL WHERE tag = (SELECT min(tag) FROM record WHERE kind = 1)") == 1
    with desk.manager() as manager:
        rotated = manager.rotate(due=True)
        rotated_ids = {each.old.key_id for each in rotated.rotations}
        assert rotated_ids < keys
        assert len(rotated_ids) >= 15  # a damaged bucket hides its neighbours too
        assert [type(each.error) for each in rotated.failures if each.key_id == ""] == [IntegrityError]
