"""Ten thousand nodes: one rotation, sealed to each of them and put into the spool."""

from __future__ import annotations

import resource
import time

from tests.fleet.fleet import fleet_in_memory
from tests.keystores import FULL_RUN, LICENSE
from tiktrue_keys.core.acts import nodes
from tiktrue_keys.core.acts.nodes import NODE, Peer
from tiktrue_keys.core.derivation import x_wing_public_bytes
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.fleet.cards import node_id_of
from tiktrue_keys.fleet.sending import send_pending
from tiktrue_keys.fleet.status import fleet_status

NODES = 10_000 if FULL_RUN else 1_000
SECONDS_A_NODE = 5 / 10_000
"""The bar, of user and system time: a shared machine says nothing about the clock on the wall."""
MEGABYTES = 64


def test_rotate_and_distribute_to_a_fleet() -> None:
    with fleet_in_memory() as fleet:
        halves = [x_wing_public_bytes(memoryview(number.to_bytes(32, "big"))) for number in range(1, 33)]
        with fleet.admin.session.write(new_operation_id()) as transaction:
            for number in range(NODES):
                key, half = number.to_bytes(32, "big"), halves[number % len(halves)]
                name, now = f"node-{number:05d}", transaction.now
                peer = Peer(node_id_of(key, half), name, NODE, "0" * 32, 1, key, half, key, now)
                nodes.add_peer(transaction.rows, peer, 1)
            transaction.record("node-add", detail={"count": NODES})
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.process_time()
        fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
        sent = send_pending(fleet.admin, fleet.transport, license_key=LICENSE)
        seconds = time.process_time() - began

        assert (sent.envelopes, sent.nodes) == (NODES, NODES)
        assert seconds < 2 * (SECONDS_A_NODE * NODES + 0.5)  # a guard at twice the bar
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEGABYTES * 1024
        status = fleet_status(fleet.admin)
        assert (status.on_its_way[0].acknowledged, status.on_its_way[0].total) == (0, NODES)
