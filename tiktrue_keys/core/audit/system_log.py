"""Tells the system's log what the audit log cannot hold: refusals before the keystore is open. Never fails the act."""

from __future__ import annotations

import contextlib

from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.errors import TikTrueKeysError

_TEXT_LIMIT = 400


def report(actor: Actor, error: TikTrueKeysError) -> None:
    """One line in syslog (journald where that runs), facility auth."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import syslog

        words = f"{error.code}: {error.message}"[:_TEXT_LIMIT].encode("ascii", "backslashreplace").decode()
        printable = "".join(character if character.isprintable() else "?" for character in words)
        syslog.openlog("tiktrue-keys", syslog.LOG_PID, syslog.LOG_AUTH)
        syslog.syslog(syslog.LOG_WARNING, f"{actor.command[:64]} by {actor.user[:64]}: {printable}")
