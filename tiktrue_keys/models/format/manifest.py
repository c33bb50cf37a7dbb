"""The manifest of an encrypted folder: a list of its files, signed by the keystore that made it. Pure; reads no folder.

`tiktrue-manifest.json` is canonical JSON (core/canonical.py) with exactly these members:

    issuer     the keystore's Ed25519 public key, 64 lower-case hex digits
    manifest   {files, folder_id, model_id, name, version}: folder_id 32 hex digits, name as a container's name,
               version 1, files 1 to 65,536 objects sorted by path, no path twice, each one of
                 {file_id, kind "container", length, path, root}   stored at `path`.ttm
                 {kind "plain", length, path, sha256}              stored at `path`
    signature  Ed25519 over `tiktrue-keys/1 manifest` | 0 | canonical JSON of `manifest`, 128 hex digits

Lengths are in bytes of plaintext. Paths are relative, with `/` between parts; each part is a name that a container may
have (format/header.py), none is `.` or `..`. No file id occurs twice. A rewrap changes no root, so the manifest stays
as it is. It is written last: a folder without a manifest is incomplete.

Does not handle: rollback of the whole folder, manifest included, to an earlier state (core/dispatch/releases.py).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from itertools import pairwise
from typing import Any

from tiktrue_keys.core.canonical import MAX_INTEGER, canonical_json
from tiktrue_keys.core.derivation import signed_message
from tiktrue_keys.core.members import Members
from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.models.format.header import (
    FILE_ID_LENGTH,
    MAX_NAME_BYTES,
    SUFFIX,
    Header,
    is_model_id,
    safe_name,
)
from tiktrue_keys.models.format.trailer import ROOT_LENGTH

MANIFEST_NAME = "tiktrue-manifest.json"
MAX_MANIFEST = 32 << 20
MAX_FILES = 1 << 16
SIGNATURE_KIND = "manifest"

_VERSION = 1
_MAX_PATH = 2048
_WHAT = "the folder's manifest"
_ISSUER_LENGTH, _SIGNATURE_LENGTH, _SHA256_LENGTH = 32, 64, 32


class _Kind(str, Enum):
    CONTAINER = "container"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class ContainerEntry:
    """An encrypted file: `length` in bytes of plaintext, `file_id` 16 bytes, `root` 32 bytes."""

    path: str
    length: int
    file_id: bytes
    root: bytes

    @property
    def place(self) -> str:
        """Return its path relative to the folder."""
        return self.path + SUFFIX

    def to_json(self) -> dict[str, Any]:
        """Return its object in the manifest."""
        ids = {"file_id": self.file_id.hex(), "root": self.root.hex()}
        return {"kind": _Kind.CONTAINER.value, "length": self.length, "path": self.path, **ids}


@dataclass(frozen=True, slots=True)
class PlainEntry:
    """A file that stays in clear, identified by its SHA-256 (32 bytes). `length` in bytes."""

    path: str
    length: int
    sha256: bytes

    @property
    def place(self) -> str:
        """Return its path relative to the folder."""
        return self.path

    def to_json(self) -> dict[str, Any]:
        """Return its object in the manifest."""
        return {"kind": _Kind.PLAIN.value, "length": self.length, "path": self.path, "sha256": self.sha256.hex()}


ManifestEntry = ContainerEntry | PlainEntry


@dataclass(frozen=True, slots=True)
class ListedContainer:
    """A container as a manifest describes it: its model is the manifest's. `length` in bytes of plaintext."""

    model_id: str
    file_id: bytes
    length: int
    root: bytes

    def fits_header(self, header: Header) -> bool:
        """Return whether a container with this header may be the one: its root and its length are not known yet."""
        return (header.model_id, header.file_id) == (self.model_id, self.file_id) and header.length in (
            None,
            self.length,
        )


@dataclass(frozen=True)
class Manifest:
    """The files of a folder; `folder_id` is 16 random bytes."""

    folder_id: bytes
    model_id: str
    name: str
    files: tuple[ManifestEntry, ...]

    def __post_init__(self) -> None:
        named = is_model_id(self.model_id) and self.name == safe_name(self.name)
        if len(self.folder_id) != FILE_ID_LENGTH or not named:
            raise IntegrityError(f"{_WHAT} has a malformed id or name")
        if not 1 <= len(self.files) <= MAX_FILES:
            raise RefusedError(f"a folder has 1 to {MAX_FILES} files, not {len(self.files)}")
        if any(first.path >= second.path for first, second in pairwise(self.files)):
            raise IntegrityError(f"{_WHAT} has its files in the wrong order")
        places = [entry.place for entry in self.files]
        if len({*places, MANIFEST_NAME}) != len(places) + 1:
            raise RefusedError("two files would have the same path in the encrypted folder", remedy="exclude-one")
        if self.length > MAX_INTEGER:
            raise IntegrityError(f"{_WHAT} has an impossible length")
        ids = [entry.file_id for entry in self.containers]
        if len(set(ids)) != len(ids):
            raise IntegrityError(f"{_WHAT} lists a container twice")
        for entry in self.files:
            _check_entry(entry)

    @property
    def containers(self) -> tuple[ContainerEntry, ...]:
        """Return the encrypted files."""
        return tuple(entry for entry in self.files if isinstance(entry, ContainerEntry))

    @property
    def plain(self) -> tuple[PlainEntry, ...]:
        """Return the files in clear."""
        return tuple(entry for entry in self.files if isinstance(entry, PlainEntry))

    @property
    def length(self) -> int:
        """Return the total length of all files, in bytes of plaintext."""
        return sum(entry.length for entry in self.files)

    def listed(self, entry: ContainerEntry) -> ListedContainer:
        """Return what a container must be to be the one of this entry."""
        return ListedContainer(self.model_id, entry.file_id, entry.length, entry.root)

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 (32 bytes) of what is signed, by which a release names the folder."""
        return sha256(signed_message(SIGNATURE_KIND, canonical_json(self.to_json()))).digest()

    def to_json(self) -> dict[str, Any]:
        """Return the object that is signed."""
        return {
            "files": [entry.to_json() for entry in self.files],
            "folder_id": self.folder_id.hex(),
            "model_id": self.model_id,
            "name": self.name,
            "version": _VERSION,
        }


@dataclass(frozen=True)
class SignedManifest:
    """A manifest with its issuer and signature; do not trust it before `verify`."""

    manifest: Manifest
    issuer: bytes
    signature: bytes

    @classmethod
    def make(cls, manifest: Manifest, issuer: bytes, sign: Callable[[bytes], bytes]) -> SignedManifest:
        """Sign a manifest; `sign` is KeyManager.sign with the kind `manifest`."""
        return cls(manifest, issuer, sign(canonical_json(manifest.to_json())))

    def encode(self) -> bytes:
        """Return the bytes of the manifest file. Raises RefusedError when they exceed 32 MiB, the limit of readers."""
        members = {"issuer": self.issuer.hex(), "manifest": self.manifest.to_json(), "signature": self.signature.hex()}
        data = canonical_json(members)
        if len(data) > MAX_MANIFEST:
            raise RefusedError("the folder has too many files for one manifest", "encrypt its folders separately")
        return data

    @classmethod
    def decode(cls, data: bytes) -> SignedManifest:
        """Decode a manifest file. Raises IntegrityError for anything that `encode` would not write."""
        members = Members.parse(data, limit=MAX_MANIFEST, what=_WHAT)
        issuer = members.hexadecimal("issuer", _ISSUER_LENGTH)
        signature = members.hexadecimal("signature", _SIGNATURE_LENGTH)
        manifest = _manifest(Members(members.raw("manifest"), _WHAT))
        members.done()
        return cls(manifest, issuer, signature)

    def verify(self, issuer: bytes) -> None:
        """Verify the signature. Raises IntegrityError unless `issuer` (32 bytes) made it."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        if not hmac.compare_digest(self.issuer, issuer):
            raise IntegrityError(f"{_WHAT} is signed by another keystore", "check the origin of the folder")
        message = signed_message(SIGNATURE_KIND, canonical_json(self.manifest.to_json()))
        try:
            Ed25519PublicKey.from_public_bytes(issuer).verify(self.signature, message)
        except (InvalidSignature, ValueError):
            raise IntegrityError(f"the signature of {_WHAT} is wrong", "restore the folder from a copy") from None


def must_be_relative(path: str) -> None:
    """Check a path for the manifest. Raises RefusedError when it could lead out of the folder or is too long."""
    parts = path.split("/")
    if len(path.encode("utf-8", "surrogatepass")) > _MAX_PATH or any(part != safe_name(part) for part in parts):
        raise RefusedError(f"'{path[:80]!a}' is not a valid path in a manifest", "rename it, or exclude it")


def _check_entry(entry: ManifestEntry) -> None:
    must_be_relative(entry.path)
    if not 0 <= entry.length <= MAX_INTEGER:
        raise IntegrityError(f"{_WHAT} has an impossible length")


def _manifest(members: Members) -> Manifest:
    members.version(_VERSION)
    files = tuple(_entry(each) for each in members.objects("files", MAX_FILES))
    folder_id = members.hexadecimal("folder_id", FILE_ID_LENGTH)
    model_id, name = members.any_text("model_id"), members.any_text("name", MAX_NAME_BYTES)
    members.done()
    try:
        return Manifest(folder_id, model_id, name, files)
    except RefusedError as error:  # a rule that every writer keeps, so a file that breaks it is malformed
        raise IntegrityError(f"{_WHAT} is malformed: {error.message}") from error


def _entry(members: Members) -> ManifestEntry:
    path, length = members.any_text("path", _MAX_PATH), members.whole("length")
    entry: ManifestEntry
    if members.choice("kind", _Kind) is _Kind.PLAIN:
        entry = PlainEntry(path, length, members.hexadecimal("sha256", _SHA256_LENGTH))
    else:
        file_id = members.hexadecimal("file_id", FILE_ID_LENGTH)
        entry = ContainerEntry(path, length, file_id, members.hexadecimal("root", ROOT_LENGTH))
    members.done()
    return entry
