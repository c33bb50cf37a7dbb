"""The renewals of a keystore's root secret as records: when each was, and what it took out of use.

Come here for which keys and audit records are older than a renewal. The old roots' own keys are in the header
(former.py).
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tiktrue_keys.core.audit.checkpoint import Checkpoint, open_note
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.audit_log import origin_of
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.errors import IntegrityError

_IDS_A_PART = 400
_KEYS = ("audit_key", "identity_key", "identity_hpke")


@dataclass(frozen=True)
class RetiredRoot:
    """What a renewal retired: the first `size` audit records and `epoch` are the last under the old root.

    The public keys are raw: Ed25519 32 bytes, X-Wing 1216. `compromised`: the operator said that others know the root.
    `settled`: no key of this keystore that is older encrypts any more. `parts` is how many records list the containers
    that were registered then.
    """

    size: int
    epoch: int
    audit_key: bytes
    identity_key: bytes
    identity_hpke: bytes
    at: Instant
    compromised: bool
    settled: bool = False
    parts: int = 0


def put_retired_root(rows: Rows, number: int, root: RetiredRoot) -> None:
    """Store the renewal of that number, counted from 1."""
    keys = {name: base64.b64encode(getattr(root, name)).decode() for name in _KEYS}
    rows.put(RecordKind.RETIRED, str(number), asdict(root) | keys)


def put_containers(rows: Rows, number: int, file_ids: Sequence[str]) -> int:
    """Store which containers (file ids in hex) were registered at a renewal, and return in how many records."""
    parts = [list(file_ids[at : at + _IDS_A_PART]) for at in range(0, len(file_ids), _IDS_A_PART)]
    for part, some in enumerate(parts):
        rows.put(RecordKind.RETIRED, f"{number} {part}", {"file_ids": some})
    return len(parts)


def containers_at(view: Snapshot, number: int, root: RetiredRoot) -> frozenset[str]:
    """Return the file ids in hex of the containers that were registered at a renewal."""
    parts = (view.rows.get(RecordKind.RETIRED, f"{number} {part}") for part in range(root.parts))
    return frozenset(file_id for payload in parts if payload is not None for file_id in payload["file_ids"])


def retired_roots(view: Snapshot) -> list[RetiredRoot]:
    """Return every renewal, the oldest first."""
    stored = (view.rows.get(RecordKind.RETIRED, str(place + 1)) for place in range(len(view.document.former)))
    return [_root_of(payload) for payload in stored if payload is not None]


def opened_checkpoint(view: Snapshot, text: str) -> Checkpoint:
    """Return the checkpoint of a signed note of the present epoch, or of one that a renewal has ended.

    Each is under the audit key of its time. Raises IntegrityError when the note is of none of them, or a former key
    signs for more records than there were.
    """
    here = view.document
    try:
        origin = origin_of(here.keystore_id, here.epoch, rehearsal=here.rehearsal)
        return open_note(text, origin=origin, public_key=here.audit_key)
    except IntegrityError:
        for root in reversed(retired_roots(view)):
            origin = origin_of(here.keystore_id, root.epoch)
            with contextlib.suppress(IntegrityError):
                found = open_note(text, origin=origin, public_key=root.audit_key)
                if found.size <= root.size:
                    return found
        raise


def _root_of(payload: dict[str, Any]) -> RetiredRoot:
    return RetiredRoot(**payload | {name: base64.b64decode(payload[name]) for name in _KEYS})
