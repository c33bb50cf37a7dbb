"""Writes cards, envelopes, lists, challenges, acknowledgements and rounds from man/tiktrue-keys-format.5 alone.

`signed` members replace the right ones before the signature is made, `members` afterwards.
"""

from __future__ import annotations

import base64
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite

from tests.independent.encoding import LABEL, Signer, base64_of, canonical, joined, sha256

DAY = 86400
KEY_ID = "mistral_0123456789abcdef"
_EMPTY = sha256(b"").hex()


def node_id(identity_key: bytes, identity_hpke: bytes) -> str:
    digest = sha256(LABEL + b"node-id\0" + identity_key + identity_hpke)
    return base64.b32encode(digest).decode()[:32].lower()


def u64(number: int) -> bytes:
    return (number % 2**64).to_bytes(8, "big")


@dataclass
class Peer:
    """A keystore of the fleet, as far as its lines show it: an issuer or a node."""

    name: str
    role: str = "issuer"
    signer: Signer = field(default_factory=Signer)
    audit: Signer = field(default_factory=Signer)
    keystore_id: bytes = field(default_factory=lambda: os.urandom(16))
    hpke: bytes = field(default_factory=lambda: _x_wing())

    @property
    def id(self) -> str:
        return node_id(self.signer.public, self.hpke)

    def line(self, kind: str, content: dict[str, Any], /, **members: Any) -> bytes:
        """A line and its signature."""
        return canonical(content | {"signature": base64_of(self.signer.sign(kind, content))} | members)

    def card(self, *, members: dict[str, Any] | None = None, **signed: Any) -> bytes:
        content = {
            "audit_key": self.audit.public.hex(),
            "epoch": 1,
            "identity_hpke": base64_of(self.hpke),
            "identity_key": self.signer.public.hex(),
            "issued_at": int(time.time()) - 60,
            "keystore_id": self.keystore_id.hex(),
            "name": self.name,
            "recovery_key": "",
            "role": self.role,
            "type": "tiktrue-card/2",
        } | signed
        return self.line("card", content, **(members or {})) + b"\n"

    def acknowledgement(self, issuer: str, *, members: dict[str, Any] | None = None, **signed: Any) -> bytes:
        """Before the first envelope and without a challenge."""
        content = {
            "at": int(time.time()),
            "audit": {"head": _EMPTY, "size": 0},
            "blocked": "",
            "challenge": None,
            "epoch": 1,
            "from": self.id,
            "number": 0,
            "results": [],
            "stream": 1,
            "to": issuer,
            "type": "tiktrue-acknowledgement/2",
        } | signed
        return self.line("acknowledgement", content, **(members or {}))

    def revocations(self, *, members: dict[str, Any] | None = None, **signed: Any) -> bytes:
        now = int(time.time())
        content = {
            "epoch": 1,
            "issued_at": now - 60,
            "issuer": self.id,
            "number": 1,
            "releases": [],
            "revoked": [{"key_id": KEY_ID, "reason": "leaked", "revoked_at": now - 60}],
            "type": "tiktrue-revocation-list/2",
            "valid_until": now + 30 * DAY,
        } | signed
        return self.line("revocation-list", content, **(members or {}))


def _x_wing() -> bytes:
    mlkem = MLKEM768PrivateKey.generate().public_key().public_bytes_raw()
    return mlkem + X25519PrivateKey.generate().public_key().public_bytes_raw()


def key_payload(**changes: Any) -> dict[str, Any]:
    """A key that is made a minute ago."""
    now = int(time.time())
    payload = {
        "created_at": now - 60,
        "decrypt_until": now + 120 * DAY,
        "expires_at": now + 30 * DAY,
        "labels": {},
        "licensed": False,
        "overlap_ends_at": 0,
        "pending": False,
        "predecessor": "",
    }
    return payload | changes


@dataclass
class Envelope:
    """One envelope from `issuer` to the node with this card. `audit` and `contents` replace members that are sealed."""

    issuer: Peer
    node: dict[str, Any]
    kind: str = "key"
    payload: dict[str, Any] = field(default_factory=key_payload)
    secret: bytes = b"\7\1" * 16
    audit: dict[str, Any] = field(default_factory=dict)
    contents: dict[str, Any] = field(default_factory=dict)
    plaintext: bytes | None = None
    info: dict[str, Any] = field(default_factory=dict)
    signed: dict[str, Any] = field(default_factory=dict)
    members: dict[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        now, is_key = int(time.time()), self.kind in ("key", "promote")
        content: dict[str, Any] = {
            "epoch": 1,
            "from": self.issuer.id,
            "generation": 1 if is_key else 0,
            "issued_at": now - 60,
            "key_id": KEY_ID if is_key else "",
            "kind": self.kind,
            "number": 1,
            "stream": 1,
            "to": node_id(bytes.fromhex(self.node["identity_key"]), base64.b64decode(self.node["identity_hpke"])),
            "type": "tiktrue-envelope/2",
            "valid_until": now + 90 * DAY,
        } | self.signed
        content.setdefault("sealed", base64_of(self.sealed(content)))
        return self.issuer.line("envelope", content, **self.members)

    def sealed(self, content: dict[str, Any]) -> bytes:
        said = content | self.info
        texts = [str(said[name]).encode("utf-8", "surrogatepass") for name in ("from", "to", "kind", "key_id")]
        numbers = ("epoch", "stream", "number", "generation", "issued_at", "valid_until")
        info = joined(LABEL + b"envelope", *texts, *(u64(int(said[name])) for name in numbers))
        audit = {
            "base": {"head": _EMPTY, "size": 0},
            "head": sha256(b"\0a record").hex(),
            "previous": 0,
            "proof": [],
            "size": 1,
        } | self.audit
        contents = {"audit": audit, "payload": self.payload, "receipt": "ab" * 16} | self.contents
        secret = self.secret if self.kind == "key" else b""
        plaintext = bytes([len(secret)]) + secret + canonical(contents)
        public = base64.b64decode(self.node["identity_hpke"])
        recipient = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:1184]), X25519PublicKey.from_public_bytes(public[1184:])
        )
        suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
        return suite.encrypt(plaintext if self.plaintext is None else self.plaintext, recipient, info=info)


def write_round(spool: Path, issuer: Peer, number: int, lines: dict[str, bytes], *, index: bytes | None = None) -> Path:
    """A round with the lines of nodes, by node id."""
    folder = spool / issuer.id / f"{number:010d}"
    folder.mkdir(parents=True)
    for node, data in lines.items():
        (folder / node).write_bytes(data)
    if index is None:
        text = f"tiktrue-round/1 {issuer.id} {number}\n" + "".join(f"{node} 1 1 1\n" for node in sorted(lines))
        signature = issuer.signer.sign_text("round", text.encode())
        index = text.encode() + base64_of(signature).encode() + b"\n"
    (folder / "index").write_bytes(index)
    return folder
