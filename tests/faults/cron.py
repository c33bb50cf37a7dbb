"""A year of hourly `rotate --due`: missed weeks, keys of a license that cron does not have, a row that is damaged.

    python -m tests.faults.cron

Every key is rotated once in time, none twice; what could not be done is told each time and does not fill the log.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults import facts
from tests.faults.campaign import Options, Tally, ViolationError, break_it, main, scratch, watched
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError

_HOUR = 3_600
_DAY = 86_400
_NOON = 1_795_608_000
_LICENSE, _OTHER = "license of cron", "license of somebody else"
_WITHIN = 7 * _DAY
_MISSED = ((60, 67), (200, 221))  # days without cron; the second is longer than the time that is left at the start


class Year:
    """One keystore over a year."""

    def __init__(self, base: Path) -> None:
        facts.become(facts.FIVE)
        self.now = _NOON
        self.file = base / "keys/keystore.db"
        self.manager = KeyManager(
            base / "keys",
            host_secret_file=base / "secret",
            pbkdf2_rounds=PBKDF2_MIN_ROUNDS,
            clock=lambda: float(self.now),
        )
        for number in range(8):
            self.now += 3 * _HOUR
            self.manager.generate(f"mine-{number}", license_key=_LICENSE)
        self.manager.generate("short", license_key=_LICENSE, lifetime=2 * _DAY)
        self.manager.generate("theirs", license_key=_OTHER, new_license=True)
        self.manager.generate("open", no_license=True)


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """`count` runs of cron over the year: 8,760 are one an hour."""
    step = 365 * _DAY // options.count
    year = Year(scratch("cron"))
    if options.control is not None:
        from tiktrue_keys.core.acts import rotate

        break_it(rotate, "is_due", lambda *_, **__: False)
    told: Counter[str] = Counter()
    begun = year.now
    while go_on() and year.now < begun + 365 * _DAY:
        year.now += step
        day = (year.now - begun) / _DAY
        if any(first <= day < last for first, last in _MISSED):
            continue
        tally.cases += 1
        with watched(tally, f"day {day:.2f}"):
            _one_run(year, told, step, missed=any(last <= day < last + 1 for _, last in _MISSED))
    with watched(tally, "the end"):
        _judge(year, tally, told, options.count)
        _with_a_damaged_row(year, tally)


def _one_run(year: Year, told: Counter[str], step: int, *, missed: bool) -> None:
    done = year.manager.rotate(due=True, license_key=lambda: _LICENSE)
    for rotation in done.rotations:
        told[f"rotated {rotation.old.model_id}"] += 1
        left = rotation.old.expires_at - year.now
        limit = min(_WITHIN, rotation.old.lifetime // 3)
        if left > limit:
            raise ViolationError(f"{rotation.old.model_id} was rotated {left} s before its end")
        if left < limit - step and not missed and rotation.old.model_id != "theirs":
            raise ViolationError(f"{rotation.old.model_id} was rotated late: {left} s before its end")
    for failure in done.failures:
        told[f"failed {failure.error.code}"] += 1
        if not failure.key_id.startswith("theirs"):
            raise ViolationError(f"{failure.key_id}: {failure.error}")


def _judge(year: Year, tally: Tally, told: Counter[str], count: int) -> None:
    tally.figures["told"] = dict(sorted(told.items()))
    tally.figures["audit records"] = year.manager.audit_size()
    tally.figures["bytes"] = year.file.stat().st_size
    for key in [*year.manager.keys()]:
        if key.successor is None and key.status.value != "active" and key.model_id != "theirs":
            raise ViolationError(f"{key.key_id} is {key.status.value} at the end of the year")
    if year.manager.audit_verify() > 3_000:
        raise ViolationError(f"cron filled the log: {year.manager.audit_size()} records")
    for name in (*(f"mine-{number}" for number in range(8)), "open"):
        if not 12 <= told[f"rotated {name}"] <= 17:
            raise ViolationError(f"{name} was rotated {told[f'rotated {name}']} times in a year")
    if told["failed wrong-license"] < count // 2:
        raise ViolationError("the keys that cron could not rotate were not told of")


def _with_a_damaged_row(year: Year, tally: Tally) -> None:
    """Some damaged keys: `validate` and each run of cron tell, the others are rotated. Every one: nothing is."""
    _damage(year, "bucket = (SELECT max(bucket) FROM record WHERE kind = 1)")
    try:
        year.manager.validate()
        raise ViolationError("validate does not see a damaged row")
    except IntegrityError:
        tally.counts["damage told"] += 1
    year.now += 40 * _DAY
    rotated = _run_over_damage(year, tally)
    if rotated < 5:
        raise ViolationError(f"beside a damaged row only {rotated} keys were rotated")
    if _run_over_damage(year, tally):
        raise ViolationError("rotated twice")
    _damage(year, "kind = 1")
    before = year.file.read_bytes()
    year.now += 40 * _DAY
    if _run_over_damage(year, tally) or year.file.read_bytes() != before:
        raise ViolationError("a keystore of damaged keys was changed")


def _run_over_damage(year: Year, tally: Tally) -> int:
    """One run of cron; how many keys it rotated."""
    year.now += _HOUR
    done = year.manager.rotate(due=True, license_key=_LICENSE)
    if not any(isinstance(failure.error, IntegrityError) for failure in done.failures):
        raise ViolationError("a damaged row went unseen")
    tally.counts["damage told"] += 1
    return len(done.rotations)


def _damage(year: Year, where: str) -> None:
    year.manager.close()
    connection = sqlite3.connect(year.file)
    connection.execute(f"UPDATE record SET sealed = zeroblob(60) WHERE {where}")
    connection.commit()
    connection.close()


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=8_760, controls=("nothing-due",))
