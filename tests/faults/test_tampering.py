"""A keystore file that somebody has edited: refused, or the same as before."""

from __future__ import annotations

from tests.faults.running import results


def test_flipped_bytes_and_spliced_rows_are_refused() -> None:
    result, _ = results("flips --count 300", "flips --only splices --count 400 --seed 1 --control rows-believed")
    assert result["cases"] == 300
    assert result["counts"]["bytes refused"] > 30
    assert result["counts"]["splices refused"] > 80


def test_exactly_the_changes_of_a_machine_that_may_open_do() -> None:
    result, _ = results("drift", "drift --control one-fact-fewer")
    assert result["counts"]["opened"] + result["counts"]["wrong machine"] == 4**5
