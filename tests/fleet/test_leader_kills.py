"""etcd's leader dies while keys are revoked: three times here, fifty behind `make torture`."""

from __future__ import annotations

import pytest

from tests.faults.running import results

pytestmark = pytest.mark.slow


def test_every_acknowledged_revocation_is_everywhere() -> None:
    (done,) = results("leader_kills --count 3 --seed 1")
    assert done["cases"] == 3
