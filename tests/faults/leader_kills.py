"""kill -9 of etcd's leader while keys are revoked: every revocation that was acknowledged is on every node in time.

    python -m tests.faults.leader_kills --count 50
    python -m tests.faults.leader_kills --only two --count 40     another member dies in every case

Three members with TLS, client certificates and a password; an issuer and three nodes as programs, the nodes watching. A
case revokes one key and kills the leader at a random instant of it; in every third case (with `--only two` in each)
another member dies with it and comes back seconds later, so that the revocation meets an outage. Once the quorum is
back each node has five seconds (judged with --bars), be it that the command itself sent the revocation, or `fleet sync`
after it. After each case everything that ever lay in etcd is put there again: no node may take an older envelope or a
lower list for news.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from tests.faults.campaign import Options, Tally, ViolationError, main, scratch, watched
from tests.fleet.etcd_server import Cluster, Tls, is_installed
from tests.fleet.fleet import unsigned
from tests.fleet.processes import ISSUER, Staff, Watcher
from tests.program import Program
from tests.waiting import PATIENCE
from tiktrue_keys.core.dispatch.peers import find_peer
from tiktrue_keys.core.dispatch.revocation_lists import known_list, newest_number
from tiktrue_keys.fleet.transports import open_transport
from tiktrue_keys.fleet.transports.interface import Junk, Posted

CONTROLS = ("deaf-node",)
_TWO = "two"
_NAMES = ("n1", "n2", "n3")
_BAR = 5.0
_REVOKE_TAKES = 1.2
_LONGEST_OUTAGE = 6.0


class Scene:
    """The cluster, the programs, and what has ever lain in etcd for a node."""

    def __init__(self, folder: Path, cluster: Cluster, count: int, stack: ExitStack) -> None:
        self.cluster = cluster
        self.staff = Staff(folder, cluster.address, cluster.credentials, _NAMES)
        self.keys = self.staff.key_ids("generate", "batch", "--count", str(count))
        self.staff.admin.run("fleet", "send", *self.keys, "--all")
        self.watchers = {name: stack.enter_context(Watcher(node)) for name, node in self.staff.nodes.items()}
        self.staff.admin.ok("fleet", "sync", "--wait", "2m")
        self.transport = stack.enter_context(closing(open_transport(cluster.address, cluster.credentials)))
        self.lines: dict[str, dict[bytes, None]] = {name: {} for name in _NAMES}
        self.numbers = dict.fromkeys(_NAMES, 0)

    def put_again(self) -> None:
        """Replay: everything seen so far once more, at the places where the next envelopes are looked for."""
        issuer = self.staff.node_ids[ISSUER]
        for name in _NAMES:
            node_id = self.staff.node_ids[name]
            self.lines[name] |= dict.fromkeys(self.transport.collect(issuer, node_id, (0, 0, 0), Junk()))
            posts = [Posted(node_id, (1, 1, 10**8 + place), line) for place, line in enumerate(self.lines[name])]
            self.transport.publish(issuer, 1, posts, unsigned)


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """`count` kills."""
    folder = scratch("leader-kills")
    tls, password = Tls(folder), folder / "password"
    password.write_text("a password, made up for tests\n")
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(folder, 3, tls=tls, password=password))
        scene = Scene(folder, cluster, options.count, stack)
        late: list[float] = []
        away: list[float] = []
        for number in range(options.count):
            if not go_on():
                break
            tally.cases += 1
            with watched(tally, f"case {number}"):
                _case(scene, number, tally, late, away, options)
                _judge_numbers(scene)
        tally.figures["seconds until the slowest node has it"] = _spread(late)
        tally.figures["seconds without a quorum"] = _spread(away)
    shutil.rmtree(folder, ignore_errors=True)


def _case(scene: Scene, number: int, tally: Tally, late: list[float], away: list[float], options: Options) -> None:
    chance, leader, key_id = options.random(number), scene.cluster.leader(), scene.keys[number]
    if options.control == "deaf-node":
        scene.watchers["n2"].pause(on=True)
    with _revoking(scene.staff.admin, key_id) as revoking:
        time.sleep(chance.uniform(0, _REVOKE_TAKES))
        killed = time.monotonic()
        _kill(scene.cluster, leader, chance, another=_TWO in options.only or number % 3 == 2)
        quorum = scene.cluster.wait_until_ready()
        said, _ = revoking.communicate(timeout=PATIENCE)
    if revoking.returncode != 0:
        raise ViolationError(f"revoke ended in {revoking.returncode}: {said[-300:]!r}")
    outage = b'"outage"' in said
    tally.counts["sent by fleet sync" if outage else "sent by the revocation"] += 1
    if outage:
        said = scene.staff.admin.run("fleet", "sync", "--wait", "2m", "--json").stdout.encode()
    until = time.monotonic() + (_BAR if options.control else PATIENCE)
    told = {name: watcher.wait_for(key_id, "revoked", until) for name, watcher in scene.watchers.items()}
    away.append(quorum - killed)
    scene.cluster.start(leader)
    scene.cluster.wait_until_ready(members=3)
    _judge_times(told, quorum, late, said, bars=options.bars)
    scene.put_again()


def _revoking(admin: Program, key_id: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        admin.argv("revoke", key_id, "--reason", "a leader died", "--yes", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=admin.environment,
        cwd=admin.folder,
    )


def _kill(cluster: Cluster, leader: int, chance: random.Random, *, another: bool) -> None:
    """Kill the leader; with `another` member too, which comes back after a while."""
    cluster.kill(leader)
    if another:
        other = (leader + chance.choice((1, 2))) % 3
        cluster.kill(other)
        time.sleep(chance.uniform(1, _LONGEST_OUTAGE))
        cluster.start(other)


def _judge_times(
    told: Mapping[str, float | None], quorum: float, late: list[float], said: bytes, *, bars: bool
) -> None:
    missing = [name for name, at in told.items() if at is None]
    if missing:
        raise ViolationError(f"{', '.join(missing)} never had it; the last command said: {said[-1500:]!r}")
    late.append(max(0.0, *(at - quorum for at in told.values() if at is not None)))
    if bars and late[-1] > _BAR:
        raise ViolationError(f"the slowest node had it {late[-1]:.1f} s after the quorum was back")


def _judge_numbers(scene: Scene) -> None:
    """Envelopes were taken one after the other, and the newest list that a node knows never goes back."""
    with scene.staff.admin.manager() as manager, manager.session.read() as (view, _):
        newest = newest_number(view.rows)
    for name in _NAMES:
        with scene.staff.nodes[name].manager() as manager:
            taken = [
                each.detail["number"]
                for each in manager.audit_records()
                if each.event == "receive" and each.detail.get("kind") in ("key", "revocation-list", "void")
            ]
            with manager.session.read() as (view, _):
                known = known_list(view.rows, find_peer(view.rows, ISSUER).node_id)
        if taken != list(range(1, len(taken) + 1)):
            raise ViolationError(f"{name} has taken envelopes {taken[-8:]}")
        if known is None or not scene.numbers[name] <= known.number <= newest:
            raise ViolationError(f"{name} went from list {scene.numbers[name]} to {known}, the newest is {newest}")
        scene.numbers[name] = known.number


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]
    return {"median": round(ordered[len(ordered) // 2], 2), "worst": round(ordered[-1], 2)}


def _skip() -> str | None:
    return None if is_installed() else "etcd is not installed (Debian: etcd-server)"


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=50, skip=_skip, controls=CONTROLS, only=(_TWO,))
