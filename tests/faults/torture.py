"""Every campaign at its full figure, two at a time, resumable: `python -m tests.faults.torture [--again] [NAME...]`.

A campaign whose result is in results/ and good is not run again, unless with --again. All of them take about two hours
on two cores. NAME picks some.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from tests.faults.campaign import RESULTS, SKIPPED, save
from tests.faults.running import started

_AT_ONCE = 2
FULL: dict[str, str] = {
    "kills-every-point": "kills --only rotate --only rewrap-model --every",
    "kills-escrow": "kills --only escrow-create --only escrow-verify --only recover --every",
    "kills-1": "kills --count 5000 --part 0/2",
    "kills-2": "kills --count 5000 --part 1/2",
    "kills-folders": "kills --every --only encrypt-folder --only encrypt-folder-over --only encrypt-folder-resumable"
    " --only decrypt-folder --only decrypt-folder-over --only reencrypt-folder",
    "fresh": "fresh --count 500",
    "errors-1": "errors --only rotate --only generate --only encrypt-model --every --part 0/2",
    "errors-2": "errors --only rotate --only generate --only encrypt-model --every --part 1/2",
    "errors-restore": "errors --only restore --only recover --every",
    "errors-escrow": "errors --only escrow-create --only escrow-verify --every",
    "errors-others": "errors --count 1000",
    "power": "power --count 2000",
    "full": "full --every",
    "flips-splices": "flips --only splices --count 10000",
    "flips-bytes-1": "flips --only bytes --every --part 0/2",
    "flips-bytes-2": "flips --only bytes --every --part 1/2",
    "crowd": "crowd --bars",
    "states": "states --count 1000",
    "clock": "clock",
    "drift": "drift --every",
    "scale": "scale --count 100000 --bars",
    "secrets_absent": "secrets_absent",
    "cron": "cron",
    "leader-kills": "leader_kills --count 50 --bars",
    "leader-kills-two": "leader_kills --only two --count 40 --bars",
    "fleet-scale": "fleet_scale --count 10000 --bars",
}
CONTROLS: dict[str, str] = {
    "control-kills-journal": "kills --only rotate --count 60 --control journal-off",
    "control-kills-in-place": "kills --only encrypt-over --every --control in-place",
    "control-errors": "errors --only rotate --count 60 --control commit-believed",
    "control-power-normal": "power --count 80 --control synchronous-normal",
    "control-power-folder": "power --count 80 --control no-folder-sync",
    "control-full": "full --only revoke --control no-reserve",
    "control-flips": "flips --only splices --count 400 --control rows-believed",
    "control-crowd": "crowd --only processes --count 8 --control no-lock",
    "control-crowd-guard": "crowd --only threads --only tasks --control no-guard",
    "control-states": "states --count 200 --control clock-believed",
    "control-clock": "clock --control no-newer-record",
    "control-drift": "drift --control one-fact-fewer",
    "control-scale": "scale --count 2000 --control file-grows",
    "control-secrets": "secrets_absent --control key-kept",
    "control-cron": "cron --count 365 --control nothing-due",
    "control-leader-kills": "leader_kills --count 3 --control deaf-node",
    "control-fleet-scale": "fleet_scale --only spool --count 1000 --bars --control sealed-often",
}


def main() -> int:
    """Run what has no result yet; 1 when a promise was broken, or a control not seen."""
    again = "--again" in sys.argv
    named = [word for word in sys.argv[1:] if not word.startswith("-")]
    known = {name: words for name, words in {**FULL, **CONTROLS}.items() if not named or name in named}
    waiting = [(name, words) for name, words in known.items() if again or not _done(name)]
    bad = [name for name, code in _run_all(waiting) if code not in (0, SKIPPED)]
    print(f"torture: {len(waiting)} campaigns run, {len(bad)} bad{': ' if bad else ''}{' '.join(bad)}")
    return 1 if bad else 0


def _run_all(waiting: list[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    queue = iter(waiting)
    running = [(name, words, started(words.split())) for name, words in _next(queue, _AT_ONCE)]
    while running:
        name, words, process = running.pop(0)
        output, errors = process.communicate()
        print(f"{name}: exit {process.returncode}", flush=True)
        if process.returncode == SKIPPED:
            print(errors.strip(), flush=True)
        else:
            save(name, {"command": f"python -m tests.faults.{words}", **_parsed(output, errors)})
        yield name, process.returncode
        running += [(name, words, started(words.split())) for name, words in _next(queue, 1)]


def _next(queue: Iterator[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    return [item for _, item in zip(range(count), queue, strict=False)]


def _done(name: str) -> bool:
    path = RESULTS / f"{name}.json"
    return path.exists() and bool(json.loads(path.read_text())["violations"]) == name.startswith("control-")


def _parsed(output: str, errors: str) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(output)
    except json.JSONDecodeError:
        return {"violations": [f"it fell over: {errors[-2000:]}"]}
    return result


if __name__ == "__main__":
    sys.exit(main())
