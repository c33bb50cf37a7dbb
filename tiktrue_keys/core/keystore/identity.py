"""The keystore's own key pairs: Ed25519 for the audit head, Ed25519 and X-Wing for its identity.

Come here to sign as the keystore. The public halves are in the header. The private halves are records, wrapped under
keys of H and opened when first needed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.schema import RESTORE, RecordKind
from tiktrue_keys.core.sealing import unwrap_key, wrap_key
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError

Signer = Callable[[bytes], bytes]
"""Takes a message and returns its 64-byte Ed25519 signature (RFC 8032)."""

_SEED = 32
_LABELS = {"audit": derivation.AUDIT, "identity": derivation.IDENTITY, "identity-hpke": derivation.IDENTITY}


@dataclass(frozen=True)
class PublicHalves:
    """Raw public keys: 32, 32 and 1216 bytes (ML-KEM-768 encapsulation key, then X25519)."""

    audit: bytes
    identity: bytes
    identity_hpke: bytes


class Signers:
    """Opens the private halves of one keystore on demand, and keeps them."""

    def __init__(self, keys: RootKeys) -> None:
        self._keys = keys
        self._signers: dict[str, Signer] = {}

    def audit(self, rows: Rows) -> Signer:
        """Return the signer of checkpoints."""
        return self._signer("audit", rows)

    def identity(self, rows: Rows) -> Signer:
        """Return the signer of containers, manifests and cards."""
        return self._signer("identity", rows)

    def _signer(self, name: str, rows: Rows) -> Signer:
        signer = self._signers.get(name)
        if signer is None:
            with open_seed(self._keys, rows, name) as seed:
                signer = _ed25519(seed)
            self._signers[name] = signer
        return signer


def make_identity(keys: RootKeys) -> tuple[PublicHalves, dict[str, bytes]]:
    """Return new public halves, and the private seeds wrapped (60 bytes each) by record name."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    wrapped: dict[str, bytes] = {}
    publics: dict[str, bytes] = {}
    for name in _LABELS:
        with SecretBuffer.random(_SEED) as seed:
            with _wrapping_key(keys, name) as key:
                wrapped[name] = wrap_key(key.view, seed.view, _context(keys, name))
            if name == "identity-hpke":
                publics[name] = derivation.x_wing_public_bytes(seed.view)
            else:
                private = Ed25519PrivateKey.from_private_bytes(seed.view)
                publics[name] = private.public_key().public_bytes_raw()
    return PublicHalves(publics["audit"], publics["identity"], publics["identity-hpke"]), wrapped


def store_identity(rows: Rows, wrapped: dict[str, bytes]) -> None:
    """Write the records of the wrapped seeds."""
    for name, seed in wrapped.items():
        rows.put(RecordKind.IDENTITY, name, {"wrapped": base64.b64encode(seed).decode()})


def renewed_identity(old: RootKeys, rows: Rows, new: RootKeys) -> tuple[bytes, dict[str, bytes]]:
    """Return a new audit key's public half, and the private seeds wrapped under the keys of a new root.

    The identity stays: peers know this keystore by it.
    """
    publics, made = make_identity(new)
    wrapped = {"audit": made["audit"]}
    for name in ("identity", "identity-hpke"):
        with open_seed(old, rows, name) as seed, _wrapping_key(new, name) as key:
            wrapped[name] = wrap_key(key.view, seed.view, _context(new, name))
    return publics.audit, wrapped


def open_seed(keys: RootKeys, rows: Rows, name: str) -> SecretBuffer:
    """Return a private seed of 32 bytes, which the caller wipes.

    Raises IntegrityError when it is missing or damaged.
    """
    payload = rows.get(RecordKind.IDENTITY, name)
    if payload is None:
        raise IntegrityError(f"the keystore's {name} key is gone", **RESTORE)
    with _wrapping_key(keys, name) as key:
        return unwrap_key(key.view, base64.b64decode(payload["wrapped"]), _context(keys, name))


def _wrapping_key(keys: RootKeys, name: str) -> SecretBuffer:
    return derivation.subkey(keys.root.view, _LABELS[name])


def _context(keys: RootKeys, name: str) -> bytes:
    return joined(derivation.IDENTITY, keys.keystore_id, name.encode())


def _ed25519(seed: SecretBuffer) -> Signer:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed.view).sign
