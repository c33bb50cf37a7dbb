"""Each module has a test file of its name in the mirrored place, or the table says which one is about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.project.mirror import false_lines, without_a_test
from tests.project.planted import plant
from tests.project.tested_by import TESTED_BY

ROOT = Path(__file__).parents[2]

SOURCES = {
    "core/keys.py": "",
    "core/store.py": "from tiktrue_keys.core import keys",
    "core/other.py": "",
    "cli/commands/keys/list_keys.py": "from tiktrue_keys.cli import view",
    "cli/view.py": "",
    "__init__.py": "",
    "core/__init__.py": "",
}
TESTS = {
    "program.py": "",
    "core/test_keys.py": "from tiktrue_keys.core import keys",
    "core/test_all.py": "from tiktrue_keys.core.store import Store",
    "cli/test_program.py": "from tests.program import Program",
    "cli/runs.py": "from tests.program import Program",
    "cli/test_runs.py": "from tests.cli.runs import run",
    "golden/scenarios/list.txt": "# all keys\n\n$ list --all\n",
    "golden/scenarios/show.txt": "# one key; not for the list\n\n$ show llama\n",
}


def repository(root: Path) -> Path:
    plant(root, SOURCES)
    plant(root, TESTS, "tests")
    return root


def test_every_module_has_a_test_file_or_a_line_that_names_one() -> None:
    assert without_a_test(ROOT, TESTED_BY) == []


def test_every_line_of_the_table_holds() -> None:
    assert false_lines(ROOT, TESTED_BY) == []


def test_a_module_that_nothing_tests_is_found(tmp_path: Path) -> None:
    assert without_a_test(repository(tmp_path), {"core/test_all.py": "core/store"}) == [
        "cli/commands/keys/list_keys",
        "cli/view",
        "core/other",
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"core/test_gone.py": "core/store"}, "core/test_gone.py: is not there"),
        ({"core/test_all.py": "core/gone"}, "core/test_all.py: core/gone is not there"),
        ({"core/test_all.py": "core/keys"}, "core/test_all.py: core/keys has a test file of its name"),
        ({"core/test_all.py": "core/other"}, "core/test_all.py: does not reach core/other"),
        ({"core/test_all.py": "cli/view"}, "core/test_all.py: does not reach cli/view"),
        ({"golden/scenarios/list.txt": "core/store"}, "golden/scenarios/list.txt: does not run core/store"),
        (
            {"golden/scenarios/show.txt": "cli/commands/keys/list_keys"},
            "golden/scenarios/show.txt: does not run cli/commands/keys/list_keys",
        ),
    ],
)
def test_a_line_that_does_not_hold_is_found(tmp_path: Path, line: Mapping[str, str], reason: str) -> None:
    assert false_lines(repository(tmp_path), line) == [reason]


@pytest.mark.parametrize(
    "line",
    [
        {"core/test_all.py": "core/store"},
        {"cli/test_program.py": "cli/view cli/commands/keys/list_keys"},
        {"cli/test_runs.py": "cli/view cli/commands/keys/list_keys"},
        {"golden/scenarios/list.txt": "cli/commands/keys/list_keys cli/view"},
    ],
)
def test_a_line_that_holds_passes(tmp_path: Path, line: Mapping[str, str]) -> None:
    assert false_lines(repository(tmp_path), line) == []
