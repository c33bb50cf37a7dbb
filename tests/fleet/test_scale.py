"""A rotation for a thousand nodes, sealed to each of them and sent; ten thousand are a campaign's full figure."""

from __future__ import annotations

import pytest

from tests.faults.running import results
from tests.fleet.etcd_server import is_installed

pytestmark = [pytest.mark.slow, pytest.mark.untraced]


def test_rotate_and_distribute_to_a_fleet_by_spool() -> None:
    (done,) = results("fleet_scale --count 1000 --only spool")
    assert done["figures"]["spool"]["envelopes"] == 1000


@pytest.mark.skipif(not is_installed(), reason="etcd is not installed (Debian: etcd-server)")
def test_rotate_and_distribute_to_a_fleet_by_etcd() -> None:
    (done,) = results("fleet_scale --count 1000 --only etcd")
    assert done["figures"]["etcd"]["envelopes"] == 1000
