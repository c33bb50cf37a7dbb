"""The table [limits] of the configuration."""

from __future__ import annotations

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.core.instants import parse_duration
from tiktrue_keys.core.limits import DEFAULT_BACKUP_AGE, Limits


def limits_of(context: CommandContext) -> Limits:
    """Return the limits in force."""
    age = context.settings.get("limits.key_age")
    return Limits(
        backup_age=context.duration(None, "limits.backup_age", DEFAULT_BACKUP_AGE),
        key_age=None if age is None else parse_duration(age),
    )
