"""Writes to the system log what the audit log cannot hold.

That is a refusal before the keystore is open, and the release of plaintext where the keystore cannot be written to. A
failure to report a refusal is ignored; a record that replaces an audit record fails its operation when the log does not
accept it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Sequence
from typing import Protocol

from tiktrue_keys.core.audit.record import Actor, AuditRecord
from tiktrue_keys.errors import TikTrueKeysError, UnavailableError

SOCKETS = ("/dev/log", "/var/run/syslog")
"""The sockets of syslogd and journald: Linux, macOS."""

_TAG = "tiktrue-keys"
_TEXT_LIMIT = 400
_AUTH_NOTICE = 4 * 8 + 5  # RFC 3164, 4.1.1: facility 4 (security), severity 5 (normal but significant)
_TIMEOUT = 5.0  # seconds to wait for a log that is full
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Recorder(Protocol):
    """Takes what the audit log of a keystore cannot hold."""

    def report(self, actor: Actor, error: Exception) -> None:
        """A refusal before the keystore is open. Raises nothing."""

    def record(self, entry: AuditRecord) -> None:
        """A record in place of one of the audit log; UnavailableError where it is not taken."""


class SystemLog:
    """syslog, or journald where that runs."""

    def __init__(self, sockets: Sequence[str] = SOCKETS, timeout: float = _TIMEOUT) -> None:
        self._sockets = sockets
        self._timeout = timeout

    def report(self, actor: Actor, error: Exception) -> None:
        """One line, facility auth, of an error of ours."""
        if not isinstance(error, TikTrueKeysError):
            return
        with contextlib.suppress(ImportError, OSError, ValueError):
            import syslog

            words = f"{error.code}: {error.message}"[:_TEXT_LIMIT].encode("ascii", "backslashreplace").decode()
            printable = "".join(character if character.isprintable() else "?" for character in words)
            syslog.openlog(_TAG, syslog.LOG_PID, syslog.LOG_AUTH)
            syslog.syslog(syslog.LOG_WARNING, f"{actor.command[:64]} by {actor.user[:64]}: {printable}")

    def record(self, entry: AuditRecord) -> None:
        """One audit record as a line, `audit` and its canonical JSON; UnavailableError where no log takes it.

        syslog(3) does not return whether there was a log, so this speaks to its socket itself. That the log has the
        record is what can be known; that it keeps it is the log's affair.
        """
        at = time.localtime(entry.time)
        stamp = f"{_MONTHS[at.tm_mon - 1]} {at.tm_mday:2} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
        line = f"<{_AUTH_NOTICE}>{stamp} {_TAG}[{os.getpid()}]: audit ".encode() + entry.encode()
        failed: OSError | None = None
        for path in self._sockets:
            try:
                _send(path, line, self._timeout)
            except OSError as error:
                failed = failed or error
            else:
                return
        reason = (failed.strerror or str(failed)).lower() if failed else "no socket"
        raise UnavailableError(
            f"the system's log does not take the audit record: {self._sockets[0]}: {reason}",
            "start syslog or journald, or use a keystore that can be written to",
        )


def _send(path: str, line: bytes, timeout: float) -> None:
    """Send a line as syslog(3) does: a datagram, or terminated by a zero byte where the log listens on a stream."""
    for kind, data in ((socket.SOCK_DGRAM, line), (socket.SOCK_STREAM, line + b"\0")):
        with socket.socket(socket.AF_UNIX, kind) as connection:
            connection.settimeout(timeout)
            try:
                connection.connect(path)
            except OSError as error:
                if error.errno != errno.EPROTOTYPE:
                    raise
                continue
            connection.sendall(data)
            return
    raise OSError(errno.EPROTOTYPE, "neither a datagram nor a stream socket")
