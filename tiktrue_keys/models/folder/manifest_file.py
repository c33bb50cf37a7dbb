"""Reads the manifest file of an encrypted folder and verifies its signature; signs and writes it.

The members of a manifest are defined in format/manifest.py.
"""

from __future__ import annotations

from pathlib import Path

from tiktrue_keys.core.durable import NewFile
from tiktrue_keys.core.keys.authority import Signer
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import (
    NotFoundError,
    TikTrueKeysError,
)
from tiktrue_keys.models.container.signers import Signers
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, MAX_MANIFEST, SIGNATURE_KIND, Manifest, SignedManifest
from tiktrue_keys.models.storage.location import Place
from tiktrue_keys.models.storage.protocol import storage_of


def trusted_manifest(manager: KeyManager, folder: Place, *, recovering: bool = False) -> Manifest:
    """Return the folder's manifest, verified; `recovering`: what a compromised issuer has signed counts.

    Raises IntegrityError unless the authority of its model signed it, NotFoundError when there is none.
    """
    return signed_by(manager, folder, recovering=recovering)[0]


def signed_by(manager: KeyManager, folder: Place, *, recovering: bool = False) -> tuple[Manifest, Signer]:
    """Return the folder's manifest, verified, and the keystore that signed it. Raises as trusted_manifest."""
    signed = read_manifest(folder)
    signer = Signers(manager, recovering=recovering).of_manifest(signed)
    signed.verify(signer.key)
    return signed.manifest, signer


def read_manifest(folder: Place) -> SignedManifest:
    """Return the folder's manifest, not verified.

    Raises NotFoundError without one: the folder is not an encrypted folder, or its encryption did not finish.
    """
    try:
        data = storage_of(folder / MANIFEST_NAME).read_capped(MAX_MANIFEST, "the manifest")
    except NotFoundError:
        raise NotFoundError(
            f"{shown(str(folder))} has no {MANIFEST_NAME}",
            "it is not an encrypted folder, or its encryption did not finish",
        ) from None
    return SignedManifest.decode(data)


def signed_manifest(manager: KeyManager, manifest: Manifest) -> bytes:
    """Return the bytes of the manifest file, signed by this keystore. Raises RefusedError for a model of an issuer."""
    manager.must_be_authority(manifest.model_id)
    return SignedManifest.make(manifest, manager.issuer, lambda data: manager.sign(SIGNATURE_KIND, data)).encode()


def write_manifest(manager: KeyManager, folder: Path, manifest: Manifest, *, again: bool = False) -> None:
    """Sign the manifest and write it into the folder; with `again` it may replace an existing one."""
    signed = signed_manifest(manager, manifest)
    with NewFile(folder / MANIFEST_NAME, gate=None, what="the manifest") as new:
        new.write(signed)
        new.commit(replace=again)


def lies_there(folder: Path, folder_id: bytes) -> bool:
    """Return whether the encrypted folder `folder_id` (16 bytes) is at `folder`."""
    try:
        return read_manifest(folder).manifest.folder_id == folder_id
    except TikTrueKeysError:
        return False
