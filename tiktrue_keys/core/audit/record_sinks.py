"""Where audit records are mirrored after their commit: syslog, the journal, or a file of JSON lines.

    sink = parse_sink("file:/var/log/tiktrue-keys.jsonl")
    sink.write(records)

A sink takes all the records or raises UnavailableError or InsecureError; some may then come twice, and each has its
epoch and number. A sink waits for half a second at most. core/operations/mirror.py knows how far each one has got.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tiktrue_keys.core.audit.export import jsonl
from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.audit.system_log import SystemLog
from tiktrue_keys.core.durable import sync_file, write_all
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import InsecureError, UnavailableError, UsageError

JOURNAL_SOCKET = "/run/systemd/journal/socket"
FILE_PREFIX = "file:"
SINKS = ("syslog", "journal", f"{FILE_PREFIX}PATH")

_WAIT = 0.5  # seconds
_PRIORITY = {"ok": 5, "refused": 4, "failed": 4}  # syslog(3): notice, warning


class Sink(Protocol):
    """A place for copies of audit records. `name` is the setting that names it."""

    @property
    def name(self) -> str: ...

    def write(self, records: Sequence[AuditRecord]) -> None:
        """Take all the records, in order. Raises UnavailableError or InsecureError."""


def parse_sink(name: str) -> Sink:
    """Return the sink of a setting. Raises UsageError for an unknown one."""
    if name == "syslog":
        return SyslogSink()
    if name == "journal":
        return JournalSink()
    path = name.removeprefix(FILE_PREFIX)
    if path == name or not path.startswith("/") or "\0" in path or path.endswith("/"):
        raise UsageError(f"'{name[:80]}' is not a sink", f"one of {', '.join(SINKS)}, with an absolute PATH")
    return FileSink(Path(path))


class SyslogSink:
    """A line `audit {...}` a record, as for a keystore that cannot be written to."""

    name = "syslog"

    def __init__(self, log: SystemLog | None = None) -> None:
        self._log = log or SystemLog(timeout=_WAIT)

    def write(self, records: Sequence[AuditRecord]) -> None:
        for record in records:
            self._log.record(record)


class JournalSink:
    """An entry a record in journald's own protocol, with the members as fields for journalctl(1).

    https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
    """

    name = "journal"

    def __init__(self, path: str = JOURNAL_SOCKET) -> None:
        self._path = path

    def write(self, records: Sequence[AuditRecord]) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.settimeout(_WAIT)
                connection.connect(self._path)
                for record in records:
                    connection.sendall(_journal_entry(record))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UnavailableError(
                f"the journal does not take the audit record: {self._path}: {reason}", "start systemd-journald"
            ) from error


def _journal_entry(record: AuditRecord) -> bytes:
    subject = record.key_id or record.model_id or ""
    fields = {
        "MESSAGE": f"audit {record.event} {record.outcome} {subject} by {record.actor.shown}",
        "PRIORITY": str(_PRIORITY[record.outcome]),
        "SYSLOG_IDENTIFIER": "tiktrue-keys",
        "AUDIT_EVENT": record.event,
        "AUDIT_OUTCOME": record.outcome,
        "AUDIT_KEY_ID": record.key_id or "",
        "AUDIT_MODEL_ID": record.model_id or "",
        "AUDIT_NUMBER": f"{record.epoch}-{record.number}",
        "AUDIT_RECORD": record.encode().decode(),
    }
    lines = [f"{name}={value}\n".encode() for name, value in fields.items() if value]
    return b"".join(lines)  # no value holds a newline: records are printable


@dataclass(frozen=True)
class FileSink:
    """A regular file of JSON lines, opened for each write (so that it may be rotated), appended to and synced.

    A new file has mode 0600. One that others can write, or that is not a regular file, is refused. `check` raises an
    error for a path that may not be written to.
    """

    path: Path
    check: Callable[[Path], None] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return f"{FILE_PREFIX}{self.path}"

    def write(self, records: Sequence[AuditRecord]) -> None:
        if self.check is not None:
            self.check(self.path)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with foreign_os_errors("the sink", self.path):
            descriptor = os.open(self.path, flags, 0o600)
            try:
                self._must_be_ours(os.fstat(descriptor))
                write_all(descriptor, self._separated(descriptor, "".join(jsonl(records)).encode()))
                sync_file(descriptor)
            finally:
                os.close(descriptor)

    def _must_be_ours(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise InsecureError(f"the sink {shown(self.path)} is not a regular file", "name a file")
        if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
            raise InsecureError(f"the sink {shown(self.path)} can be written by others", "chmod go-w it, and own it")

    @staticmethod
    def _separated(descriptor: int, lines: bytes) -> bytes:
        """Begin on a line of its own after a write that a full disk cut off."""
        size = os.fstat(descriptor).st_size
        is_cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        return b"\n" * is_cut + lines
