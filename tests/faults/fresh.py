"""The kills of tests.faults.kills on fresh interpreters: strace starts `python -m tiktrue_keys` and kills it.

    python -m tests.faults.fresh --count 100

Slower than a warm child (imports and all), and the proof that the warm child is no other program: the facts are this
machine's own, nothing is loaded before, and the kill points are those of a recorded run from its first mention on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults import traced
from tests.faults.bench import Bench
from tests.faults.campaign import Options, Tally, ViolationError, main, scratch, watched
from tests.faults.operations import OPERATION, OPERATIONS, operation_named
from tests.faults.shop import Shop

_NAMES = ("rotate", "rewrap-model", "generate", "encrypt-model", "revoke")


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """`count` kills, the operations in turns."""
    Shop.real = True
    folder = scratch("fresh")
    names = options.only or _NAMES
    benches = {}
    for name in names:
        (folder / name).mkdir()
        benches[name] = Bench(operation_named(name), folder / name)
    seen: dict[str, Counter[str]] = {name: Counter() for name in names}
    points = {name: _recorded(bench, folder / "log") for name, bench in benches.items()}
    chooser = options.random(options.part)
    while go_on():
        name = names[tally.cases % len(names)]
        bench, point = benches[name], chooser.choice(points[name])
        tally.cases += 1
        bench.shop.restore()
        ended = traced.exec_traced(_words(bench), bench.shop.environment, [point.kill()], folder / "log")
        seen[name]["killed" if ended.code is None else "not reached"] += 1
        with watched(tally, f"{name} at {point.call} number {point.nth}: {point.text[:110]}"):
            if ended.code not in (None, 0):
                raise ViolationError(f"not killed and exit {ended.code}: {ended.errors[-300:]}")
            seen[name][bench.examine(ended)] += 1
            bench.go_on(probe_first=bool(tally.cases % 2))
    tally.figures["acts"] = {name: dict(sorted(counts.items())) for name, counts in seen.items()}


def _words(bench: Bench) -> list[str]:
    return [*bench.operation.words(bench.shop), "--operation-id", OPERATION]


def _recorded(bench: Bench, log: Path) -> list[traced.Point]:
    bench.shop.restore()
    ended = traced.exec_traced(_words(bench), bench.shop.environment, [], log)
    if ended.code != 0:
        raise ViolationError(f"{bench.operation.name} cannot be recorded: {ended.errors}")
    return traced.points(log, bench.shop.folders)


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=20, skip=traced.skip_reason, only=[operation.name for operation in OPERATIONS])
