"""`fleet receive --watch`: rounds until a signal ends them, with pauses through an outage.

A line is written for each change of state, not for each attempt. The service manager learns of both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import random
from typing import Protocol

from tiktrue_keys.cli.context.service import ServiceManager
from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.outcome import Outcome
from tiktrue_keys.errors import BusyError, TikTrueKeysError, UnavailableError

NO_SPOOL = "create-spool"
"""The remedy of a spool that does not exist: at the start a mistake, later an outage."""

_SHORTEST_WAIT, _LONGEST_WAIT = 2.0, 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 2.0  # a revocation has 5 s to be here once the transport is back


class Rounds(Protocol):
    """What a watch repeats."""

    def receive(self) -> Outcome:
        """Receive once. An outage is raised, or is the outcome's error where something was consumed before it."""

    def report(self, outcome: Outcome) -> None:
        """Print the outcome of a round."""

    def warn(self, text: str) -> None:
        """Print one line."""

    def wait(self, seconds: float) -> None:
        """Return when there may be something new, or after `seconds`."""


class Watch:
    """Repeats rounds. `clock` and `sleep` are those of `time`, `chance` returns a number from 0 to 1."""

    def __init__(
        self,
        rounds: Rounds,
        service: ServiceManager,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random,
    ) -> None:
        self._rounds = rounds
        self._service = service
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._started = False
        self._outage = False
        self._problem = ""
        self._pause, self._wait = _FIRST_PAUSE, _SHORTEST_WAIT

    def run(self) -> None:
        """Repeat rounds until a signal or an error ends them."""
        try:
            while True:
                self.step()
        finally:
            self._service.stopping()

    def step(self) -> None:
        """Receive, report, and wait for news; or pause where there is an outage.

        Raises UnavailableError when the spool does not exist at the start, and any error that is not an outage.
        """
        error = self._received()
        self._service.alive()
        if error is None:
            self._recovered()
            try:
                self._wait_for_news()
            except UnavailableError as outage:
                error = outage
        if error is not None:
            self._failed(error)
            self._in_parts(self._pause * (1 + self._chance()) / 2, self._sleep)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _received(self) -> TikTrueKeysError | None:
        """Receive once and report it. Return the outage, if there is one."""
        try:
            outcome = self._rounds.receive()
        except (UnavailableError, BusyError) as error:
            if not self._started and error.remedy == NO_SPOOL:
                raise
            return error
        outage = outcome.error if isinstance(outcome.error, UnavailableError) else None
        problem = "" if outcome.error is None or outage is not None else outcome.error.message
        if outcome.changed or problem != self._problem:
            self._rounds.report(outcome)
            self._outage = self._outage or outage is not None  # the report names it
        self._problem = problem
        return outage

    def _failed(self, error: TikTrueKeysError) -> None:
        if not self._outage:
            self._rounds.warn(f"warning: {escaped(error.message)}; trying again")
        self._outage, self._wait = True, _SHORTEST_WAIT
        self._tell(f"outage: {error.message}")

    def _recovered(self) -> None:
        if self._outage:
            self._rounds.warn("the outage is over")
        self._outage, self._pause = False, _FIRST_PAUSE
        self._tell(self._problem or "waiting for envelopes")

    def _tell(self, status: str) -> None:
        if not self._started:
            self._started = True
            self._service.ready()
        self._service.status(status)

    def _wait_for_news(self) -> None:
        quiet = self._in_parts(self._wait, self._rounds.wait)
        self._wait = next_wait(self._wait, quiet=quiet)

    def _in_parts(self, seconds: float, wait: Callable[[float], None]) -> bool:
        """Wait, with signs of life meanwhile. Return whether it took all of the time."""
        while seconds > 0:
            part, began = min(seconds, self._service.interval or seconds), self._clock()
            wait(part)
            self._service.alive()
            if self._clock() - began < part:
                return False
            seconds -= part
        return True


def next_wait(wait: float, *, quiet: bool) -> float:
    """How long to wait next: longer after a quiet time, shortly after news and trouble.

    A watch that etcd accepts while it elects a leader may never report anything, and only another read shows that.
    """
    return min(wait * 2, _LONGEST_WAIT) if quiet else _SHORTEST_WAIT
