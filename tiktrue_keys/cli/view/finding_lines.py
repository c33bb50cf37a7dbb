"""Findings as JSON members and as lines: what is wrong, since when, and the command that mends it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tiktrue_keys.cli.view.batches import worst
from tiktrue_keys.cli.view.hints import hint_of, message_of
from tiktrue_keys.core.findings.finding import Finding, Severity, strict_error
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import TikTrueKeysError


def finding_words(finding: Finding) -> str:
    """Return the message with the words of its remedy."""
    return message_of(Notice(finding.id, finding.message, remedy=finding.remedy, about=finding.about))


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return a member of `result.findings`."""
    return {
        "id": finding.id,
        "severity": finding.severity.value,
        "message": finding.message,
        "subject": finding.subject or None,
        "since": rfc3339(finding.since),
        "hint": hint_of(finding.as_error()) or None,
    }


def findings_error(found: Iterable[Finding], *, strict: bool) -> TikTrueKeysError | None:
    """Return the error that gives the exit code: the worst; with `strict`, the first warning counts as refused."""
    listed = list(found)
    errors = [finding.as_error() for finding in listed if finding.severity is not Severity.WARNING]
    warned = strict_error(listed) if strict else None
    return worst([*errors, *([warned] if warned else [])])
