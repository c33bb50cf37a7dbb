"""The ending of an interrupted operation, to be recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tiktrue_keys.core.containers.intents import NO_OTHERS, Settlement

OK, FAILED = "ok", "failed"


@dataclass(frozen=True)
class Ending:
    """The outcome, the ids of the keys that open the container now (None without one), and effects on others."""

    outcome: str
    keys: frozenset[str] | None
    detail: Mapping[str, str] = field(default_factory=dict)
    others: Settlement = NO_OTHERS
