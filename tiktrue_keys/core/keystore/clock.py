"""Judges the system clock by the newest audit record, the heartbeat and the kernel's word; pure rules over a reading.

Come here for effective time, for when a clock is refused, and for when the heartbeat is due. The caller reads the
clock, the mark and the kernel. A clock that is ahead by less than 30 days is not noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tiktrue_keys.core.instants import DAY, Instant, Seconds, rfc3339
from tiktrue_keys.errors import RefusedError

CLOCK_LEAP = Seconds(400 * DAY)
"""A clock further ahead of the last known time than this is taken for wrong, not for a long silence."""

SILENCE = Seconds(30 * DAY)
"""A longer silence may be a wrong clock. It is believed unless the kernel calls the clock unsynchronised."""

HEARTBEAT_LATE = Seconds(3 * DAY)
"""A scheduled run renews the heartbeat every day. One may be missed, and a weekend begins late."""

STEP = Seconds(60)
"""NTP may step a clock back by seconds; a clock that is less behind than this needs no attention."""


@dataclass(frozen=True)
class Gap:
    """A silence that ended under an unsynchronised clock: time of the last record before it and of the first after."""

    since: Instant
    until: Instant


@dataclass(frozen=True)
class ClockReading:
    """The system clock, and everything that it is judged by.

    `heartbeat` is None where no scheduled run has happened yet, `synchronised` where the kernel cannot be asked.
    `unconfirmed` is the stored gap, until the operator confirms the clock.
    """

    now: Instant
    newest_record: Instant
    heartbeat: Instant | None = None
    synchronised: bool | None = None
    unconfirmed: Gap | None = None

    @property
    def last_known(self) -> Instant:
        """The later of newest record and heartbeat."""
        return max(self.newest_record, self.heartbeat or self.newest_record)

    @property
    def effective(self) -> Instant:
        """The time of every decision: the clock, but never earlier than the last known time."""
        return max(self.now, self.last_known)

    @property
    def ahead(self) -> Seconds:
        """How far the clock is past the last known time; 0 when it is behind."""
        return Seconds(self.effective - self.last_known)

    @property
    def is_called_wrong(self) -> bool:
        """Return whether the kernel calls the clock unsynchronised.

        Where it cannot be asked (macOS, some sandboxes) the clock counts as synchronised: these machines nearly always
        are, and a refusal that is nearly always false would teach operators to confirm without looking.
        """
        return self.synchronised is False


@dataclass(frozen=True)
class ClockFault:
    """Something that is wrong with the time: a stable code, a message, since when, and what mends it."""

    code: str
    message: str
    since: Instant
    remedy: str


TimeRule = Callable[[ClockReading], Instant]
"""Returns the time that a transaction records, or raises RefusedError."""


def leap(reading: ClockReading) -> ClockFault | None:
    """Return a fault when the clock is more than 400 days past the last known time: nothing may be written."""
    if reading.ahead <= CLOCK_LEAP:
        return None
    words = f"{_ahead(reading)}; more than 400 days is refused"
    return ClockFault("clock-leapt", words, reading.last_known, remedy="clock-leapt")


def doubt(reading: ClockReading) -> ClockFault | None:
    """Return a fault when due keys must not be rotated and no key destroyed: a leap, or an unsynchronised silence.

    A stored gap counts until the clock is confirmed, or until a synchronised clock has passed its end.
    """
    leapt = leap(reading)
    if leapt is not None:
        return leapt
    if reading.ahead > SILENCE and reading.is_called_wrong:
        words = f"{_ahead(reading)}, and the kernel calls the clock unsynchronised"
        return ClockFault("clock-unconfirmed", words, reading.last_known, remedy="confirm-clock")
    gap = reading.unconfirmed
    if gap is None or (reading.now >= gap.until and not reading.is_called_wrong):
        return None
    why = "the kernel calls it unsynchronised" if reading.is_called_wrong else "it is behind that time now"
    words = f"the clock has not been confirmed since it passed from {rfc3339(gap.since)} to {rfc3339(gap.until)}"
    return ClockFault("clock-unconfirmed", f"{words} without a record, and {why}", gap.since, remedy="confirm-clock")


def lag(reading: ClockReading) -> ClockFault | None:
    """Return a fault when the clock is behind the effective time, which then stands still."""
    behind = reading.effective - reading.now
    if behind < STEP:
        return None
    by_record = reading.newest_record >= reading.last_known
    source = "record" if by_record else "heartbeat"
    words = (
        f"the system clock is {span(behind)} behind the newest {source}; using that {source}'s time,"
        f" {rfc3339(reading.effective)}, until the clock reaches it"
    )
    return ClockFault("clock-behind", words, reading.now, remedy="clock-behind" if by_record else "heartbeat-ahead")


def late_heartbeat(reading: ClockReading) -> ClockFault | None:
    """Return a fault when scheduled runs have renewed the heartbeat and no longer do."""
    if reading.heartbeat is None or reading.effective - reading.heartbeat <= HEARTBEAT_LATE:
        return None
    words = f"no scheduled run for {span(reading.effective - reading.heartbeat)}, since {rfc3339(reading.heartbeat)}"
    return ClockFault("rotation-not-running", words, reading.heartbeat, remedy="check-timer")


def is_heartbeat_due(reading: ClockReading) -> bool:
    """Return whether a scheduled run renews the heartbeat: on each day in UTC once, whatever the timer's jitter.

    A doubtful clock does not renew it, because effective time would not come back from a wrong one.
    """
    if doubt(reading) is not None:
        return False
    return reading.heartbeat is None or reading.effective // DAY > reading.heartbeat // DAY


def must_not_leap(reading: ClockReading) -> Instant:
    """Return the effective time. Raises RefusedError when the clock has leapt."""
    _refuse(leap(reading))
    return reading.effective


def must_be_trusted(reading: ClockReading) -> None:
    """Raise RefusedError when the clock is too doubtful to rotate due keys or to destroy keys by it."""
    _refuse(doubt(reading))


def accepted_time(reading: ClockReading) -> Instant:
    """Return the time that is recorded when the operator confirms the clock, whatever the heartbeat says."""
    return max(reading.now, reading.newest_record)


def noted_time(reading: ClockReading) -> Instant:
    """Return the time of the record of a refusal or failure: a doubtful clock must not get into the log by it."""
    return reading.effective if doubt(reading) is None else reading.last_known


def span(seconds: int) -> str:
    """Return a duration in its largest whole unit: `24 d`."""
    for unit, size in (("d", DAY), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _ahead(reading: ClockReading) -> str:
    return (
        f"the system clock says {rfc3339(reading.now)}, {span(reading.ahead)} after the newest record or heartbeat"
        f" ({rfc3339(reading.last_known)})"
    )


def _refuse(fault: ClockFault | None) -> None:
    if fault is not None:
        raise RefusedError(fault.message, "set the clock right, or accept it", remedy=fault.remedy)
