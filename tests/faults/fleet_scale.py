"""One rotation for ten thousand nodes: rotated, queued, sealed to each of them and published, by spool and by etcd.

    python -m tests.faults.fleet_scale --count 10000

Judged on the memory that it adds, which must not grow with the fleet. With --bars also on user and system time by spool
(a shared machine says nothing about the clock on the wall, which is shown), on the clock by etcd, where another process
works too; with half a second for what does not grow with the fleet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.faults.campaign import Options, Tally, ViolationError, break_it, main, watched
from tests.fleet.etcd_server import Cluster, is_installed
from tests.fleet.fleet import Fleet, fleet_in_memory
from tests.fleet.many import pin_many, rotate_for_all
from tests.keystores import folder_in_memory, in_a_child
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.transports import open_transport

CONTROLS = ("sealed-often",)
_BARS = {"spool": 5.0, "etcd": 30.0}
_NODES_OF_THE_BAR = 10_000
_START = 0.5
_GUARD = 2.0
_MEGABYTES = 64.0


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """Each transport once, in a process of its own."""
    if options.control is not None:
        _break()
    for name in options.only or tuple(_BARS):
        if not go_on():
            break
        if name == "etcd" and not is_installed():
            tally.figures[name] = "etcd is not installed (Debian: etcd-server)"
            continue
        tally.cases += 1
        said = in_a_child(lambda name=name: json.dumps(_figures(name, options.count)).encode())  # type: ignore[misc]
        with watched(tally, name):
            tally.figures[name] = figures = json.loads(said)
            _judge(name, figures, options)


def _figures(name: str, count: int) -> dict[str, Any]:
    with _fleet(name) as fleet:
        pin_many(fleet, count)
        cost = rotate_for_all(fleet)
        (way,) = fleet_status(fleet.admin).on_its_way
        return {
            "nodes": way.total,
            "envelopes": cost.sent.envelopes,
            "outage": cost.sent.outage.message if cost.sent.outage else None,
            "seconds": round(cost.seconds, 2),
            "cpu seconds": round(cost.cpu_seconds, 2),
            "megabytes added": round(cost.megabytes, 1),
        }


@contextmanager
def _fleet(name: str) -> Iterator[Fleet]:
    """An issuer without nodes over that transport."""
    if name == "spool":
        with fleet_in_memory() as fleet:
            yield fleet
        return
    with (
        folder_in_memory() as folder,
        Cluster(folder) as cluster,
        closing(open_transport(cluster.address)) as transport,
        fleet_in_memory(transport=transport) as fleet,
    ):
        yield fleet


def _judge(name: str, figures: dict[str, Any], options: Options) -> None:
    count = options.count
    if (figures["nodes"], figures["envelopes"]) != (count, count):
        raise ViolationError(f"not everybody was sent it: {figures}")
    bar = _BARS[name] * count / _NODES_OF_THE_BAR
    figures["bar"] = bar
    took = figures["cpu seconds" if name == "spool" else "seconds"]
    if options.bars and took > _GUARD * (bar + _START):
        raise ViolationError(f"{took} s, the bar is {bar} (guard {_GUARD} times that)")
    if figures["megabytes added"] > _MEGABYTES:
        raise ViolationError(f"{figures['megabytes added']} MB were added")


def _break() -> None:
    """Every envelope is sealed 32 times: the cost must be seen."""
    from tiktrue_keys.fleet import hpke

    once = hpke.seal

    def often(*given: Any) -> bytes:
        return [once(*given) for _ in range(32)].pop()

    break_it(hpke, "seal", often)


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=10_000, controls=CONTROLS, only=tuple(_BARS))
