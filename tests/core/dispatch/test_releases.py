"""What a release names, what it refuses to name, and how it is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.keystores import LICENSE, NOON, Desk
from tiktrue_keys.core.dispatch.releases import (
    MAX_ENTRIES,
    MAX_WITHDRAWN,
    Release,
    ReleaseEntry,
    Standing,
    all_releases,
    get_release,
    put_release,
    take_release,
)
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.errors import RefusedError

ISSUER = "a" * 32


def identity(number: int) -> bytes:
    return number.to_bytes(16, "big")


def entry(number: int, until: int = 0, name: str = "") -> ReleaseEntry:
    return ReleaseEntry(identity(number), bytes([number % 256]) * 32, Instant(until), name)


def release(*numbers: int) -> Release:
    return Release("llama").amended([entry(number) for number in numbers], (), NOON)


def test_what_a_release_says_of_a_container() -> None:
    made = Release("llama").amended([entry(1), entry(2, NOON + 10)], [identity(3)], NOON)
    right = bytes([1]) * 32

    assert made.standing(identity(1), right, NOON) is Standing.NAMED
    assert made.standing(identity(1), None, NOON) is Standing.NAMED
    assert made.standing(identity(1), bytes(32), NOON) is Standing.SUPERSEDED
    assert made.standing(identity(4), right, NOON) is Standing.SUPERSEDED
    assert made.standing(identity(3), right, NOON) is Standing.WITHDRAWN
    assert made.standing(identity(2), None, Instant(NOON + 9)) is Standing.NAMED
    assert made.standing(identity(2), None, Instant(NOON + 10)) is Standing.SUPERSEDED


def test_entries_are_added_until_only_some_are_wanted() -> None:
    both = release(1).amended([entry(2)], (), NOON)
    assert [each.file_id for each in both.entries] == [identity(1), identity(2)]
    alone = both.amended([entry(2)], (), NOON, only=True)
    assert [each.file_id for each in alone.entries] == [identity(2)]
    back = alone.amended([entry(1)], (), NOON, only=True)
    assert [each.file_id for each in back.entries] == [identity(1)]


def test_an_entry_that_has_left_is_dropped_and_one_that_leaves_is_named_for_good_again() -> None:
    made = Release("llama", entries=(entry(1, NOON + 5), entry(2, NOON + 50)))
    later = made.amended([entry(2), entry(3)], (), Instant(NOON + 5))
    assert later.entries == (entry(2), entry(3))


def test_a_withdrawn_id_is_never_named_again() -> None:
    made = release(1, 2).amended((), [identity(1)], NOON)
    assert (made.entries, made.withdrawn) == ((entry(2),), (identity(1),))
    with pytest.raises(RefusedError, match="was withdrawn from model llama and cannot be released again"):
        made.amended([entry(1)], (), NOON)
    with pytest.raises(RefusedError, match="was withdrawn"):
        made.amended([entry(3)], [identity(3)], NOON)


@pytest.mark.parametrize(
    ("count", "amend"),
    [
        (MAX_ENTRIES, lambda count: release().amended(map(entry, range(count)), (), NOON)),
        (MAX_WITHDRAWN, lambda count: release().amended((), map(identity, range(count)), NOON)),
    ],
)
def test_a_release_is_bounded(count: int, amend: Callable[[int], Release]) -> None:
    amend(count)
    with pytest.raises(RefusedError, match="at most"):
        amend(count + 1)


def test_a_release_is_stored_in_parts_and_an_issuers_apart_from_our_own(tmp_path: Path) -> None:
    longest = [entry(number, NOON + number, "\N{SNOWMAN}" * 64) for number in range(1, MAX_ENTRIES + 1)]
    full = Release("llama", entries=tuple(longest), withdrawn=tuple(map(identity, range(1000, 1000 + MAX_WITHDRAWN))))
    theirs = Release("llama", ISSUER, 2, 7, NOON, (entry(1),), (identity(9),))
    with Desk(tmp_path) as desk:
        desk.manager().generate("llama", license_key=LICENSE)
        session = desk.session()
        with session.write(new_operation_id()) as transaction:
            rows = transaction.rows
            for each in (full, theirs):
                put_release(rows, each)
            transaction.record("release")
        with session.read() as (view, _):
            assert all_releases(view.rows) == (full, theirs)
            parts = sum("entries" in payload for payload in view.rows.scan(RecordKind.RELEASE))
        with session.write(new_operation_id()) as transaction:
            rows = transaction.rows
            put_release(rows, release(1))
            taken = take_release(rows, Release("llama", ISSUER, 3, 1, NOON, (entry(9),), (identity(4),)))
            assert get_release(rows, "llama") == release(1)
            assert get_release(rows, "other") is None
            left = sum("entries" in payload for payload in rows.scan(RecordKind.RELEASE))
            transaction.record("release")
    assert (parts, left) == (12, 2)
    assert taken.withdrawn == (identity(4), identity(9))  # an issuer that was restored may have forgotten one
    assert taken.standing(identity(9), entry(9).root, NOON) is Standing.WITHDRAWN
