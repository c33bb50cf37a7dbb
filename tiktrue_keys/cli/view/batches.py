"""Outcomes of batches: `result.items`, and the error of a batch with failures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tiktrue_keys.cli.view.envelope import error_json
from tiktrue_keys.cli.view.hints import own_hint
from tiktrue_keys.core.keys.key_results import Failure
from tiktrue_keys.errors import PartialError, TikTrueKeysError

WORST_FIRST = (4, 13, 8, 9, 10, 11, 12, 5, 7)
"""Which exit code speaks for several errors: the first of these that occurs."""


def item_json(key_id: str, outcome: str, error: TikTrueKeysError | None = None) -> dict[str, Any]:
    """Return a member of `result.items`."""
    return {"key_id": key_id, "outcome": outcome, "error": None if error is None else error_json(error)}


def partial_error(failures: Sequence[Failure], total: int) -> PartialError | None:
    """Return the error of a batch with failures, or None."""
    if not failures:
        return None
    first = failures[0].error
    return PartialError(f"{len(failures)} of {total} keys failed; the first: {first.message}", own_hint(first))


def worst(errors: Iterable[TikTrueKeysError]) -> TikTrueKeysError | None:
    """Return the error whose exit code comes first in WORST_FIRST, or None."""
    rank = {code: place for place, code in enumerate(WORST_FIRST)}
    return min(errors, key=lambda error: rank.get(error.exit_code, len(rank)), default=None)
