"""Writes encrypted folders and recipient files, right or wrong, from man/tiktrue-keys-format.5 alone."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.independent.encoding import Signer, base64_of, canonical, sha256
from tests.independent.write_container import Draft

MANIFEST = "tiktrue-manifest.json"


def listed(path: str, draft: Draft, container: bytes) -> dict[str, Any]:
    """The entry of a container."""
    ids = {"file_id": draft.file_id.hex(), "root": container[-176:-144].hex()}
    return {"kind": "container", "length": len(draft.plaintext), "path": path, **ids}


def plain(path: str, data: bytes) -> dict[str, Any]:
    """The entry of a file in clear."""
    return {"kind": "plain", "length": len(data), "path": path, "sha256": sha256(data).hex()}


def signed_manifest(signer: Signer, model_id: str, files: Any, /, **changes: Any) -> dict[str, Any]:
    """A manifest; `changes` of the inner object are signed."""
    inner = {"files": files, "folder_id": os.urandom(16).hex(), "model_id": model_id, "name": "llama", "version": 1}
    inner |= changes
    return {"issuer": signer.public.hex(), "manifest": inner, "signature": signer.sign("manifest", inner).hex()}


def write_folder(folder: Path, files: dict[str, bytes], manifest: bytes | dict[str, Any]) -> None:
    """The files of an encrypted folder by their places, and its manifest."""
    for place, data in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(data)
    (folder / MANIFEST).write_bytes(manifest if isinstance(manifest, bytes) else canonical(manifest))


def rfc3339(instant: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(instant))


@dataclass
class Recipient:
    """A recipient file of a key that its maker holds. `signed` are members that the signature covers, `members` not."""

    signed: dict[str, Any] = field(default_factory=dict)
    members: dict[str, Any] = field(default_factory=dict)
    signer: Signer = field(default_factory=Signer)

    def encode(self) -> bytes:
        now, mlkem = int(time.time()), MLKEM768PrivateKey.generate().public_key().public_bytes_raw()
        content = {
            "generation": 1,
            "issuer": self.signer.public.hex(),
            "key_id": "llama_0123456789abcdef",
            "model_id": "llama",
            "not_after": rfc3339(now + 30 * 86400),
            "not_before": rfc3339(now - 60),
            "public": base64_of(mlkem + X25519PrivateKey.generate().public_key().public_bytes_raw()),
            "type": "tiktrue-keys recipient",
            "version": 1,
        } | self.signed
        return canonical(content | {"signature": self.signer.sign("recipient", content).hex()} | self.members) + b"\n"
