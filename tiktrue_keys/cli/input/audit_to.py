"""`--audit-to`: where commands that release plaintext record it when the keystore is read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from tiktrue_keys.core.manager import KeyManager

SYSLOG = "syslog"
_ALWAYS = (SYSLOG, "journal")

AuditTo = Annotated[
    str | None,
    typer.Option(
        "--audit-to",
        metavar="SINK",
        help="Where to record the operation while the keystore is read-only: syslog, journal, or a sink that"
        " [audit] sinks names.",
    ),
]


def recording_manager(context: CommandContext, audit_to: str | None) -> KeyManager:
    """Return the key manager that records what is about to be released, in the keystore wherever it is writable.

    Raises RefusedError on a read-only keystore unless --audit-to names the system's log, the journal or a sink of the
    configuration.
    """
    known = tuple(dict.fromkeys((*_ALWAYS, *(context.settings.get("audit.sinks") or ()))))
    if audit_to is not None and audit_to not in known:
        raise UsageError(f"'{audit_to}' is not a sink", f"use --audit-to with one of {', '.join(known)}")
    if not context.manager.is_read_only():
        return context.writer
    if audit_to is None:
        raise RefusedError(
            f"the keystore in {context.keystore} is read-only, so the operation cannot be recorded in it",
            f"use --audit-to {SYSLOG} to record it in the system's log",
        )
    from tiktrue_keys.core.read_only import SystemLogManager

    return SystemLogManager(context.manager, None if audit_to == SYSLOG else context.sink(audit_to))
