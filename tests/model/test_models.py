"""The models of the fleet's protocol hold within their smallest bounds, and each rule that is removed is missed."""

from __future__ import annotations

import re

import pytest

from tests.model.check import FAULTS, FOLDER, FULL, SMALLEST, Run, check, missing

pytestmark = [pytest.mark.skipif(missing() is not None, reason=str(missing())), pytest.mark.slow, pytest.mark.untraced]


@pytest.mark.parametrize("run", SMALLEST, ids=str)
def test_a_model_holds(run: Run) -> None:
    found = check(run)
    print(f"{run}: {found.states} states")
    assert found.violation == ""


@pytest.mark.parametrize("run", FAULTS, ids=lambda run: run.fault)
def test_a_rule_that_is_removed_is_missed(run: Run) -> None:
    found = check(run)
    print(f"{run}: {found.violation} after {found.states} states")
    assert found.violation


def test_every_fault_is_planted() -> None:
    written = {name for path in FOLDER.glob("*.pml") for name in re.findall(r"\bFAULT_([A-Z_]+)\b", path.read_text())}
    assert {run.fault for run in FAULTS} == written
    assert not any(run.fault for run in (*SMALLEST, *FULL))
