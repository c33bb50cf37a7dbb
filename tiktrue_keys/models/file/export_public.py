"""Exports the public half of a managed key as a signed file, to which others encrypt without keystore and license."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.durable import create_bytes, replace_bytes
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.export_public import ExportedPublic
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.models.format.recipient import SIGNATURE_KIND, Recipient

_WHAT = "the output"


@dataclass(frozen=True, kw_only=True)
class ExportedRecipient(OperationResult):
    """The key, its public half as the signed file has it, and where the file is; None: nowhere yet."""

    key: ManagedKey
    recipient: Recipient
    destination: Path | None


def export_recipient(
    manager: KeyManager,
    key: str,
    destination: str | PathLike[str] | None = None,
    *,
    license_key: License | None = None,
    force: bool = False,
    operation_id: str | None = None,
) -> ExportedRecipient:
    """Export the public half of an active key; into a new file, 0644, when there is a destination.

    RefusedError when something is there (unless `force`), before the key is marked; else as KeyManager.export_public.
    A file that cannot be written leaves the key marked all the same: cleanup then asks once more than it must. A
    repeated operation id writes the file when it is not there.
    """
    place = None if destination is None else Path(destination).absolute()
    act = manager.export_public(key, license_key, destination=place, force=force, operation_id=operation_id)
    recipient = _signed(manager, act)
    writes = place is not None and (act.changed or not os.path.lexists(place))
    if place is not None and writes:
        (replace_bytes if force else create_bytes)(place, recipient.encode(), 0o644, what=_WHAT)
    return ExportedRecipient(
        operation_id=act.operation_id,
        changed=act.changed or writes,
        key=act.key,
        recipient=recipient,
        destination=place,
    )


def _signed(manager: KeyManager, act: ExportedPublic) -> Recipient:
    key = act.key
    unsigned = Recipient(
        key.model_id, key.key_id, key.generation, key.created_at, key.expires_at, act.public, manager.issuer
    )
    return replace(unsigned, signature=manager.sign(SIGNATURE_KIND, canonical_json(unsigned.content())))
