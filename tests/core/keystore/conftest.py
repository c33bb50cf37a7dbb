"""The place that the tests of this folder keep their keystore in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keystores import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as made:
        yield made
