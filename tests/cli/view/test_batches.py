"""Which error speaks for several, and what a batch with failures ends in."""

from __future__ import annotations

import pytest

from tiktrue_keys.cli.view.batches import item_json, partial_error, worst
from tiktrue_keys.core.keys.key_results import Failure
from tiktrue_keys.errors import (
    ERRORS,
    ExpiredError,
    InsecureError,
    IntegrityError,
    RefusedError,
    RevokedError,
    TikTrueKeysError,
    UnavailableError,
    WrongLicenseError,
    WrongMachineError,
)

WORST_FIRST: list[type[TikTrueKeysError]] = [
    IntegrityError,
    InsecureError,
    WrongMachineError,
    WrongLicenseError,
    RevokedError,
    ExpiredError,
    UnavailableError,
    RefusedError,
]


@pytest.mark.parametrize("place", range(len(WORST_FIRST)))
def test_the_worst_error_speaks_wherever_it_stands(place: int) -> None:
    errors = [kind("words") for kind in reversed(WORST_FIRST[place:])]

    assert isinstance(worst(errors), WORST_FIRST[place])


def test_an_error_outside_the_order_comes_last() -> None:
    every = [kind("words") for kind in ERRORS]

    assert isinstance(worst(every), IntegrityError)
    assert worst([]) is None


def test_a_batch_with_failures_is_partial_and_tells_of_the_first() -> None:
    failures = [Failure("m_0123456789abcdef", ExpiredError("too late", "rotate it")), Failure("n", RefusedError("no"))]

    found = partial_error(failures, 5)

    assert found is not None
    assert (found.exit_code, found.message) == (7, "2 of 5 keys failed; the first: too late")
    assert found.hint == "rotate it"
    assert partial_error([], 5) is None


def test_an_item_carries_its_error() -> None:
    assert item_json("k", "failed", RefusedError("no"))["error"] == {
        "code": "refused",
        "message": "no",
        "hint": "run the command with --help",
        "key_id": None,
    }
    assert item_json("k", "ok")["error"] is None
