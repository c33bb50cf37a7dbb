"""kill -9 anywhere: the next command finds the old or the new state of each unit."""

from __future__ import annotations

import pytest

from tests.faults.running import results

pytestmark = pytest.mark.slow


def test_kill_points_of_a_rotation_and_of_a_rewrap() -> None:
    """Every fourth one; `make torture` takes them all."""
    command = "kills --only rotate --only rewrap-model --every --seed 1 --part"
    halves = results(f"{command} 0/8", f"{command} 4/8")
    for operation in ("rotate", "rewrap-model"):
        seen = [half["figures"]["acts"][operation] for half in halves]
        assert sum(counts["killed"] for counts in seen) >= 15
        assert all({"old", "new"} <= counts.keys() for counts in seen), "no kill came after the commit, or none before"


def test_random_kill_points_of_every_operation() -> None:
    warm, fresh = results("kills --count 21", "fresh --count 10")
    assert (warm["cases"], fresh["cases"]) == (21, 10)
    assert sum(counts.get("killed", 0) for counts in fresh["figures"]["acts"].values()) >= 8


def test_kill_points_of_operations_on_folders_of_files() -> None:
    command = "kills --only encrypt-folder --only decrypt-folder --only rewrap-folder --count 30 --seed"
    for half in results(f"{command} 1", f"{command} 2"):
        assert sum(counts["killed"] for counts in half["figures"]["acts"].values()) >= 25


def test_the_controls_are_seen() -> None:
    results(
        "kills --only rotate --count 60 --seed 3 --control journal-off",
        "kills --only encrypt-over --every --control in-place",
        "kills --only encrypt-folder --every --control named-first",
    )
