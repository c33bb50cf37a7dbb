"""Many processes, threads and tasks at once; many keys; and no secret where it does not belong."""

from __future__ import annotations

from tests.faults.running import results

NEEDLES = ("managed key", "H", "data key", "host secret")


def test_thirty_two_processes_lose_no_update_and_wait_less_than_five_seconds() -> None:
    (result,) = results("crowd --count 32")
    assert result["figures"]["processes"]["acts"] == 640


def test_a_missing_lock_is_seen() -> None:
    results("crowd --only processes --count 8 --control no-lock")


def test_cost_does_not_grow_with_what_an_act_does_not_touch() -> None:
    result, _ = results("scale --count 3000", "scale --count 2000 --control file-grows")
    assert result["figures"]["bytes a key"] < 1_500


def test_no_secret_is_left_in_memory_files_or_output() -> None:
    result, _ = results("secrets_absent", "secrets_absent --control key-kept")
    assert result["figures"]["copies in memory after close"] == dict.fromkeys(NEEDLES, 0)
    assert result["counts"]["tracebacks"] >= 15
