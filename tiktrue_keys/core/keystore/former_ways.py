"""Which secrets no longer open the keystore, but still open its older copies: the root secret is the same in both.

Come here for the finding `older-secret`. A rekey ends it: it gives the keystore another root.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.slots import MACHINE
from tiktrue_keys.core.keystore.transaction import Transaction

_FORMER = "former"
"""The name of the only record of this kind."""


@dataclass(frozen=True)
class FormerWay:
    """A way that was left, when, and for the host secret the path of its file."""

    way: str
    left_at: Instant
    path: str = ""


def named_way(way: str) -> str:
    """Return a way as people call it."""
    return "the host secret" if way == MACHINE else way


def note_former(transaction: Transaction, way: str, path: str) -> None:
    """Note that a way was left. Called in the transaction that removes its slots."""
    _put(transaction.rows, [*_without(transaction.rows, way), FormerWay(way, transaction.now, path)])


def forget_former(rows: Rows, way: str) -> None:
    """Forget a way that the keystore has again."""
    if any(each.way == way for each in former_ways(rows)):
        _put(rows, _without(rows, way))


def forget_all_former(rows: Rows) -> None:
    """Forget every way that was left: the keystore has another root than its older copies."""
    rows.delete(RecordKind.UNLOCK, _FORMER)


def former_ways(rows: Rows) -> tuple[FormerWay, ...]:
    """Return the ways that open older copies alone, sorted by name."""
    payload = rows.get(RecordKind.UNLOCK, _FORMER) or {"former": []}
    return tuple(FormerWay(way, Instant(left_at), path) for way, left_at, path in payload["former"])


def _without(rows: Rows, way: str) -> list[FormerWay]:
    return [each for each in former_ways(rows) if each.way != way]


def _put(rows: Rows, former: list[FormerWay]) -> None:
    ordered = sorted(former, key=lambda each: each.way)
    rows.put(RecordKind.UNLOCK, _FORMER, {"former": [[each.way, each.left_at, each.path] for each in ordered]})
