"""How cost grows: file size and memory with the number of keys, one key among many against one among ten.

python -m tests.faults.scale --count 100000
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.campaign import Options, Tally, ViolationError, main, scratch, watched
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.manager import KeyManager

_BATCH = 5_000
_LICENSE = "a license, made up for tests"


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """Ten keys, then `count` of them in batches, measured at a tenth, a half and the whole."""
    folder = scratch("scale")
    small, large = _manager(folder / "small"), _manager(folder / "large")
    small.generate("k", license_key=_LICENSE, count=10)
    sizes: dict[int, int] = {}
    batch = min(_BATCH, options.count // 2)
    seconds = []
    for number in range(0, options.count, batch):
        begun = time.monotonic()
        large.generate(f"k{number}", license_key=_LICENSE, count=batch)
        seconds.append(time.monotonic() - begun)
        done = number + batch
        tally.cases += batch
        if done in (options.count // 10, options.count // 2, options.count) or done == batch:
            sizes[done] = (folder / "large/keys/keystore.db").stat().st_size
    tally.figures["seconds a batch, first and last"] = [round(seconds[0], 3), round(seconds[-1], 3)]
    tally.figures["file bytes"] = sizes
    most, least = max(sizes), min(sizes)
    tally.figures["bytes a key"] = round(sizes[most] / most)
    with watched(tally, "file size"):
        if options.control is not None:
            sizes[most] *= 3
        if most > least and sizes[most] / most > 1.2 * sizes[least] / least:
            raise ViolationError(f"the file grows faster than its keys: {sizes}")
    if options.control is not None and tally.violations:
        return  # it has nothing more to show
    _one_among_many(small, large, tally, options)
    _one_as_a_program(folder, small, large, tally, options)
    _whole(large, options.count, tally)
    for manager in (small, large):
        manager.close()


def _one_among_many(small: KeyManager, large: KeyManager, tally: Tally, options: Options) -> None:
    few = [_timed(lambda: small.find("k-0003")) for _ in range(200)]
    many = [_timed(lambda: large.find("k0-0003")) for _ in range(200)]
    tally.figures["find, ms"] = {"among ten": _ms(few), "among all": _ms(many)}
    few = [_timed(lambda: small.rotate(["k-0003"], license_key=_LICENSE)) for _ in range(15)]
    many = [_timed(lambda: large.rotate(["k0-0003"], license_key=_LICENSE)) for _ in range(15)]
    tally.figures["rotate, ms"] = {"among ten": _ms(few), "among all": _ms(many)}
    with watched(tally, "one among many"):
        ratio = min(many) / min(few)
        tally.figures["rotate, ratio of the minima"] = round(ratio, 2)
        if options.bars and ratio > 2.4:
            raise ViolationError(f"one key among many costs {ratio:.2f} times one among ten (bar 1.2, guard 2.4)")


def _one_as_a_program(folder: Path, small: KeyManager, large: KeyManager, tally: Tally, options: Options) -> None:
    """The whole of `validate KEY`, start-up included, in turns: the bar is an operator's."""

    def validate(name: str, key_id: str) -> None:
        program = [sys.executable, "-m", "tiktrue_keys", "validate", key_id]
        places = ["--keystore", str(folder / name / "keys"), "--host-secret", str(folder / name / "secret")]
        subprocess.run([*program, *places], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    few, many = small.find("k-0003").key_id, large.find("k0-0003").key_id
    seconds = [(_timed(lambda: validate("small", few)), _timed(lambda: validate("large", many))) for _ in range(9)]
    among_ten, among_all = ([each[place] for each in seconds] for place in (0, 1))
    tally.figures["validate KEY, whole process, ms"] = {"among ten": _ms(among_ten), "among all": _ms(among_all)}
    with watched(tally, "one among many, as a program"):
        ratio = min(among_all) / min(among_ten)
        tally.figures["validate KEY, ratio of the minima"] = round(ratio, 2)
        if options.bars and ratio > 2.4:
            raise ViolationError(f"validate KEY among many takes {ratio:.2f} times as long (bar 1.2, guard 2.4)")


def _whole(large: KeyManager, count: int, tally: Tally) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    seen = sum(1 for _ in iter(large.keys()))
    tally.figures["iterate all, seconds"] = round(time.monotonic() - begun, 2)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    tally.figures["iterate all, MB of memory added"] = round(grown, 1)
    tally.figures["validate all, seconds"] = round(_timed(lambda: large.validate()), 2)
    if count <= 10_000:
        tally.figures["rotate all, seconds"] = round(_timed(lambda: large.rotate(every=True, license_key=_LICENSE)), 2)
    with watched(tally, "memory"):
        if seen < count:
            raise ViolationError(f"{seen} keys of {count}")
        if grown > 20 * count / 10_000 + 20:
            raise ViolationError(f"iterating {count} keys added {grown:.0f} MB (bar 10 MB for 10,000, guard twice)")


def _manager(base: Path) -> KeyManager:
    base.mkdir()
    return KeyManager(base / "keys", host_secret_file=base / "secret", pbkdf2_rounds=PBKDF2_MIN_ROUNDS)


def _timed(call: Callable[[], Any]) -> float:
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def _ms(seconds: list[float]) -> dict[str, float]:
    return {"least": round(min(seconds) * 1000, 2), "median": round(statistics.median(seconds) * 1000, 2)}


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=10_000, controls=("file-grows",))
