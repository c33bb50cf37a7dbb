"""Many processes, threads and tasks at once; many keys; and no secret where it does not belong."""

from __future__ import annotations

from tests.faults.running import results

NEEDLES = ("managed key", "H", "data key", "host secret")


def test_thirty_two_processes_lose_no_update() -> None:
    (result,) = results("crowd --count 32")
    assert result["figures"]["processes"]["acts"] == 640


def test_a_missing_lock_is_seen_among_processes_and_a_missing_guard_among_threads_and_tasks() -> None:
    _, unguarded = results(
        "crowd --only processes --count 8 --control no-lock", "crowd --only threads --only tasks --control no-guard"
    )
    assert {"violations of threads", "violations of tasks"} <= set(unguarded["counts"])


def test_cost_does_not_grow_with_what_an_operation_does_not_touch() -> None:
    result, _ = results("scale --count 2000", "scale --count 2000 --control file-grows")
    assert result["figures"]["bytes a key"] < 1_500


def test_no_secret_is_left_in_memory_files_or_output() -> None:
    result, kept = results("secrets_absent", "secrets_absent --control key-kept")
    assert result["figures"]["copies in memory after close"] == dict.fromkeys(NEEDLES, 0)
    assert result["counts"]["tracebacks"] >= 15
    core = kept["figures"]["copies in core file"]  # where the system writes none, it says so
    assert isinstance(core, str) or core["managed key"] > 0
    assert kept["figures"]["copies in memory after close"]["managed key"] > 0
