"""What a finding is: something that is not as it should be, which status, doctor and metrics show until it is mended.

Come here for severities and their exit codes. An ERROR has the exit code of its error, a LAG that of a partial result,
a WARNING none: it counts only where the caller is strict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.errors import PartialError, RefusedError, TikTrueKeysError

NAMED = 8
"""Findings of one kind that are named one by one; the rest are counted."""


class Severity(StrEnum):
    """What a finding does to an exit code."""

    ERROR = "error"
    LAG = "lag"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: a stable id, what it is, since when (None: unknown), and what mends it.

    `subject` is the key, container or node concerned, empty for the keystore itself. `error` is the class of an ERROR.
    """

    id: str
    severity: Severity
    message: str
    subject: str = ""
    since: Instant | None = None
    remedy: str = ""
    about: Mapping[str, str] = field(default_factory=dict, hash=False)
    error: type[TikTrueKeysError] = PartialError

    def as_error(self) -> TikTrueKeysError:
        """Return the error that the finding is for the caller of a command."""
        return self.error(self.message, remedy=self.remedy, about=self.about)


def strict_error(found: Iterable[Finding]) -> RefusedError | None:
    """Return the error of a caller that counts warnings: the first warning, as a refusal."""
    first = next((finding for finding in found if finding.severity is Severity.WARNING), None)
    return None if first is None else RefusedError(first.message, remedy=first.remedy, about=first.about)


def container_name(record: ContainerRecord) -> str:
    """Return what a message calls a container: its path, or its id where it was written to a pipe."""
    return record.path or f"container {record.file_id.hex()}"
