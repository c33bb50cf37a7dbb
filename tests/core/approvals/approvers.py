"""Approvers for tests: their keys, and signatures as ssh-keygen(1) and security keys make them, in software."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tiktrue_keys.core.approvals.policy import Approver, parse_approver
from tiktrue_keys.core.approvals.ssh_signatures import SSH_KEYGEN
from tiktrue_keys.core.operations.approvals import add_signature, approval_text, set_policy
from tiktrue_keys.core.session import KeystoreSession

needs_ssh_keygen = pytest.mark.skipif(not SSH_KEYGEN.exists(), reason=f"{SSH_KEYGEN} (OpenSSH's client) is missing")

ED25519, ECDSA = "ssh-ed25519", "ecdsa-sha2-nistp256"
SK_ED25519, SK_ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
APPLICATION = b"ssh:"
TOUCHED = 0x01


def string(data: bytes) -> bytes:
    """RFC 4251, section 5."""
    return len(data).to_bytes(4, "big") + data


def mpint(number: int) -> bytes:
    """RFC 4251, section 5: positive, with a leading zero where the top bit is set."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def armored(blob: bytes) -> bytes:
    """PROTOCOL.sshsig: base64 in lines of 70."""
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()


@dataclass
class Person:
    """One approver. `seed` picks the key; `flags` and `counter` are what a security key puts into its signatures."""

    name: str
    type: str = ED25519
    seed: int = 0
    flags: int = TOUCHED
    counter: int = 7
    _key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey = field(init=False)

    def __post_init__(self) -> None:
        secret = hashlib.sha256(f"{self.name} {self.type} {self.seed}".encode()).digest()
        edwards = self.type in (ED25519, SK_ED25519)
        number = int.from_bytes(secret, "big") % (1 << 255)
        self._key = (
            Ed25519PrivateKey.from_private_bytes(secret) if edwards else ec.derive_private_key(number, ec.SECP256R1())
        )

    @property
    def blob(self) -> bytes:
        """The public key in SSH's wire format."""
        if isinstance(self._key, Ed25519PrivateKey):
            public = string(self._key.public_key().public_bytes_raw())
        else:
            point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            public = string(b"nistp256") + string(point)
        return string(self.type.encode()) + public + (string(APPLICATION) if self._is_sk else b"")

    @property
    def line(self) -> bytes:
        """KEY.pub."""
        return f"{self.type} {base64.b64encode(self.blob).decode()} {self.name}@example\n".encode()

    @property
    def approver(self) -> Approver:
        """The approver of a policy."""
        return parse_approver(self.name, self.line)

    @property
    def _is_sk(self) -> bool:
        return self.type.startswith("sk-")

    def sign(
        self, message: bytes, *, namespace: str = "tiktrue-keys", digest: str = "sha512", key: bytes = b""
    ) -> bytes:
        """The armored SSHSIG of a message; `key` takes the place of the signer's own in it."""
        hashed = hashlib.new(digest, message).digest()
        parts = string(namespace.encode()) + string(b"") + string(digest.encode())
        signed = b"SSHSIG" + parts + string(hashed)
        tail = b""
        if self._is_sk:  # PROTOCOL.u2f
            tail = bytes([self.flags]) + self.counter.to_bytes(4, "big")
            signed = hashlib.sha256(APPLICATION).digest() + tail + hashlib.sha256(signed).digest()
        signature = string(self.type.encode()) + string(self._raw(signed)) + tail
        version = (1).to_bytes(4, "big")
        return armored(b"SSHSIG" + version + string(key or self.blob) + parts + string(signature))

    def _raw(self, message: bytes) -> bytes:
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(message)
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(SHA256())))
        return mpint(r) + mpint(s)


ADA, BOB, EVE = Person("ada"), Person("bob"), Person("eve")


def policy_of(session: KeystoreSession, people: Sequence[Person] = (ADA, BOB), **require: int) -> None:
    """Set a policy: `decrypt_out=2` requires two approvals for decrypt-out."""
    numbers = {name.replace("_", "-"): count for name, count in require.items()}
    set_policy(session, require=numbers, approvers=[each.approver for each in people], operation_id=None)


def approve(session: KeystoreSession, number: int, *people: Person) -> None:
    """Have these people sign a plan."""
    text = approval_text(session, number)
    for each in people or (ADA, BOB):
        add_signature(session, each.sign(text), operation_id=None)


def approved(session: KeystoreSession, number: int, operation: Callable[[], object], *people: Person) -> None:
    """Have a plan signed and run the operation with it."""
    approve(session, number, *people)
    session.approval = number
    try:
        operation()
    finally:
        session.approval = None


def write_keys(folder: Path, *people: Person) -> None:
    """Write NAME.pub for each."""
    for each in people:
        (folder / f"{each.name}.pub").write_bytes(each.line)
