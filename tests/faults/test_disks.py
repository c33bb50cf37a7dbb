"""Disks that fail, are full, or lose their power."""

from __future__ import annotations

import pytest

from tests.faults.running import results

pytestmark = pytest.mark.slow


def test_a_disk_that_fails_leaves_the_old_state_or_the_new() -> None:
    (result, control) = results(
        "errors --only generate --only rotate --only encrypt-model --count 30",
        "errors --only rotate --count 60 --seed 3 --control commit-believed",
    )
    assert result["cases"] == 30
    assert control["violations"]


def test_no_acknowledged_operation_is_lost_in_a_power_cut() -> None:
    for result in results("power --only ext4 --count 24", "power --only xfs --count 24"):
        assert result["cases"] == 24
        assert result["counts"]["acknowledged"] > 24


@pytest.mark.parametrize("control", ["synchronous-normal", "no-folder-sync", "unsynced-files"])
def test_a_power_cut_is_seen(control: str) -> None:
    results(f"power --only ext4 --count 40 --seed 3 --control {control}")


def test_without_a_free_byte_the_store_stays_whole() -> None:
    operations = ("generate", "rotate", "revoke", "encrypt-model", "rewrap-model")
    (result,) = results("full " + " ".join(f"--only {operation}" for operation in operations))
    assert result["figures"]["acts"]["revoke"] == {"tmpfs: exit 0": 1}


def test_a_keystore_without_a_reserve_is_seen() -> None:
    results("full --only revoke --control no-reserve")
