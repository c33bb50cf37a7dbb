from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.core.audit.records import NOON, record
from tiktrue_keys.core.audit.query import Filter, matching
from tiktrue_keys.core.audit.record import Actor, AuditRecord
from tiktrue_keys.core.instants import Instant

LOG = [
    record(number=0, time=NOON, event="generate", key_id="a_1111111100000000", model_id="a"),
    record(number=1, time=NOON + 10, event="decrypt", key_id="a_1111111100000000", model_id="a"),
    record(number=2, time=NOON + 20, event="decrypt", outcome="refused", key_id="b_2222222200000000", model_id="b"),
    record(number=3, time=NOON + 30, event="revoke", actor=Actor("bob", "node-8", "c"), key_id=None, model_id="b"),
    record(number=4, time=NOON + 40, event="doctor", outcome="failed", key_id=None, model_id=None),
]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Filter(), [0, 1, 2, 3, 4]),
        (Filter(key=("a_1111111100000000",)), [0, 1]),
        (Filter(key=("22222222",)), [2]),
        (Filter(key=("1111111",)), []),
        (Filter(model=("b",)), [2, 3]),
        (Filter(model=("a", "b"), event=("revoke", "generate")), [0, 3]),
        (Filter(event=("decrypt",), outcome=("ok",)), [1]),
        (Filter(outcome=("refused", "failed")), [2, 4]),
        (Filter(actor=("bob",)), [3]),
        (Filter(actor=("root@node-7",)), [0, 1, 2, 4]),
        (Filter(actor=("root@node-8",)), []),
        (Filter(since=Instant(NOON + 20)), [2, 3, 4]),
        (Filter(until=Instant(NOON + 20)), [0, 1]),
        (Filter(since=Instant(NOON + 10), until=Instant(NOON + 11)), [1]),
        (Filter(last=2), [3, 4]),
        (Filter(last=2, event=("decrypt", "generate")), [1, 2]),
        (Filter(last=9), [0, 1, 2, 3, 4]),
        (Filter(last=0), []),
    ],
    ids=str,
)
def test_filter(wanted: Filter, numbers: list[int]) -> None:
    assert [found.number for found in matching(LOG, wanted)] == numbers


def test_administrators_under_sudo_are_told_apart() -> None:
    actors = [
        Actor("root (logged in as ada)", "h", "c", 0, 1000, "eve"),
        Actor("root", "h", "c", 0, None, "bob"),
        Actor("root", "h", "c", 0, None, None),
        Actor("root (logged in as bob)", "h", "c", 0, 1001, "bob"),
    ]
    log = [record(number=number, actor=actor) for number, actor in enumerate(actors)]

    def by(*names: str) -> list[int]:
        return [found.number for found in matching(log, Filter(actor=names))]

    assert by("root") == by("root@h") == [0, 1, 2, 3]
    assert (by("ada"), by("bob"), by("eve@h"), by("ada", "eve")) == ([0], [1, 3], [0], [0])
    assert (by("ada@other"), by("logged"), by("root (logged in as ada)")) == ([], [], [0])
    assert [actor.shown for actor in actors] == [
        "root (logged in as ada) (sudo: eve?)",
        "root (sudo: bob?)",
        "root",
        "root (logged in as bob)",
    ]


def test_records_are_passed_on_as_they_come() -> None:
    def endless() -> Iterator[AuditRecord]:
        number = 0
        while True:
            yield replace(LOG[0], number=number)
            number += 1

    found = matching(endless(), Filter(event=("generate",)))
    assert [next(found).number for _ in range(3)] == [0, 1, 2]


def test_last_holds_no_more_than_it_returns() -> None:
    def many(**changes: Any) -> Iterator[AuditRecord]:
        for number in range(20_000):
            yield record(number=number, detail={"path": f"{number:0200}"}, **changes)

    tracemalloc.start()
    try:
        found = list(matching(many(), Filter(last=5)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [each.number for each in found] == [19_995, 19_996, 19_997, 19_998, 19_999]
    assert peak < 200_000
