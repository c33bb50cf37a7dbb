"""Random walks of the real issuer and a real node through the actions of streams.pml, with the model's checks.

    python -m tests.model.walk [--count N] [--steps N] [--first SEED]

The carrier keeps every line, and shows the node whichever it likes. A walk is its seed: the same seed is the same walk.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from tests.fleet.fleet import Fleet, fleet_in_memory
from tests.fleet.test_going_back import put_back, snapshot
from tests.keystores import LICENSE
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.names import KeyId
from tiktrue_keys.fleet.challenges import is_challenge
from tiktrue_keys.fleet.inbox import get_inbox
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.transports.interface import Junk, Place, Posted

_ROTATIONS = 3
_LONGEST = 20 * DAY  # before a list is past its end


class Carrier:
    """A transport whose lines stay, and of which a node sees what `shown` says; acknowledgements wait or arrive."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.shown: list[bytes] = []
        self.kept: bytes | None = None
        self.delivers = True
        self._delivered: bytes | None = None

    def publish(self, issuer: str, number: int, posts: Iterable[Posted], sign: Signer) -> None:
        self.lines += [post.line for post in posts]

    def collect(self, issuer: str, node_id: str, after: Place, junk: Junk) -> list[bytes]:
        return self.shown

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        if self.delivers:
            self._delivered = line
        else:
            self.kept = line

    def acknowledgements(self, issuer: str, node_ids: Iterable[str], junk: Junk) -> Iterator[tuple[str, bytes]]:
        if self._delivered is not None:
            yield from ((node_id, self._delivered) for node_id in node_ids)

    def tidy(self, issuer: str, consumed: Mapping[str, Place], identity_key: bytes) -> None:
        """Keep everything."""

    def wait(self, issuer: str, node_id: str, seconds: float) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def deliver_what_was_kept(self) -> None:
        self._delivered = self.kept or self._delivered


class Walk:
    """One walk. `log` is what was done; `oks` counts how often the issuer showed ok."""

    def __init__(self, fleet: Fleet, carrier: Carrier, seed: int) -> None:
        self.log: list[str] = []
        self.oks = 0
        self._fleet, self._carrier, self._chance = fleet, carrier, random.Random(seed)
        self._began = fleet.clock()
        self._revoked: list[KeyId] = []
        self._taken: set[KeyId] = set()
        self._fine: dict[KeyId, float] = {}
        self._before: Place | None = None
        self._saved = False
        self._actions: list[tuple[int, Callable[[], None]]] = [
            (1, self.rotate),
            (2, self.revoke),
            (6, self.sync),
            (8, self.receive),
            (2, self.answer),
            (3, self.catch_up),
            (2, self.deliver_what_was_kept),
            (2, self.save),
            (2, self.go_back),
            (2, self.go_back_and_answer),
            (2, self.let_time_pass),
        ]

    def step(self) -> None:
        """Take one action and check."""
        weights, actions = zip(*self._actions, strict=True)
        (action,) = self._chance.choices(actions, weights)
        self.log.append(action.__name__)
        action()
        self._check()

    def rotate(self) -> None:
        if self._fleet.key.generation <= _ROTATIONS:
            self._fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)

    def revoke(self) -> None:
        old = [key.key_id for key in self._fleet.admin.chain("llama")[:-1] if key.status is not Status.REVOKED]
        if old:
            self._revoked.append(self._chance.choice(old))
            self._fleet.admin.revoke(self._revoked[-1:], reason="leaked")

    def sync(self) -> None:
        self._fleet.sync()

    def receive(self) -> None:
        share = self._chance.choice((0.0, 0.0, 0.6, 1.0))
        lines = [line for line in self._carrier.lines if not is_challenge(line) and self._chance.random() < share]
        challenges = [line for line in self._carrier.lines if is_challenge(line)][-4:]
        self._chance.shuffle(lines)
        self._carrier.shown = lines + self._chance.sample(challenges, min(len(challenges), 1))
        self._carrier.delivers = self._chance.random() < 0.7
        self._fleet.receive("n1")

    def answer(self) -> None:
        """The carrier shows the newest challenge and no envelope."""
        self._carrier.shown = [line for line in self._carrier.lines if is_challenge(line)][-1:]
        self._carrier.delivers = True
        self._fleet.receive("n1")

    def catch_up(self) -> None:
        """The carrier is honest for a while."""
        for _ in range(2):
            self.sync()
            self._carrier.shown, self._carrier.delivers = self._carrier.lines, True
            self._fleet.receive("n1")
            self._check()
        self.sync()

    def deliver_what_was_kept(self) -> None:
        self._carrier.deliver_what_was_kept()

    def save(self) -> None:
        snapshot(self._fleet, "n1")
        self._saved = True

    def go_back(self) -> None:
        if self._saved:
            before = self._place()
            put_back(self._fleet, "n1")
            if self._before is None and self._place() < before:
                self._before = before

    def go_back_and_answer(self) -> None:
        """Chance alone would seldom do this in a row."""
        self.go_back()
        self._fleet.clock.forward(days=1.1 if self._fleet.clock() < self._began + _LONGEST else 0)
        for action in (self.sync, self.answer, self.sync):
            self._check()
            action()

    def let_time_pass(self) -> None:
        if self._fleet.clock() < self._began + _LONGEST:
            self._fleet.clock.forward(days=self._chance.choice((0.2, 1.1)))

    def _check(self) -> None:
        now = self._fleet.clock()
        if self._before is not None and self._place() >= self._before:
            self._before = None
        for key_id in self._revoked:
            known = {key.key_id: key.status for key in self._fleet.nodes["n1"].keys()}  # noqa: SIM118 (a method)
            if known.get(key_id, Status.REVOKED) is Status.REVOKED:
                self._fine[key_id] = now
                self._taken |= {key_id} & known.keys()
            elif self._before is None and key_id in self._taken:
                raise AssertionError(f"used: {key_id} is {known[key_id].value} on the node again")
        if fleet_status(self._fleet.admin).error() is None:
            self.oks += 1
            for key_id in self._revoked:
                if now > self._fine.get(key_id, 0) + DAY:
                    raise AssertionError(f"ok: the node lacks the revocation of {key_id} for more than a day")

    def _place(self) -> Place:
        node = self._fleet.nodes["n1"]
        with node.session.read() as (view, _):
            inbox = get_inbox(view.rows, self._fleet.node_id(self._fleet.admin))
        return inbox.place if inbox else (0, 0, 0)


def walk(seed: int, steps: int) -> Walk:
    """Go so many steps. Raises AssertionError, with what was done, where a check fails."""
    carrier = Carrier()
    with fleet_in_memory("n1", transport=carrier) as fleet:
        distribute(fleet.admin, ["llama"], every_node=True)
        done = Walk(fleet, carrier, seed)
        try:
            for _ in range(steps):
                done.step()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}; after {', '.join(done.log)}") from error
        return done


def main() -> int:
    """Walk; 1 when a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    failed = 0
    for seed in range(asked.first, asked.first + asked.count):
        try:
            done = walk(seed, asked.steps)
        except AssertionError as error:
            failed += 1
            print(error, flush=True)
        else:
            print(f"seed {seed}: {asked.steps} steps, shown ok {done.oks} times", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
