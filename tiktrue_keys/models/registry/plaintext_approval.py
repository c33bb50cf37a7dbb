"""What the approval policy is asked about when plaintext is to leave, or a revoked key is to open a container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tiktrue_keys.core.approvals.policy import DECRYPT_OUT, RECOVER_REVOKED
from tiktrue_keys.core.approvals.proposals import Proposal
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.system_errors import shown

PIPE = "standard output"


def release(source: str, to: str, keys: Iterable[ManagedKey], arguments: Mapping[str, Any]) -> Proposal:
    """Return the release of a container's plaintext: `source` and `to` are paths, empty for pipes."""
    subject = f"{shown(source or 'standard input')} to {shown(to or PIPE)}"
    return Proposal(DECRYPT_OUT, subject, dict(arguments), _rows(keys))


def recovery(source: str, keys: Iterable[ManagedKey], arguments: Mapping[str, Any]) -> Proposal:
    """Return the opening of a container or folder although its key is revoked."""
    return Proposal(RECOVER_REVOKED, shown(source), dict(arguments), _rows(keys))


def _rows(keys: Iterable[ManagedKey]) -> list[tuple[RecordKind, str]]:
    return [(RecordKind.KEY, key.key_id) for key in keys]
