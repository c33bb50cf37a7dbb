"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tiktrue_keys.cli.view.hints import own_hint
from tiktrue_keys.errors import TikTrueKeysError


class CheckState(str, Enum):
    """`failed` makes doctor's exit code; `warning` and `skipped` do not."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One line of doctor's report; `error` for failed ones."""

    check: str
    state: CheckState
    detail: str
    error: TikTrueKeysError | None = None


def good(check: str, detail: str) -> Check:
    """Return a check: nothing wrong."""
    return Check(check, CheckState.OK, detail)


def warning(check: str, detail: str) -> Check:
    """Return a check: something to know or to mend; nothing is broken."""
    return Check(check, CheckState.WARNING, detail)


def failed(check: str, error: TikTrueKeysError) -> Check:
    """Return a check: something is broken or open to others."""
    hint = own_hint(error)
    return Check(check, CheckState.FAILED, f"{error.message} ({hint})" if hint else error.message, error)


def skipped(check: str, reason: str) -> Check:
    """Return a check: the check could not run."""
    return Check(check, CheckState.SKIPPED, reason)
