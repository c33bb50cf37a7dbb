"""The manifest of an encrypted folder as a file: reads it, verifies its signature, signs and writes it.

Holds no layout: the members of a manifest are defined in format/manifest.py.
"""

from __future__ import annotations

from pathlib import Path

from tiktrue_keys.core.durable import NewFile
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import (
    NotFoundError,
    TikTrueKeysError,
)
from tiktrue_keys.models.container.open import trusted_issuers
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, MAX_MANIFEST, SIGNATURE_KIND, Manifest, SignedManifest
from tiktrue_keys.models.storage.location import Place
from tiktrue_keys.models.storage.protocol import storage_of


def trusted_manifest(manager: KeyManager, folder: Place) -> Manifest:
    """The folder's manifest, signed by whom this keystore trusts; IntegrityError, NotFoundError."""
    signed = read_manifest(folder)
    issuers = trusted_issuers(manager)
    signed.verify(signed.issuer if signed.issuer in issuers else issuers[0])
    return signed.manifest


def read_manifest(folder: Place) -> SignedManifest:
    """The folder's manifest, not verified. NotFoundError without one: then the folder is none, or was not finished."""
    try:
        data = storage_of(folder / MANIFEST_NAME).read_capped(MAX_MANIFEST, "the manifest")
    except NotFoundError:
        raise NotFoundError(
            f"{shown(str(folder))} has no {MANIFEST_NAME}", "it is no encrypted folder, or was not finished"
        ) from None
    return SignedManifest.decode(data)


def signed_manifest(manager: KeyManager, manifest: Manifest) -> bytes:
    """The manifest's file, signed as this keystore."""
    return SignedManifest.make(manifest, manager.issuer, lambda data: manager.sign(SIGNATURE_KIND, data)).encode()


def write_manifest(manager: KeyManager, folder: Path, manifest: Manifest, *, again: bool = False) -> None:
    """Sign the manifest and put it into the folder; `again`: in place of one that is there."""
    signed = signed_manifest(manager, manifest)
    with NewFile(folder / MANIFEST_NAME, what="the manifest") as new:
        new.write(signed)
        new.commit(replace=again)


def lies_there(folder: Path, folder_id: bytes) -> bool:
    """Whether the encrypted folder `folder_id` (16 bytes) lies at `folder`."""
    try:
        return read_manifest(folder).manifest.folder_id == folder_id
    except TikTrueKeysError:
        return False
