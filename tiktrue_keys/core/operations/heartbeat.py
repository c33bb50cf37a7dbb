"""Scheduled runs: whether the clock allows one, and the heartbeat that each renews.

Come here for what `rotate --due`, `cleanup`, `fleet sync` and `fleet receive` do about time. The rules are in
core/keystore/clock.py.
"""

from __future__ import annotations

from tiktrue_keys.core.keystore import clock
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.operations.standing_notices import clock_notice
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import SecurityError, TikTrueKeysError


def begin_scheduled_run(session: KeystoreSession, *, dry_run: bool) -> tuple[Notice, ...]:
    """Renew the heartbeat, unless it is a dry run, and return the notices about time.

    Raises RefusedError when the clock is too doubtful to rotate due keys and to destroy keys by it.
    """
    with session.read() as (view, _):
        reading = session.clock_reading(view)
    clock.must_be_trusted(reading)
    return clock_notice(clock.lag(reading)) if dry_run else renew_heartbeat(session)


def renew_heartbeat(session: KeystoreSession) -> tuple[Notice, ...]:
    """Renew the heartbeat if it is due, and return the notices about time: a doubtful clock, or a failure to write it.

    Nothing is written in a read-only keystore.
    """
    with session.read() as (view, _):
        reading = session.clock_reading(view)
    notices = (*clock_notice(clock.doubt(reading)), *clock_notice(clock.lag(reading)))
    if session.is_read_only() or not clock.is_heartbeat_due(reading):
        return notices
    try:
        session.renew_heartbeat()
    except SecurityError:
        raise
    except TikTrueKeysError as error:
        return (*notices, Notice("heartbeat-not-written", f"the heartbeat was not renewed: {error.message}"))
    return notices
