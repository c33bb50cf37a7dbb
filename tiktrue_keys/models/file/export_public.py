"""Exports the public half of a managed key as a signed file, for encrypting without a keystore or license."""

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
    """The key, its signed public half, and the path of the file, None when none was written."""

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
    """Export the public half of an active key, to a new file (mode 0644) when there is a destination.

    The key is recorded as exported even if writing the file then fails; cleanup then asks once more than necessary.
    Repeating an operation id writes the file if it is missing. Raises RefusedError when the gate refuses the
    destination, or it exists (unless `force`), and the errors of KeyManager.export_public.
    """
    place = None if destination is None else Path(destination).absolute()
    gate = manager.output_gate()
    if place is not None:
        gate.check(place)
    exported = manager.export_public(key, license_key, destination=place, force=force, operation_id=operation_id)
    recipient = _signed(manager, exported)
    writes = place is not None and (exported.changed or not os.path.lexists(place))
    if place is not None and writes:
        (replace_bytes if force else create_bytes)(place, recipient.encode(), 0o644, gate=gate, what=_WHAT)
    return ExportedRecipient(
        operation_id=exported.operation_id,
        changed=exported.changed or writes,
        key=exported.key,
        recipient=recipient,
        destination=place,
    )


def _signed(manager: KeyManager, exported: ExportedPublic) -> Recipient:
    key = exported.key
    unsigned = Recipient(
        key.model_id, key.key_id, key.generation, key.created_at, key.expires_at, exported.public, manager.issuer
    )
    return replace(unsigned, signature=manager.sign(SIGNATURE_KIND, canonical_json(unsigned.content())))
