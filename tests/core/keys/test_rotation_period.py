"""A rotation period that lies on the key: when it is due, and that its successors keep it."""

from __future__ import annotations

import pytest

from tests.keystores import LICENSE, Desk, error_of
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import UsageError


def due_after(desk: Desk, manager: KeyManager, days: int) -> bool:
    """Whether `rotate --due` rotates the key so many days from now, but not a day before."""
    desk.clock.forward(days=days - 1)
    early = manager.rotate(due=True, license_key=LICENSE).rotations
    desk.clock.forward(days=1)
    return not early and len(manager.rotate(due=True, license_key=LICENSE).rotations) == 1


@pytest.mark.parametrize(
    ("period", "days"),
    [
        ({"rotate_every": 5 * DAY}, 5),
        ({"rotate_before": 20 * DAY}, 10),
        ({"rotate_before": DAY}, 29),
        ({"rotate_every": 29 * DAY}, 23),
        ({"rotate_every": 12 * DAY, "rotate_before": 20 * DAY}, 10),
        ({}, 23),
    ],
    ids=str,
)
def test_it_decides_when_the_key_and_its_successors_are_due(desk: Desk, period: dict[str, int], days: int) -> None:
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE, **period)  # type: ignore[arg-type]

    assert due_after(desk, manager, days)
    assert due_after(desk, manager, days)
    manager.validate(deep=True)


def test_a_rotation_changes_it(desk: Desk) -> None:
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE, rotate_every=5 * DAY)
    manager.rotate(["llama"], license_key=LICENSE, rotate_every=9 * DAY)

    assert due_after(desk, manager, 9)


@pytest.mark.parametrize("period", [{"rotate_every": 30 * DAY}, {"rotate_before": 30 * DAY}, {"rotate_every": 1}])
def test_one_that_is_not_within_the_lifetime_is_refused(desk: Desk, period: dict[str, int]) -> None:
    manager = desk.manager()
    manager.generate("other", license_key=LICENSE)
    generate = error_of(lambda: manager.generate("llama", license_key=LICENSE, **period))  # type: ignore[arg-type]
    rotate = error_of(lambda: manager.rotate(["other"], license_key=LICENSE, **period))  # type: ignore[arg-type]

    assert isinstance(generate, UsageError)
    assert isinstance(rotate, UsageError)
    assert manager.find("other").generation == 1
