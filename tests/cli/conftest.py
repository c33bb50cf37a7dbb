from __future__ import annotations

from pathlib import Path

import pytest

from tests.program import Program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program in a fresh folder, without a keystore."""
    return Program(tmp_path)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A program with one key of the model llama; for tests that only read."""
    program = Program(tmp_path_factory.mktemp("seeded"))
    program.ok("generate", "llama", "--label", "team=research")
    return program
