"""What all campaigns have in common: a printed seed, a count, a time limit, results in JSON, parts for two cores.

    python -m tests.faults.kills --seed 7 --count 200

A campaign is a function that tries numbered cases until it is told to stop, and notes what it saw. Exit code 0: nothing
was violated (with `--control`: something was, as it must be); 1 otherwise; 77: it cannot run here, with the reason.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.signals import reset_signals

RESULTS = Path(__file__).with_name("results")
SKIPPED = 77
_SHOWN_VIOLATIONS = 4


class ViolationError(AssertionError):
    """A promise that did not hold."""


@dataclass
class Tally:
    """What a campaign saw. `violations` are texts, `counts` anything worth a number."""

    cases: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def broken(self, where: str, what: object) -> None:
        """Note a violation."""
        self.counts["violations"] += 1
        kind = where.partition(" ")[0]
        self.counts[f"violations of {kind}"] += 1
        if self.counts[f"violations of {kind}"] <= _SHOWN_VIOLATIONS:
            self.violations.append(f"{where}: {what}")


@dataclass(frozen=True)
class Options:
    """The arguments of a run."""

    seed: int
    count: int
    seconds: float
    part: int
    parts: int
    only: tuple[str, ...]
    control: str | None
    every: bool
    bars: bool

    def random(self, *more: object) -> random.Random:
        """Numbers that depend on the seed and on `more`, so that a case is the same whatever was run before it."""
        return random.Random(f"{self.seed} {more}")

    def mine(self, number: int) -> bool:
        """Whether this part does that case."""
        return number % self.parts == self.part


def main(
    name: str,
    run: Callable[[Options, Tally, Callable[[], bool]], None],
    *,
    count: int,
    skip: Callable[[], str | None] = lambda: None,
    controls: Sequence[str] = (),
    only: Sequence[str] = (),
) -> None:
    """Parse arguments, run the campaign, print and (with `--save`) keep its result. Does not return."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.faults.{name}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--count", type=int, default=count, help=f"cases (default {count})")
    parser.add_argument("--seconds", type=float, default=86_400, help="stop after so long")
    parser.add_argument("--part", default="0/1", help="0/2 and 1/2 share the cases")
    parser.add_argument("--only", action="append", default=[], choices=list(only) or None, help="may be repeated")
    parser.add_argument("--control", choices=list(controls) or None, help="break the program first: must be seen")
    parser.add_argument("--every", action="store_true", help="every case instead of a sample")
    parser.add_argument("--bars", action="store_true", help="judge seconds too, which only an idle machine can meet")
    parser.add_argument("--save", action="store_true", help=f"write results/{name}.json")
    given = parser.parse_args()
    part, _, parts = given.part.partition("/")
    options = Options(
        given.seed,
        given.count,
        given.seconds,
        int(part),
        int(parts),
        tuple(given.only),
        given.control,
        given.every,
        given.bars,
    )
    reason = skip()
    if reason is not None:
        print(f"{name}: skipped: {reason}", file=sys.stderr)
        sys.exit(SKIPPED)
    print(f"{name}: seed {options.seed}", file=sys.stderr, flush=True)
    reset_signals()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the scratch folder goes
    result = _result(name, options, run)
    print(json.dumps(result, indent=1))
    if given.save:
        save(name, result)
    sys.exit(0 if bool(result["violations"]) == bool(options.control) else 1)


def save(name: str, result: dict[str, Any]) -> None:
    """Keep a result under results/."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _result(name: str, options: Options, run: Callable[[Options, Tally, Callable[[], bool]], None]) -> dict[str, Any]:
    tally, begun = Tally(), time.monotonic()

    def go_on() -> bool:
        seen = bool(options.control and tally.violations)  # a control has nothing more to show
        within = options.every or tally.cases < options.count
        return not seen and within and time.monotonic() - begun < options.seconds

    try:
        run(options, tally, go_on)
    except Exception:  # noqa: BLE001  a campaign that falls over has not passed
        tally.broken("the campaign itself", traceback.format_exc())
    seconds = time.monotonic() - begun
    return {
        "campaign": name,
        "seed": options.seed,
        "control": options.control,
        "cases": tally.cases,
        "seconds": round(seconds, 1),
        "counts": dict(sorted(tally.counts.items())),
        "figures": tally.figures,
        "violations": tally.violations,
    }


def break_it(owner: object, name: str, value: object) -> None:
    """For a control: put something worse in the place of a part of the program, in this process and its children."""
    if not hasattr(owner, name):
        raise AttributeError(f"the control would break {name}, which is not there any more")
    setattr(owner, name, value)


def scratch(name: str) -> Path:
    """A folder in memory where there is one (a kill needs no disk), gone when the process ends."""
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix=f"tiktrue-{name}-", dir=base))
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    return folder


@contextlib.contextmanager
def watched(tally: Tally, where: str) -> Iterator[None]:
    """Turns a ViolationError of the block into a note."""
    try:
        yield
    except ViolationError as error:
        tally.broken(where, error)
