"""Times things one after the other, round by round, so that a change of the machine's mood hits all of them alike."""

from __future__ import annotations

import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TABLE = "{:<40}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}"


@dataclass(frozen=True)
class Contestant:
    """Something to time: `run` is timed; `prepare` and `check` are not, before and after it."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None
    check: Callable[[], object] = lambda: None


@dataclass
class Times:
    """Seconds of wall clock and of CPU (user and system, children included), one a round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, float]:
        return {
            "wall_min": min(self.wall),
            "wall_median": statistics.median(self.wall),
            "cpu_min": min(self.cpu),
            "cpu_median": statistics.median(self.cpu),
            "rounds": len(self.wall),
        }


def measured(contestants: list[Contestant], rounds: int) -> dict[str, Times]:
    """Every contestant once a round; the first round, which fills caches, is not counted."""
    times = {contestant.name: Times() for contestant in contestants}
    for number in range(rounds + 1):
        for contestant in contestants:
            contestant.prepare()
            wall, cpu = time.perf_counter(), _cpu_seconds()
            contestant.run()
            wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
            contestant.check()
            if number:
                times[contestant.name].wall.append(wall)
                times[contestant.name].cpu.append(cpu)
    return times


def shown(title: str, times: Mapping[str, Times], *, beside: str) -> dict[str, Any]:
    """Print the table; `beside` is what the last two columns are relative to. Returns it for the JSON."""
    print(f"\n{title}")
    print(_TABLE.format("", "wall min", "median", "cpu min", "median", "x wall", "x cpu"))
    found = {name: each.to_json() for name, each in times.items()}
    for name, figures in found.items():
        columns = [figures[key] for key in ("wall_min", "wall_median", "cpu_min", "cpu_median")]
        ratios = [figures[key] / max(found[beside][key], 1e-9) for key in ("wall_min", "cpu_min")]
        print(_TABLE.format(name[:40], *(f"{value:.3f}" for value in columns), *(f"{ratio:.2f}" for ratio in ratios)))
    return {"title": title, "beside": beside, "figures": found}


def written(path: Path, sections: list[dict[str, Any]], **facts: Any) -> None:
    """Everything as JSON, with what the machine was."""
    machine = {"processors": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}
    path.write_text(json.dumps({"machine": machine, **facts, "sections": sections}, indent=1) + "\n")


def _cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
