"""The real issuer and node keep what the model promises, on walks through the model's actions."""

from __future__ import annotations

import pytest

from tests.model.walk import walk
from tiktrue_keys.core.dispatch.node_progress import PeerProgress

pytestmark = pytest.mark.untraced

STEPS = 40
SEEDS = (2, 3, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_walk_keeps_the_promises(seed: int) -> None:
    assert walk(seed, STEPS).oks > 0


def test_a_walk_notices_that_nodes_that_went_back_are_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeerProgress, "reached", (0, 0))
    with pytest.raises(AssertionError, match="ok: the node lacks the revocation"):
        walk(SEEDS[0], STEPS)
