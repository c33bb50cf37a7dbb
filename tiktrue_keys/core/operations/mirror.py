"""Mirrors audit records to the sinks that the configuration names, after the commit and without the keystore's lock.

A sink that fails is tried again after each later commit, from the record that it lacks. A failure never fails the
operation; it is a finding.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tiktrue_keys.core.audit.record_sinks import Sink
from tiktrue_keys.core.keystore.audit_log import AuditLog
from tiktrue_keys.core.keystore.cursors import Cursor, held_cursors, is_misplaced
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import TikTrueKeysError

PREFIX = "sink "
"""Begins the name of a sink's cursor."""
_AT_ONCE = 256
_SECONDS = 2.0  # for all sinks after one commit; the rest follows after the next


def mirroring(sinks: Sequence[Sink]) -> Callable[[KeystoreSession, int], None]:
    """Return what a session calls after each commit, with the number of the first record of that commit."""

    def mirror(session: KeystoreSession, first: int) -> None:
        with contextlib.suppress(TikTrueKeysError, OSError):
            _mirror(session, first, sinks)

    return mirror


def _mirror(session: KeystoreSession, first: int, sinks: Sequence[Sink]) -> None:
    end = time.monotonic() + _SECONDS
    with held_cursors(session.place.folder) as cursors:
        if cursors is None:
            return
        cursors.keep_only(PREFIX, tuple(PREFIX + sink.name for sink in sinks))
        for sink in sinks:
            with session.read() as (view, now):
                cursor = resumed(view.audit, cursors.get(PREFIX + sink.name), view.document.epoch, first)
            try:
                while time.monotonic() < end:
                    written = _write_some(session, sink, cursor)
                    if written == cursor:
                        break
                    cursor = written
                    cursors.put(PREFIX + sink.name, cursor)
            except TikTrueKeysError as error:
                since = now if cursor.failed_since is None else cursor.failed_since
                cursors.put(PREFIX + sink.name, replace(cursor, failed_since=since, reason=error.message[:200]))


def _write_some(session: KeystoreSession, sink: Sink, cursor: Cursor) -> Cursor:
    """Write the next records, and return the cursor after them; the same cursor when there are none."""
    with session.read() as (view, _):
        records = view.audit.records(cursor.position, min(cursor.position + _AT_ONCE, view.audit.size))
    if not records:
        return cursor
    sink.write(records)
    return Cursor(records[-1].epoch, records[-1].number + 1)


def resumed(log: AuditLog, cursor: Cursor | None, epoch: int, first: int) -> Cursor:
    """Return where to go on: for a new receiver at the record `first`, else where its cursor is.

    After a restore, numbers are used again from the first record of the later epoch on. A cursor that no record of
    this log can have left begins at the first record: a receiver can drop what it has, not ask for what it lacks.
    """
    if cursor is not None and is_misplaced(cursor, log.size, epoch):
        return Cursor(epoch, 0)
    if cursor is None:
        return Cursor(epoch, min(first, log.size))
    position = min(cursor.position, log.size)
    if cursor.epoch < epoch:
        position = min(position, log.first_of_epoch(cursor.epoch + 1))
    return replace(cursor, position=position)
