from __future__ import annotations

import pytest

from tests.program import Program


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A program with one key of the model llama; for tests that only read."""
    program = Program(tmp_path_factory.mktemp("seeded"))
    program.generate("llama", labels={"team": "research"})
    return program
