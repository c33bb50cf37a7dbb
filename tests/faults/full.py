"""Every operation where not one byte is free: the store stays whole, the exit code says why, `revoke` still works.

    python -m tests.faults.full

On tmpfs, ext4 and xfs, filled to the last block. Afterwards space is freed and the same operation, under its id, is
done. It also measures how much room a `revoke` needs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import mounts, traced
from tests.faults.bench import Bench
from tests.faults.campaign import Options, Tally, ViolationError, break_it, main, scratch, watched
from tests.faults.operations import OPERATIONS, operation_named
from tests.faults.traced import Ended

_PAGE = 4096
_SIZE = 8 * mounts.MEGABYTE
_UNAVAILABLE = 12
_MUST_WORK = ("revoke",)


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """Each operation on each kind of file system, then the room that a revocation needs."""
    mounts.enter()
    folder = scratch("full")
    if options.control is not None:
        _break()
    names = options.only or tuple(operation.name for operation in OPERATIONS if operation.exists)
    seen: dict[str, Counter[str]] = {}
    kinds = ("tmpfs", *mounts.kinds()) if options.every else ("tmpfs",)
    for kind in kinds:
        for name in names:
            if not go_on():
                break
            tally.cases += 1
            with _small(folder, kind) as place:
                bench = Bench(operation_named(name), place, kept=folder / "kept")
                with watched(tally, f"{name} on a full {kind}"):
                    ended = _without_room(bench, place, 0)
                    seen.setdefault(name, Counter())[f"{kind}: exit {ended.code}"] += 1
                    _judge(bench, name, ended)
                if name == "revoke" and kind == "tmpfs":
                    tally.figures["bytes that a revocation needs"] = _needed(bench, place)
    tally.figures["acts"] = {name: dict(sorted(counts.items())) for name, counts in seen.items()}


def _judge(bench: Bench, name: str, ended: Ended) -> None:
    if ended.code not in (0, _UNAVAILABLE):
        raise ViolationError(f"exit {ended.code}: {ended.errors[-400:]}")
    found = bench.examine(ended)
    if name in _MUST_WORK and (ended.code, found) != (0, "new"):
        raise ViolationError(f"it must work without room: exit {ended.code}: {ended.errors[-300:]}")
    bench.go_on(probe_first=False)


def _without_room(bench: Bench, place: Path, room: int) -> Ended:
    """The operation on a disk with `room` bytes free; the disk is emptied again before anybody looks."""
    bench.shop.restore()
    filler = place / "filler"
    _fill(filler, room)
    try:
        return traced.forked(bench.operation.work(bench.shop), bench.shop.environment)
    finally:
        filler.unlink()


def _fill(filler: Path, room: int) -> None:
    """Leave exactly `room` bytes: pieces first, single bytes last."""
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        for piece in (mounts.MEGABYTE, 64 * 1024, _PAGE, 512, 1):
            with contextlib.suppress(OSError):
                while os.write(descriptor, bytes(piece)) == piece:
                    pass
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
        if room:
            os.ftruncate(descriptor, max(0, os.fstat(descriptor).st_size // _PAGE * _PAGE - room))
    finally:
        os.close(descriptor)


def _needed(bench: Bench, place: Path) -> int:
    """The least room, in whole pages, in which the operation succeeds; by bisection."""
    fails, works = -1, 512
    while works - fails > 1:
        middle = (fails + works) // 2
        if _without_room(bench, place, middle * _PAGE).code == 0:
            works = middle
        else:
            fails = middle
    return works * _PAGE


@contextmanager
def _small(folder: Path, kind: str) -> Iterator[Path]:
    """A small file system of that kind."""
    place, kept = folder / "small", folder / "kept"
    place.mkdir()
    kept.mkdir()
    if kind == "tmpfs":
        mounts.mount_memory(place, _SIZE)
    else:
        mounts.make_image(folder / "image", kind)
        mounts.mount_image(folder / "image", place)
    try:
        yield place
    finally:
        mounts.unmount(place)
        shutil.rmtree(place)
        shutil.rmtree(kept)


def _break() -> None:
    """No space is kept back."""
    from tiktrue_keys.core.keystore import store

    break_it(store, "keep_reserve", lambda *_: None)


if __name__ == "__main__":
    main(
        Path(__file__).stem,
        run,
        count=400,
        skip=lambda: traced.skip_reason() or mounts.skip_reason(),
        controls=("no-reserve",),
        only=[operation.name for operation in OPERATIONS],
    )
