"""The audit head that a node holds goes forward along a proof, or not at all."""

from __future__ import annotations

import pytest

from tiktrue_keys.core.audit import merkle
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.fleet.acknowledgements import OK, Result
from tiktrue_keys.fleet.envelopes import Head, Vouched
from tiktrue_keys.fleet.inbox import Inbox, StaleHeadError, must_continue

EMPTY = Head(0, merkle.EMPTY_ROOT)


class Log:
    """An audit tree over made-up records."""

    def __init__(self, name: str, shared: int = 0, size: int = 40) -> None:
        self._hashes: dict[tuple[int, int], bytes] = {}
        for number in range(size):
            leaf = f"{'shared' if number < shared else name} {number}".encode()
            for level, place, digest in merkle.appended(number, leaf, self._read):
                self._hashes[level, place] = digest

    def head(self, size: int) -> Head:
        return Head(size, merkle.root_hash(size, self._read))

    def vouched(self, previous: int, size: int, base: Head = EMPTY) -> Vouched:
        return Vouched(self.head(size), previous, tuple(merkle.consistency_proof(previous, size, self._read)), base)

    def _read(self, level: int, place: int) -> bytes:
        return self._hashes[level, place]


HONEST = Log("honest")
FORKED = Log("forked", shared=7)


@pytest.mark.parametrize(("held", "size"), [(None, 5), (0, 0), (1, 40), (7, 7), (7, 8), (8, 13), (39, 40)])
def test_an_honest_log_goes_on(held: int | None, size: int) -> None:
    before = None if held is None else HONEST.head(held)
    assert must_continue(before, HONEST.vouched(held or 0, size)) == HONEST.head(size)


@pytest.mark.parametrize(("held", "size"), [(7, 8), (8, 13), (13, 13), (20, 40)])
def test_a_fork_is_an_integrity_error(held: int, size: int) -> None:
    honest = Log("honest", shared=7)
    with pytest.raises(IntegrityError, match="forked"):
        must_continue(honest.head(held), Log("other", shared=6).vouched(held, size))


def test_a_fork_behind_the_held_head_shows_in_the_proof() -> None:
    assert must_continue(FORKED.head(7), FORKED.vouched(7, 20)) == FORKED.head(20)
    with pytest.raises(IntegrityError, match="forked"):
        must_continue(Log("honest", shared=7).head(9), FORKED.vouched(9, 20))


def test_a_first_head_goes_on_from_the_base_of_its_epoch() -> None:
    base = HONEST.head(12)
    assert must_continue(None, HONEST.vouched(12, 20, base)) == HONEST.head(20)
    with pytest.raises(IntegrityError, match="forked"):
        must_continue(None, HONEST.vouched(12, 20, FORKED.head(12)))


@pytest.mark.parametrize(("held", "previous", "size"), [(10, 10, 9), (10, 9, 20), (10, 11, 20), (10, 0, 5)])
def test_a_head_that_is_behind_or_proven_from_elsewhere_is_stale(held: int, previous: int, size: int) -> None:
    proof = HONEST.vouched(min(previous, size), size).proof
    with pytest.raises(StaleHeadError):
        must_continue(HONEST.head(held), Vouched(HONEST.head(size), previous, proof, EMPTY))


def test_a_refusal_is_repeated_however_many_envelopes_follow() -> None:
    inbox = Inbox("issuer", 1)
    for number in range(1, 101):
        outcome = "scope: not theirs" if number in (2, 50) else OK
        inbox = inbox.consumed(Result(number, outcome, b"", b""), 1, EMPTY, Instant(0))
    numbers = [each.number for each in inbox.results]
    assert numbers == [2, 50, *range(71, 101)]
    for number in range(101, 201):
        inbox = inbox.consumed(Result(number, "refused: all", b"", b""), 1, EMPTY, Instant(0))
    assert [each.number for each in inbox.results] == [*range(169, 201)]
