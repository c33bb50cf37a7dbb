"""A disk that fails or is full: EIO or ENOSPC at one call, or at it and every later one of its name.

    python -m tests.faults.errors --only rotate --every

What is found is the old or the new state; exit 0 means that it is done, 12 that the disk is to blame; the same
operation under its operation id, on a disk that works again, ends in the new state.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults import traced
from tests.faults.bench import Bench
from tests.faults.campaign import Options, Tally, ViolationError, break_it, main, scratch, watched
from tests.faults.operations import OPERATIONS, operation_named
from tests.faults.traced import Point

_UNAVAILABLE = 12
_ERRORS = ("EIO", "ENOSPC")


@dataclass(frozen=True)
class Fault:
    """One way in which a disk goes wrong."""

    point: Point
    error: str
    lasting: bool

    @property
    def injection(self) -> str:
        """What strace is told."""
        return self.point.fail(self.error, from_then_on=self.lasting)


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """`count` faults over the operations (`--only`, or all); `--every`: each call, each error, once and lasting."""
    folder = scratch("errors")
    if options.control is not None:
        believe_commits()
    names = options.only or tuple(operation.name for operation in OPERATIONS if operation.exists)
    seen: dict[str, Counter[str]] = {}
    for at, name in enumerate(names):
        (folder / name).mkdir()
        bench = Bench(operation_named(name), folder / name)
        seen[name] = Counter()
        quota = (options.count * (at + 1)) // len(names) - (options.count * at) // len(names)
        for case, fault in _chosen(bench, options, quota):
            if not go_on():
                break
            tally.cases += 1
            _fail(bench, fault, seen[name], tally, probe_first=bool(case % 2))
        shutil.rmtree(folder / name)
    tally.figures["acts"] = {name: dict(sorted(counts.items())) for name, counts in seen.items()}


def _chosen(bench: Bench, options: Options, quota: int) -> Iterator[tuple[int, Fault]]:
    faults = [
        Fault(point, error, lasting)
        for point in bench.points(failing=True)
        for error in _ERRORS
        for lasting in (False, True)
        if not (error == "ENOSPC" and point.call in ("unlink", "unlinkat", "fchmod", "fchown"))
    ]
    if options.every:
        yield from ((case, fault) for case, fault in enumerate(faults) if options.mine(case))
        return
    chooser = options.random(bench.operation.name, options.part)
    yield from ((case, chooser.choice(faults)) for case in range(quota))


def _fail(bench: Bench, fault: Fault, seen: Counter[str], tally: Tally, *, probe_first: bool) -> None:
    point = fault.point
    where = (
        f"{bench.operation.name}, {fault.error}{' from then on' if fault.lasting else ''} at {point.call} {point.nth}: "
    )
    where += point.text[:100]
    ended = bench.interrupted(fault.injection)
    seen[f"exit {ended.code}"] += 1
    with watched(tally, where):
        if ended.code not in (0, _UNAVAILABLE):
            raise ViolationError(f"exit {ended.code}: {ended.errors[-400:]}")
        if "Traceback" in ended.errors:
            raise ViolationError(f"a traceback: {ended.errors[-400:]}")
        try:
            seen[bench.examine(ended)] += 1
        except ViolationError as error:
            raise ViolationError(f"exit {ended.code}, and {error}; it said {ended.errors[-200:]!r}") from error
        try:
            bench.go_on(probe_first=probe_first, tidy=not (fault.lasting and point.call.startswith("unlink")))
        except ViolationError as error:
            raise ViolationError(f"exit {ended.code}; afterwards: {error}; it said {ended.errors[-200:]!r}") from error


def believe_commits() -> None:
    """Sync nothing and believe every COMMIT: what a failing disk drops is then lost without a word."""
    from tiktrue_keys.core.keystore.store import Keystore

    def believed(keystore: Keystore, _: object) -> None:
        import contextlib
        import sqlite3

        with contextlib.suppress(sqlite3.Error):
            keystore._writer.sqlite.execute("COMMIT")
        with contextlib.suppress(sqlite3.Error):
            keystore._writer.sqlite.execute("ROLLBACK")

    break_it(Keystore, "_commit", believed)


if __name__ == "__main__":
    main(
        Path(__file__).stem,
        run,
        count=400,
        skip=traced.skip_reason,
        controls=("commit-believed",),
        only=[operation.name for operation in OPERATIONS],
    )
