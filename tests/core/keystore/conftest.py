"""Where the tests of this folder keep their keystore: in memory where possible: every operation syncs its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keystores import Desk, folder_in_memory


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In place of pytest's own."""
    with folder_in_memory() as folder:
        yield folder


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as made:
        yield made
