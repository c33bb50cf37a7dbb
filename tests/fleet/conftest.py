"""What the tests of the fleet start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fleet.fleet import Fleet, fleet_in_memory


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """An issuer and three nodes, pinned both ways, nothing sent yet."""
    with fleet_in_memory("n1", "n2", "n3") as made:
        yield made
