"""The operator's limits: ages past which status finds something.

Come here to add a limit; findings/rules.py has the rules, and cli/context/configured_limits.py reads the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiktrue_keys.core.instants import DAY, Seconds

DEFAULT_BACKUP_AGE = Seconds(7 * DAY)


@dataclass(frozen=True)
class Limits:
    """How old the newest backup may be, and how old a key that encrypts; None without a limit."""

    backup_age: Seconds = DEFAULT_BACKUP_AGE
    key_age: Seconds | None = None


DEFAULT_LIMITS = Limits()
