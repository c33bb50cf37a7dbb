"""A fleet that is simulated: thousands of pinned nodes, one rotation for all of them, and what sending it costs."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

from tests.fleet.fleet import Fleet
from tests.keystores import LICENSE
from tiktrue_keys.core.derivation import x_wing_public_bytes
from tiktrue_keys.core.dispatch import peers
from tiktrue_keys.core.dispatch.peers import NODE, Peer
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.node_ids import node_id_of
from tiktrue_keys.fleet.send import Sent, send_pending

_HALVES = 32


@dataclass(frozen=True)
class Cost:
    """Of a rotation and its way to every node: wall and CPU seconds, and the memory that it added at its peak."""

    sent: Sent
    seconds: float
    cpu_seconds: float
    megabytes: float


def pin_many(fleet: Fleet, count: int) -> None:
    """Pin so many nodes in one transaction. Their halves are real; a few serve for all of them."""
    halves = [x_wing_public_bytes(memoryview(number.to_bytes(32, "big"))) for number in range(1, _HALVES + 1)]
    with fleet.admin.session.write(new_operation_id()) as transaction:
        for number in range(count):
            key, half = number.to_bytes(32, "big"), halves[number % _HALVES]
            peer = Peer(node_id_of(key, half), f"node-{number:05d}", NODE, "0" * 32, 1, key, half, key, transaction.now)
            peers.add_peer(transaction.rows, peer, 1)
        transaction.record("node-add", detail={"count": count})


def rotate_for_all(fleet: Fleet) -> Cost:
    """Rotate, queue for every node, seal and publish. Memory is right where nothing before it took more."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.perf_counter(), time.process_time()
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    sent = send_pending(fleet.admin, fleet.transport, license_key=LICENSE)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    return Cost(sent, seconds, cpu, grown / 1024)
