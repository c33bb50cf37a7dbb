"""Checks the models with SPIN: the whole space of states of a model within stated bounds, or one of its planted faults.

    python -m tests.model.check [--bounds smallest|full]

Prints a line for each run: what was checked, how many states there are, seconds and megabytes. Exit code 1 when a model
fails a check, or a fault is not found.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
STREAMS, PROMOTION = "streams", "promotion"
_DEPTH = 10_000
_STATES = re.compile(r"^\s*(\d+) states, stored", re.MULTILINE)
_ERRORS = re.compile(r"errors: (\d+)$", re.MULTILINE)
_MEMORY = re.compile(r"^\s*([0-9.]+)\s+total actual memory usage", re.MULTILINE)
_FOUND = re.compile(r"^pan:\d+: (assertion violated|acceptance cycle)", re.MULTILINE)
_CUT = re.compile(r"error: max search depth too small|out of memory", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """One run of a model. `bounds` are values of its macros; `claim` is an LTL formula's name, empty for assertions.

    `fault` is the macro without FAULT_ that removes a rule, which the run has to notice.
    """

    model: str
    bounds: tuple[str, ...] = ()
    claim: str = ""
    fault: str = ""

    def __str__(self) -> str:
        """Return the run in words, as in the table."""
        fault = f"without a rule: {self.fault}" if self.fault else ""
        return " ".join(filter(None, (self.model, *self.bounds, self.claim, fault)))


@dataclass(frozen=True)
class Found:
    """What a run came to: the number of states that were stored, and what was violated, if anything."""

    states: int
    violation: str
    seconds: float
    megabytes: float


_ONE_BACK = ("DELAYS=0",)
_TWO_BACKS = ("DELAYS=0", "BACKS=2", "SAVES=2")
_ISSUER_BACK = ("DELAYS=0", "ROUNDS=1", "ISSUER_BACKS=1")
_CLAIMS = ("promotes", "rotates", "arrives")

SMALLEST: Sequence[Run] = (
    Run(STREAMS, ("ROUNDS=1",)),
    Run(STREAMS, _TWO_BACKS),
    Run(STREAMS, _ISSUER_BACK),
    *(Run(PROMOTION, claim=claim) for claim in _CLAIMS),
)
FULL: Sequence[Run] = (
    Run(STREAMS),
    Run(STREAMS, ("BACKS=2", "SAVES=2")),  # 5.6 million states, 45 s of one core, 1.2 GB
    Run(STREAMS, ("ROUNDS=3",)),  # 9.9 million states, 85 s, 1.8 GB
    Run(STREAMS, ("DELAYS=0", "SECOND", "NUMBERS=4")),
    Run(STREAMS, ("ROUNDS=1", "ISSUER_BACKS=1")),
    Run(STREAMS, ("DELAYS=0", "ISSUER_BACKS=1")),
    *(Run(PROMOTION, ("NODES=3", "GENERATIONS=3"), claim) for claim in _CLAIMS),
)
FAULTS: Sequence[Run] = (
    Run(STREAMS, _ONE_BACK, fault="KEYS_FIRST"),
    Run(STREAMS, _ONE_BACK, fault="LIST_REPLACES"),
    Run(STREAMS, _ONE_BACK, fault="NEVER_BACK"),
    Run(STREAMS, _ONE_BACK, fault="OK_FOREVER"),
    Run(STREAMS, _ONE_BACK, fault="REVOKED_ONCE"),
    Run(STREAMS, _ONE_BACK, fault="NO_SCOPE"),
    Run(STREAMS, ("ROUNDS=1",), fault="NO_CHALLENGE"),
    Run(STREAMS, _TWO_BACKS, fault="BACK_ONCE"),
    Run(STREAMS, _TWO_BACKS, fault="NO_PROOF"),
    Run(STREAMS, (*_ISSUER_BACK, "BACKS=0"), fault="NO_HEAD"),
    Run(STREAMS, ("ROUNDS=1", "ISSUER_BACKS=1"), fault="ROUND_ONLY"),
    Run(PROMOTION, claim="promotes", fault="EARLY"),
    Run(PROMOTION, claim="promotes", fault="WAIT_FOREVER"),
    Run(PROMOTION, claim="rotates", fault="ONE_AT_A_TIME"),
)


def missing() -> str | None:
    """Return which program is not installed, or None."""
    lacks = [name for name in ("spin", "gcc") if shutil.which(name) is None]
    return f"not installed: {', '.join(lacks)} (Debian: spin, gcc)" if lacks else None


def check(run: Run) -> Found:
    """Check one run. Raises ValueError when the search did not come to its end without a violation."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tiktrue-model-") as folder:
        macros = [f"-D{each}" for each in run.bounds] + ([f"-DFAULT_{run.fault}"] if run.fault else [])
        _done(["spin", *macros, "-a", str(FOLDER / f"{run.model}.pml")], folder)
        flags = ["-DNFAIR=5"] if run.claim else ["-DSAFETY", "-DCOLLAPSE"]
        _done(["gcc", "-O1" if not run.fault else "-O0", "-w", "-DMEMLIM=8000", *flags, "-o", "pan", "pan.c"], folder)
        # Weak fairness: a process that can always take a step takes one some day.
        searched = ["-a", "-f", "-N", run.claim] if run.claim else ["-noclaim"]
        said = _done(["./pan", f"-m{_DEPTH}", *searched], folder)
    found, errors = _FOUND.search(said), _ERRORS.search(said)
    states, memory = _STATES.search(said), _MEMORY.search(said)
    if states is None or errors is None or _CUT.search(said) or (found is None and errors[1] != "0"):
        raise ValueError(f"{run}: the search was cut short:\n{said}")
    return Found(
        int(states[1]),
        found[1] if found else "",
        time.monotonic() - began,
        float(memory[1]) if memory else 0.0,
    )


def _done(words: Sequence[str], folder: str) -> str:
    """Return what a command said. SPIN's programs end in 0 also after a violation."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{words[0]} ended in {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _rows(bounds: str) -> Iterator[tuple[str, bool]]:
    runs = [*SMALLEST, *(FULL if bounds == "full" else ()), *FAULTS]
    for run in runs:
        found = check(run)
        as_it_must = bool(found.violation) == bool(run.fault)
        figures = f"{found.states:>10} states {found.seconds:7.1f} s {found.megabytes:8.1f} MB"
        yield f"{figures}  {'ok    ' if as_it_must else 'FAILED'}  {run}: {found.violation or 'holds'}", as_it_must


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bounds", choices=("smallest", "full"), default="full")
    bounds = parser.parse_args().bounds
    reason = missing()
    if reason is not None:
        print(f"skipped: {reason}")
        return 0
    failed = False
    for line, as_it_must in _rows(bounds):
        print(line, flush=True)
        failed = failed or not as_it_must
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
