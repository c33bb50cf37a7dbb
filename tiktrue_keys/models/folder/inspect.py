"""Reads what an encrypted folder claims, without a key, and lists which claims were verified."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.file.inspect import ISSUER_NOT_VERIFIED, VALID, WRONG
from tiktrue_keys.models.folder.compare import Differences, differences
from tiktrue_keys.models.folder.manifest_file import read_manifest
from tiktrue_keys.models.format.manifest import ManifestEntry


@dataclass(frozen=True)
class FolderInspection:
    """An encrypted folder's claims, and its differences from the manifest. `issuer` 32 bytes, `folder_id` 16."""

    path: Path
    folder_id: bytes
    model_id: str
    name: str
    issuer: bytes
    signature: str
    files: tuple[ManifestEntry, ...]
    differences: Differences
    verified: tuple[str, ...]
    not_verified: tuple[str, ...]

    @property
    def length(self) -> int:
        """Return the bytes of plaintext of all files."""
        return sum(entry.length for entry in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, with bytes in hex."""
        return {
            "path": str(self.path),
            "folder_id": self.folder_id.hex(),
            "model_id": self.model_id,
            "name": self.name,
            "issuer": self.issuer.hex(),
            "signature": self.signature,
            "length": self.length,
            "files": [entry.to_json() for entry in self.files],
            "missing": list(self.differences.missing),
            "added": list(self.differences.added),
            "moved": list(self.differences.moved),
            "changed": list(self.differences.changed),
            "verified": list(self.verified),
            "not_verified": list(self.not_verified),
        }


def inspect_folder(path: str | PathLike[str]) -> FolderInspection:
    """Read a folder's manifest and its containers' headers. Raises NotFoundError without a manifest, IntegrityError.

    Raises RefusedError when a listed file cannot be read.
    """
    folder = Path(path)
    signed = read_manifest(folder)
    signature = VALID
    try:
        signed.verify(signed.issuer)
    except IntegrityError:
        signature = WRONG
    found = differences(folder, signed.manifest)
    if found.unreadable:
        raise found.unreadable[0]
    verified = ["the manifest is canonical"]
    if signature == VALID:
        verified.append("the manifest's signature is the issuer's")
    if not found.sentence():
        verified.append("the folder holds every listed file, by file id or hash, and no other")
    return FolderInspection(
        path=folder,
        folder_id=signed.manifest.folder_id,
        model_id=signed.manifest.model_id,
        name=signed.manifest.name,
        issuer=signed.issuer,
        signature=signature,
        files=signed.manifest.files,
        differences=found,
        verified=tuple(verified),
        not_verified=("whether the containers are authentic", ISSUER_NOT_VERIFIED),
    )
