"""Runs the programs of `[events] exec` with what happened to the keystore, as one JSON array of CloudEvents each.

Come here for what such a program can do to us. It runs after the commit, without the keystore's lock, in a clean
environment, for ten seconds in all, and its output is thrown away. One that another user could have written is not run.
What it did not take is told again by each later command that writes, for a week.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

from tiktrue_keys.core import trusted_path
from tiktrue_keys.core.audit.keystore_event import KeystoreEvent, cloud_event, merged_event
from tiktrue_keys.core.instants import DAY, Instant
from tiktrue_keys.core.keystore.cursors import Cursor, Cursors, held_cursors
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.mirror import resumed
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import InsecureError, TikTrueKeysError, UnavailableError

PREFIX = "exec "
"""Begins the name of a program's cursor."""
SECONDS = 10.0
"""What all programs have together after one command."""
MOST_EVENTS = 10_000
KEEP = 7 * DAY

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "LANG": "C.UTF-8"}
_LEAST = 0.05  # seconds: less than a program takes to start

Command = tuple[str, ...]


def tell_programs(
    manager: KeyManager, commands: Sequence[Command], *, seconds: float = SECONDS, most: int = MOST_EVENTS
) -> list[str]:
    """Run each command with the events that it has not taken, and return the reasons of those that failed.

    Of more than `most` events the oldest become one. Nothing is run when the keystore is a rehearsal, or this process
    has recorded nothing.
    """
    session = manager.session
    if session.first_recorded is None or manager.document().rehearsal:
        return []
    end = time.monotonic() + seconds
    failed = []
    with held_cursors(manager.path) as cursors:
        if cursors is None:
            return []
        cursors.keep_only(PREFIX, tuple(map(_name, commands)))
        for command in commands:
            reason = _tell(manager, cursors, command, end, most)
            if reason:
                failed.append(f"{shown(command[0])}: {reason}")
    return failed


def _tell(manager: KeyManager, cursors: Cursors, command: Command, end: float, most: int) -> str:
    with manager.session.read() as (view, now):
        first = manager.session.first_recorded or 0
        cursor = resumed(view.audit, cursors.get(_name(command)), view.document.epoch, first)
        keystore_id, epoch, size = view.document.keystore_id, view.document.epoch, view.audit.size
    events, lost = _waiting(manager.events_from(cursor.position), now, most)
    after = Cursor(epoch, size, lost=lost)
    if events:
        try:
            _run(command, json.dumps([cloud_event(event, keystore_id) for event in events]).encode(), end)
        except TikTrueKeysError as error:
            since = now if cursor.failed_since is None else cursor.failed_since
            after = replace(cursor, failed_since=since, reason=error.message[:500], lost=lost)
    if after != cursors.get(_name(command)):
        cursors.put(_name(command), after)
    return after.reason


def _waiting(events: Iterator[KeystoreEvent], now: Instant, most: int) -> tuple[list[KeystoreEvent], int]:
    """Return the events to tell, and how many of them one event stands for: those before the newest, and the old."""
    newest: deque[KeystoreEvent] = deque(maxlen=most)
    merged, last = 0, None
    for event in events:
        if event.time < now - KEEP:
            merged, last = merged + 1, event
            continue
        if len(newest) == most:
            merged, last = merged + 1, newest[0]
        newest.append(event)
    return ([] if last is None else [merged_event(last, merged)]) + list(newest), merged


def _run(command: Command, data: bytes, end: float) -> None:
    """Run a program with `data` as its standard input, and return when it has ended with 0.

    Raises InsecureError for one that others can write, UnavailableError for one that fails, hangs or cannot be run.
    """
    _must_be_a_trusted_file(Path(command[0]))
    left = end - time.monotonic()
    if left < _LEAST:
        raise UnavailableError("no time was left for it after the other programs")
    with TemporaryFile() as file:  # not a pipe, on which a program that does not read would stop us
        file.write(data)
        file.seek(0)
        try:
            running = subprocess.Popen(
                command,
                stdin=file,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise UnavailableError(f"it cannot be run: {getattr(error, 'strerror', None) or 'bad name'}") from error
        try:
            status = running.wait(left)
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"it did not end in {SECONDS:g} seconds, and was killed") from None
        finally:
            _end(running)
    if status:
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise UnavailableError(f"it ended with {how}")


def _end(running: subprocess.Popen[bytes]) -> None:
    """Kill a program that still runs, with its process group."""
    if running.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def _must_be_a_trusted_file(program: Path) -> None:
    """Return for a program that only root and this user can have written, and the folders on the way to it.

    Raises InsecureError for another one, UnavailableError for one that is not there.
    """
    try:
        real = trusted_path.must_be_trusted(program)
        mode = real.stat().st_mode
    except OSError as error:
        raise UnavailableError(f"it is not there: {(error.strerror or '').lower()}") from None
    except InsecureError as error:
        raise InsecureError(f"not run, because {error.message}: {error.hint}") from None
    if not stat.S_ISREG(mode):
        raise UnavailableError("it is not a file")


def _name(command: Command) -> str:
    return PREFIX + json.dumps(command)
