"""kill -9 in the middle of every operation: the next command finds the old or the new state of each unit, and goes on.

python -m tests.faults.kills --only rotate --every        every point of one operation
python -m tests.faults.kills --count 10000                random points of all of them, but for those on folders
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults import traced
from tests.faults.bench import Bench
from tests.faults.campaign import Options, Tally, ViolationError, break_it, main, scratch, watched
from tests.faults.operations import FOLDER_OPERATIONS, OPERATIONS, operation_named
from tests.faults.traced import Point
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.models.format.manifest import Manifest

CONTROLS = ("journal-off", "in-place", "named-first")
_BEGINS_AT = {"in-place": "fallocate", "named-first": "rename"}
"""The call from which on a control does harm. An operation makes it once: its number is the same in each run."""


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """`count` kills over the operations (`--only`, or all), in turns; `--every`: each kill point of each once."""
    folder = scratch("kills")
    if options.control is not None:
        _break(options.control)
    names = options.only or tuple(operation.name for operation in OPERATIONS if operation.exists)
    tally.figures["acts not there yet"] = [operation.name for operation in OPERATIONS if not operation.exists]
    seen: dict[str, Counter[str]] = {}
    for at, name in enumerate(names):
        (folder / name).mkdir()
        bench = Bench(operation_named(name), folder / name)
        seen[name] = Counter()
        quota = (options.count * (at + 1)) // len(names) - (options.count * at) // len(names)
        for case, point in _chosen(bench, options, quota):
            if not go_on():
                break
            tally.cases += 1
            _kill(bench, point, seen[name], tally, probe_first=bool(case % 2))
        shutil.rmtree(folder / name)
    tally.figures["acts"] = {name: dict(sorted(counts.items())) for name, counts in seen.items()}


def _chosen(bench: Bench, options: Options, quota: int) -> Iterator[tuple[int, Point]]:
    """Numbered points: every one, or `quota` random ones."""
    points = bench.points()
    first = _BEGINS_AT.get(options.control or "")
    if first is not None:
        points = points[[point.call for point in points].index(first) :]
    if options.every:
        yield from ((case, point) for case, point in enumerate(points) if options.mine(case))
        return
    chooser = options.random(bench.operation.name, options.part)
    yield from ((case, chooser.choice(points)) for case in range(quota))


def _kill(bench: Bench, point: Point, seen: Counter[str], tally: Tally, *, probe_first: bool) -> None:
    where = f"{bench.operation.name} at {point.call} number {point.nth}: {point.text[:110]}"
    ended = bench.interrupted(point.kill())
    seen["killed" if ended.code is None else "not reached"] += 1
    if ended.code not in (None, 0):
        tally.broken(where, f"not killed and exit {ended.code}: {ended.errors[-300:]}")
        return
    with watched(tally, where):
        seen[bench.examine(ended)] += 1
        try:
            bench.go_on(probe_first=probe_first)
        except ViolationError as error:
            raise ViolationError(f"afterwards: {error}") from error


def _break(control: str) -> None:
    """Break the program in this process, and so in every child, in a way that a kill must bring to light."""
    if control == "journal-off":
        from tiktrue_keys.core.keystore import database

        break_it(database, "_PRAGMAS", ("PRAGMA journal_mode = OFF", *database._PRAGMAS[1:]))
    elif control == "named-first":
        from tiktrue_keys.models.folder import target
        from tiktrue_keys.models.folder.manifest_file import write_manifest
        from tiktrue_keys.models.folder.swap import swap_in

        def complete(made: Any, manager: KeyManager, manifest: Manifest) -> None:
            swap_in(made.place)
            write_manifest(manager, made.destination, manifest)

        break_it(target.DiskTarget, "complete", complete)
    else:
        from tiktrue_keys.core.durable import NewFile

        def create_in_place(new: NewFile) -> None:
            import os

            new.fd = os.open(new.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

        def nothing(new: NewFile) -> None:
            new.committed = True

        break_it(NewFile, "_create", create_in_place)
        break_it(NewFile, "_rename", nothing)
        break_it(NewFile, "_link", nothing)


if __name__ == "__main__":
    main(
        Path(__file__).stem,
        run,
        count=400,
        skip=traced.skip_reason,
        controls=CONTROLS,
        only=[operation.name for operation in (*OPERATIONS, *FOLDER_OPERATIONS)],
    )
