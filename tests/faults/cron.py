"""A year of hourly `rotate --due`: missed weeks, keys of a license that cron does not have, a row that gets damaged.

    python -m tests.faults.cron

Every key is rotated once in time, none twice; what could not be done is told each time and does not fill the log.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults import facts
from tests.faults.campaign import Options, Tally, ViolationError, break_it, main, scratch, watched
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.keys import deadlines
from tiktrue_keys.core.keystore.integrity import bucket_of
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError

_HOUR = 3_600
_DAY = 86_400
_NOON = 1_795_608_000
_LICENSE, _OTHER = "license of cron", "license of somebody else"
_OURS = (*(f"mine-{number}" for number in range(8)), "open")
_WITHIN = 7 * _DAY
_YEAR = 365
_MISSED = ((60, 67), (200, 221))  # days without cron; the second is longer than the time that is left at the start
_DAMAGED = 300  # the day on which a key's row goes bad


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
    step = _YEAR * _DAY // options.count
    year = Year(scratch("cron"))
    if options.control is not None:
        break_it(deadlines, "is_due", lambda *_, **__: False)
    told: Counter[str] = Counter()
    begun, damaged = year.now, ""
    while go_on() and year.now < begun + _YEAR * _DAY:
        year.now += step
        day = (year.now - begun) / _DAY
        if any(first <= day < last for first, last in _MISSED):
            continue
        tally.cases += 1
        with watched(tally, f"day {day:.2f}"):
            if day >= _DAMAGED and not damaged:
                _judge(year, tally, told, options.count)
                damaged = _damage_a_key(year, tally)
                told.clear()
            _one_run(year, told, step, missed=any(last <= day < last + 1 for _, last in _MISSED), damaged=bool(damaged))
    with watched(tally, "the end"):
        _judge_beside_damage(year, tally, told, damaged)
        _with_every_key_damaged(year)


def _one_run(year: Year, told: Counter[str], step: int, *, missed: bool, damaged: bool) -> None:
    done = year.manager.rotate(due=True, license_key=lambda: _LICENSE)
    for done_rotation in done.rotations:
        told[f"rotated {done_rotation.old.model_id}"] += 1
        left = done_rotation.old.expires_at - year.now
        limit = min(_WITHIN, done_rotation.old.lifetime // 3)
        if left > limit:
            raise ViolationError(f"{done_rotation.old.model_id} was rotated {left} s before its end")
        if left < limit - step and not missed and done_rotation.old.model_id != "theirs":
            raise ViolationError(f"{done_rotation.old.model_id} was rotated late: {left} s before its end")
    bad_rows = [failure for failure in done.failures if isinstance(failure.error, IntegrityError)]
    if bad_rows and not damaged:
        raise ViolationError(f"damage: {damaged}, told: {bad_rows}")
    for failure in done.failures:
        told[f"failed {failure.error.code}"] += 1
        if failure not in bad_rows and not failure.key_id.startswith("theirs"):
            raise ViolationError(f"{failure.key_id}: {failure.error}")


def _judge(year: Year, tally: Tally, told: Counter[str], count: int) -> None:
    """While every row is whole."""
    tally.figures["told while whole"] = dict(sorted(told.items()))
    for key in [*year.manager.keys()]:
        if key.successor is None and key.status.value != "active" and key.model_id != "theirs":
            raise ViolationError(f"{key.key_id} is {key.status.value}")
    for name in _OURS:
        if not 10 <= told[f"rotated {name}"] <= 14:
            raise ViolationError(f"{name} was rotated {told[f'rotated {name}']} times in {_DAMAGED} days")
    if told["failed wrong-license"] < count // 2:
        raise ViolationError("the keys that cron could not rotate were not told of")


def _damage_a_key(year: Year, tally: Tally) -> str:
    """Damage the row of an active key that is alone in its bucket: what it takes along is that key. Its model."""
    for name in _OURS:
        key_id = year.manager.find(name).key_id
        tag = year.manager._session.keystore.keys.tag_of(RecordKind.KEY, key_id)  # reopened after each attempt
        if _damage(year, f"bucket = {bucket_of(tag)}", alone=True):
            break
    else:
        raise ViolationError("no key is alone in its bucket")
    try:
        year.manager.validate()
        raise ViolationError("validate does not see a damaged row")
    except IntegrityError:
        tally.counts["damage told by validate"] += 1
    return name


def _judge_beside_damage(year: Year, tally: Tally, told: Counter[str], damaged: str) -> None:
    """After two months: every run told of it since the damaged key was due."""
    tally.figures["told beside a damaged row"] = dict(sorted(told.items()))
    tally.figures["audit records"] = year.manager.audit_size()
    tally.figures["bytes"] = year.file.stat().st_size
    for name in _OURS:
        if (
            told["failed integrity"] == 0
            or (name == damaged) != (told[f"rotated {name}"] == 0)
            or told[f"rotated {name}"] > 4
        ):
            raise ViolationError(f"{name} was rotated {told[f'rotated {name}']} times; {damaged} is damaged")
    if year.manager.audit_size() > 1_000:
        raise ViolationError(f"cron filled the log: {year.manager.audit_size()} records")


def _with_every_key_damaged(year: Year) -> None:
    """Nothing is rotated, and nothing changed."""
    _damage(year, "kind = 1")
    before = year.file.read_bytes()
    year.now += 40 * _DAY
    try:
        done = year.manager.rotate(due=True, license_key=_LICENSE)
        refused = bool(done.failures) and not done.rotations
    except IntegrityError:  # a damaged key shares its bucket with a row that each command reads
        refused = True
    if not refused or year.file.read_bytes() != before:
        raise ViolationError("a keystore of damaged keys was changed")


def _damage(year: Year, where: str, *, alone: bool = False) -> bool:
    """Overwrite the sealed part of rows; with `alone` only when it is a single one."""
    year.manager.close()
    with contextlib.closing(sqlite3.connect(year.file, isolation_level=None)) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM record WHERE {where}").fetchone()
        if alone and count != 1:
            return False
        connection.execute(f"UPDATE record SET sealed = zeroblob(60) WHERE {where}")
    return True


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=8_760, controls=("nothing-due",))
