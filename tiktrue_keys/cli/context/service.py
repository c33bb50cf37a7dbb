"""Tells the service manager how a long-running command is doing: sd_notify(3), systemd's Type=notify and WatchdogSec=.

Without a service manager nothing is sent. An error while sending is ignored: the manager notices by its own timeouts.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

_SECONDS = 1.0
_MICRO = 1_000_000
_MAX_STATUS = 200


class ServiceManager:
    """The service manager that `environment` names, for the process `pid`.

    `interval` is the longest pause between two signs of life in seconds, half of the manager's own limit; None when it
    keeps no watch.
    """

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        # A name that begins with "@" is in the abstract namespace: unix(7).
        self._address = "\0" + name[1:] if name.startswith("@") else name if name.startswith("/") else ""
        limit = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        known = self._address and ours and limit.isascii() and limit.isdigit() and len(limit) < 20
        self.interval = int(limit) / _MICRO / 2 if known and int(limit) else None
        self._status = ""

    def ready(self) -> None:
        """Tell that the command has started."""
        self._send("READY=1")

    def alive(self) -> None:
        """Give a sign of life. Call it at least once in each `interval`."""
        if self.interval is not None:
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show one line about the state, when it is another one than before."""
        line = " ".join(text.split())[:_MAX_STATUS]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def stopping(self) -> None:
        """Tell that the command is about to end."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            made.settimeout(_SECONDS)
            made.connect(self._address)
            made.send(text.encode())
