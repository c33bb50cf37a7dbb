"""Runs the suite where it must not make a difference, then the fault campaigns; prints a table of what passed.

    python -m tests.campaign.run [--only ROW]... [--logs FOLDER]

coverage: as `make coverage`. week, year: the suite with the time of day so far ahead, under libfaketime. busy: beside a
busy loop for each core. model: the models of the fleet's protocol in their full bounds. walk: the real issuer and
node through the models' actions. containers: the image and the pods under podman. service: the units in a booted
systemd. roots: power cuts of a TPM, and a transit server. torture: as `make torture`. It takes hours. Exit code 1 when
anything failed; what cannot run here is skipped and says why.

Does not handle: the time stamps of files and etcd's clock, which stay today's.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
COVERAGE = ("make", "--no-print-directory", "coverage")
SUITE = ("make", "--no-print-directory", "test")
MODEL = (sys.executable, "-m", "tests.model.check", "--bounds", "full")
WALK = (sys.executable, "-m", "tests.model.walk", "--count", "1000")
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=1800")
TORTURE = (sys.executable, "-m", "tests.faults.torture")
AHEAD = {"week": "+7d", "year": "+365d"}
SKIPPED = "skipped"

_TABLE = "{:<12}{:<10}{:>8}{:>8}{:>8}{:>9}  {}"
_ENDS = re.compile(r"^=* ?(\d+ .*) in [0-9.]+s.*$")
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")
_KINDS = {"errors": "failed", "error": "failed"}


@dataclass(frozen=True)
class Row:
    """One run of the campaign: `ahead` is libfaketime's offset; `busy`: beside busy loops."""

    name: str
    words: Sequence[str] = SUITE
    ahead: str = ""
    busy: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a run: `ok`, `failed` or `skipped`; tests by how they ended, minutes, and where to read on."""

    verdict: str
    counts: Mapping[str, int] = field(default_factory=Counter)
    minutes: float = 0.0
    note: str = ""


ROWS = (
    Row("coverage", COVERAGE),
    *(Row(name, ahead=ahead) for name, ahead in AHEAD.items()),
    Row("busy", busy=True),
    Row("model", MODEL),
    Row("walk", WALK),
    Row("containers", (*PYTEST, "tests/campaign/containers.py")),
    Row("service", (*PYTEST, "tests/campaign/service.py")),
    Row("roots", (*PYTEST, "tests/campaign/roots.py")),
    Row("torture", TORTURE),
)


def run(row: Row, log: Path) -> Outcome:
    """Do one run, its output in `log`."""
    reason = missing() if row.ahead else None
    if reason is not None:
        return Outcome(SKIPPED, note=reason)
    began = time.monotonic()
    with ExitStack() as stack, log.open("wb") as output:
        clock = stack.enter_context(clock_ahead(row.ahead)) if row.ahead else {}
        if row.busy:
            stack.enter_context(busy_loops())
        done = subprocess.run(
            row.words,
            cwd=ROOT,
            env=os.environ | clock,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    counts = counted(log.read_text(errors="replace"))
    return Outcome("failed" if done.returncode else "ok", counts, (time.monotonic() - began) / 60, str(log))


def counted(text: str) -> Counter[str]:
    """How many tests passed, failed (errors too) and were skipped, by every summary line of pytest's in `text`."""
    counts: Counter[str] = Counter()
    for line in text.splitlines():
        ends = _ENDS.match(line)
        for number, kind in _COUNT.findall(ends[1]) if ends else ():
            counts[_KINDS.get(kind, kind)] += int(number)
    return counts


def missing() -> str | None:
    """Why the clock cannot be faked here, or None."""
    if _libfaketime() is None:
        return "needs libfaketime (Debian: libfaketime)"
    return None if shutil.which("cc") else "needs a C compiler (Debian: gcc, libc6-dev)"


@contextmanager
def clock_ahead(offset: str) -> Iterator[dict[str, str]]:
    """The environment that puts the time of day ahead, in a folder that every user can read."""
    with tempfile.TemporaryDirectory(prefix="tiktrue-campaign-") as folder:
        Path(folder).chmod(0o755)
        shim = Path(folder) / "nanosleep.so"
        source = Path(__file__).with_name("nanosleep.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", shim, source], check=True)
        yield {
            "LD_PRELOAD": f"{shim}:{_libfaketime()}",
            "FAKETIME": offset,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # else a wait with a timeout never ends
            "FAKETIME_DISABLE_SHM": "1",  # a killed process would leave its shared memory behind
        }


@contextmanager
def busy_loops() -> Iterator[None]:
    """One for each core, as long as the block runs."""
    words = [sys.executable, "-c", "while True: pass"]
    loops = [subprocess.Popen(words) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def shown(row: Row, outcome: Outcome) -> str:
    """The line of the table."""
    counts = [outcome.counts.get(kind, 0) for kind in ("passed", "failed", "skipped")]
    return _TABLE.format(row.name, outcome.verdict, *counts, f"{outcome.minutes:.1f}", outcome.note)


def _libfaketime() -> Path | None:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None


def main() -> int:
    """Do the runs that are asked for; 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS], help="may be repeated")
    parser.add_argument("--logs", type=Path, default=ROOT / "build" / "campaign", help="default: build/campaign")
    asked = parser.parse_args()
    asked.logs.mkdir(parents=True, exist_ok=True)
    rows = [row for row in ROWS if not asked.only or row.name in asked.only]
    print(_TABLE.format("run", "result", "passed", "failed", "skipped", "minutes", "log"), flush=True)
    outcomes = []
    for row in rows:
        outcomes.append(run(row, asked.logs / f"{row.name}.log"))
        print(shown(row, outcomes[-1]), flush=True)
    return 1 if any(outcome.verdict == "failed" for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
