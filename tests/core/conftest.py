"""The place that the tests of this folder keep their keystore in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.keystores import Desk, desk_in_memory


@pytest.fixture
def desk() -> Iterator[Desk]:
    with desk_in_memory() as made:
        yield made
