"""Every scenario comes out as it is written. After a change that is meant: `pytest tests/golden --update`, and read
the diff.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from tests.audit_catalogue import unlisted
from tests.golden.scenario import parse, play
from tests.program import Program
from tiktrue_keys.core.approvals.ssh_signatures import SSH_KEYGEN
from tiktrue_keys.errors import TikTrueKeysError

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(scenario: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    written = scenario.read_text("utf-8")
    if "ssh-keygen" in written and not SSH_KEYGEN.exists():
        pytest.skip(f"{SSH_KEYGEN} is missing")

    program = Program(tmp_path)
    played = play(written, program)

    if pytestconfig.getoption("--update", default=False):
        scenario.write_text(played, "utf-8")
    assert played == written or pytestconfig.getoption("--update", default=False)
    assert _unlisted(program) == []


def _unlisted(program: Program) -> list[str]:
    """What the scenario has recorded and the catalogue of events lacks; a scenario may end with a keystore that is
    damaged, or of another machine.
    """
    with suppress(TikTrueKeysError), program.manager(lock_timeout=0) as manager:
        return unlisted(manager) if manager.exists() else []
    return []


def test_there_are_scenarios_and_each_says_what_it_is_about() -> None:
    assert len(SCENARIOS) > 20
    for scenario in SCENARIOS:
        comments, steps = parse(scenario.read_text("utf-8"))
        assert comments, scenario
        assert steps, scenario


def test_a_scenario_that_comes_out_differently_fails(tmp_path: Path) -> None:
    written = "# A version that is not ours.\n\n$ --version\n> tiktrue-keys 9.9.9\n= 0\n"

    assert (
        play(written, Program(tmp_path))
        == "# A version that is not ours.\n\n$ --version\n> tiktrue-keys <version>\n= 0\n"
    )
