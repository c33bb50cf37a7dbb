"""What the approval policy is asked about when plaintext is to leave, a revoked key is to open a container, or the
holders of another model's key are to get it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tiktrue_keys.core.approvals.policy import DECRYPT_OUT, DISTRIBUTE_NEW, RECOVER_REVOKED
from tiktrue_keys.core.approvals.proposals import Proposal
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.system_errors import shown

PIPE = "standard output"


def release(source: str, to: str, keys: Iterable[ManagedKey], arguments: Mapping[str, Any]) -> Proposal:
    """Return the release of a container's plaintext: `source` and `to` are paths, empty for pipes."""
    subject = f"{shown(source or 'standard input')} to {shown(to or PIPE)}"
    return Proposal(DECRYPT_OUT, subject, dict(arguments), _rows(keys))


def reencryption(
    source: str, keys: Iterable[ManagedKey], arguments: Mapping[str, Any], *, recovers: bool, moves: bool
) -> Proposal | None:
    """Return what a re-encryption of a container or folder has to be approved for; None where nothing.

    `recovers`: its key is revoked. `moves`: it goes to the key of another model, and with that to all holders of it.
    """
    kinds = [kind for kind, holds in ((RECOVER_REVOKED, recovers), (DISTRIBUTE_NEW, moves)) if holds]
    return Proposal(kinds[0], shown(source), dict(arguments), _rows(keys), tuple(kinds[1:])) if kinds else None


def _rows(keys: Iterable[ManagedKey]) -> list[tuple[RecordKind, str]]:
    return [(RecordKind.KEY, key.key_id) for key in keys]
