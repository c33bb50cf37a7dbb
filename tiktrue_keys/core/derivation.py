"""All key derivations, with their labels and costs.

Come here to add a derivation or to look up the label of one. Labels are byte strings that start with `tiktrue-keys/`,
a version and a space; tiktrue-keys-format(5) lists all of them. HKDF is HKDF-SHA256 (RFC 5869), PBKDF2 is
PBKDF2-HMAC-SHA256 (RFC 8018; vectors of RFC 7914). The functions are pure: bytes in, secrets out.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey

KEY_LENGTH = 32
SALT_LENGTH = 32

PBKDF2_ROUNDS = 600_000  # OWASP password storage cheat sheet, 2023; measured: 98 ms
PBKDF2_MIN_ROUNDS = 100_000
PBKDF2_MAX_ROUNDS = 100_000_000  # the most that a header may demand before it is authenticated: about 16 s

PREFIX = b"tiktrue-keys/1 "

SLOT = PREFIX + b"slot"
SLOT_HINT = PREFIX + b"slot-hint"
ESCROW = PREFIX + b"escrow"
HOST_SECRET_ID = PREFIX + b"host-secret-id"
HEADER = PREFIX + b"header"
METADATA = PREFIX + b"metadata"
TAG = PREFIX + b"tag"
INTEGRITY = PREFIX + b"integrity"
HIGH_WATER = PREFIX + b"high-water"
RENEWAL = PREFIX + b"renewal"
AUDIT = PREFIX + b"audit"
IDENTITY = PREFIX + b"identity"
MACHINE_KEK = PREFIX + b"machine-kek"
LICENSE_TEXT = b"tiktrue-keys/2 license"
FORMER = PREFIX + b"former"
LICENSE_TAG = PREFIX + b"license-tag"
LICENSE_KEK = PREFIX + b"license-kek"
MANAGED_KEY_HPKE = PREFIX + b"managed-key-hpke"
CONTAINER_HEADER = PREFIX + b"container-header"
FINGERPRINT = PREFIX + b"fingerprint"
WRAP = PREFIX + b"wrap"
MODEL_ROOT = PREFIX + b"model-root"
MODEL_SIGNATURE = PREFIX + b"model-signature"
NODE_ID = PREFIX + b"node-id"
ENVELOPE = PREFIX + b"envelope"
RECEIPT = PREFIX + b"receipt"
CHALLENGE = PREFIX + b"challenge"
MODEL_BODY = b"tiktrue-model/1"
"""Associated data of a container's body, followed by the file id.

Another Tink implementation needs both to decrypt it.
"""


def hkdf(
    secret: bytes | memoryview, *, salt: bytes | memoryview, info: bytes, length: int = KEY_LENGTH
) -> SecretBuffer:
    """Return HKDF-SHA256(secret, salt, info), `length` bytes long (RFC 5869)."""
    output = SecretBuffer(length)
    HKDF(SHA256(), length, bytes(salt), info).derive_into(secret, output.view)
    return output


def slot_key(
    host_secret: memoryview, anchors: Sequence[tuple[str, str]], *, salt: bytes, keystore_id: bytes
) -> SecretBuffer:
    """Return the 32-byte key of a slot, from the host secret and the (kind, value) anchors in the order given.

    The host secret has 256 bits of entropy, so HKDF is sufficient; serial numbers alone would need a slow function.
    """
    facts = joined(*(part.encode() for anchor in anchors for part in anchor))
    with SecretBuffer.copy_of(joined(bytes(host_secret), facts)) as material:
        return hkdf(material.view, salt=salt, info=SLOT + b"\x00" + keystore_id)


def slot_hint(host_secret: memoryview, anchors: Sequence[tuple[str, str]], *, keystore_id: bytes) -> bytes:
    """Return one byte for each (kind, value) anchor: HMAC-SHA256 under a key of the host secret, first byte.

    It spares an opener the values that cannot be those of a slot. A keystore has one byte for a fact, whatever the
    slot: with one of its own in each slot, a reader of the host secret could confirm a guessed fact by itself.
    """
    with hkdf(host_secret, salt=b"", info=SLOT_HINT + b"\x00" + keystore_id) as key:
        return bytes(hmac.digest(key.view, joined(*(part.encode() for part in each)), "sha256")[0] for each in anchors)


def escrow_key(secret: memoryview, *, salt: bytes, keystore_id: bytes) -> SecretBuffer:
    """Return the 32-byte key of an escrow's slot, from the 32 random bytes that its shares reconstruct."""
    return hkdf(secret, salt=salt, info=ESCROW + b"\x00" + keystore_id)


def host_secret_id(host_secret: memoryview) -> bytes:
    """Return 16 public bytes that identify a host secret and reveal nothing about it."""
    with hkdf(host_secret, salt=b"", info=HOST_SECRET_ID, length=16) as name:
        return bytes(name.view)


def subkey(root: memoryview, label: bytes, context: bytes = b"") -> SecretBuffer:
    """Return a 32-byte key for one purpose, derived from the keystore's root secret H or any uniform 32-byte secret."""
    return hkdf(root, salt=b"", info=label + b"\x00" + context if context else label)


def stretch_license(license_key: memoryview, *, salt: bytes, rounds: int, version: int) -> SecretBuffer:
    """Return P, 32 bytes, as a license entry of `version` stretches its license. This is the only slow derivation.

    Version 1: PBKDF2-HMAC-SHA256(license, salt, rounds). PBKDF2 takes a password of more than 64 bytes as its SHA-256,
    and zero bytes at the end of a shorter one do not count (RFC 2104, section 2): other texts than the license give the
    same P. Version 2: PBKDF2-HMAC-SHA256(HMAC-SHA256(LICENSE_TEXT, license), salt, rounds), where only the license
    does. Raises IntegrityError when `rounds` is outside the range that a keystore may ask for.
    """
    if not PBKDF2_MIN_ROUNDS <= rounds <= PBKDF2_MAX_ROUNDS:
        raise IntegrityError(f"the keystore asks for {rounds} PBKDF2 rounds")
    stretched = SecretBuffer(KEY_LENGTH)
    if version == 1:
        PBKDF2HMAC(SHA256(), KEY_LENGTH, salt, rounds).derive_into(license_key, stretched.view)
        return stretched
    with SecretBuffer.copy_of(hmac.digest(LICENSE_TEXT, license_key, hashlib.sha256)) as hashed:
        PBKDF2HMAC(SHA256(), KEY_LENGTH, salt, rounds).derive_into(hashed.view, stretched.view)
    return stretched


def license_tag(stretched: memoryview, salt: bytes | memoryview) -> bytes:
    """Return 16 bytes that identify a license in one keystore. `salt` is Q of its entry, 32 bytes.

    Testing a guess takes a PBKDF2 and Q, which is stored sealed.
    """
    with hkdf(stretched, salt=salt, info=LICENSE_TAG, length=16) as tag:
        return bytes(tag.view)


def license_kek(stretched: memoryview, salt: bytes | memoryview) -> SecretBuffer:
    """Return the 32-byte key encryption key of a license. `salt` is Q of its entry."""
    return hkdf(stretched, salt=salt, info=LICENSE_KEK)


def header_mac_key(data_key: memoryview, file_id: bytes) -> SecretBuffer:
    """Return the 32-byte HMAC-SHA256 key over a container's header slots.

    The MAC commits to the data key, which GCM does not.
    """
    return subkey(data_key, CONTAINER_HEADER, file_id)


def wrap_context(kind: str, *, file_id: bytes, model_id: str, key_id: str, generation: int) -> bytes:
    """Return the bytes that a wrapped key is bound to: associated data of AES-GCM-SIV, `info` of HPKE.

    The parts are length-prefixed.
    """
    return joined(WRAP, kind.encode(), file_id, model_id.encode(), key_id.encode(), generation.to_bytes(4, "big"))


def signed_message(kind: str, canonical: bytes) -> bytes:
    """Return the message that Ed25519 signs: `tiktrue-keys/1 <kind>`, a zero byte, the canonical bytes."""
    return PREFIX + kind.encode() + b"\x00" + canonical


def keyed_tag(key: memoryview, kind: int, name: str) -> bytes:
    """Return the 16-byte tag of a record: HMAC-SHA256 over kind (2 bytes) and name, truncated (RFC 2104, section 5)."""
    return hmac.digest(key, kind.to_bytes(2, "big") + name.encode(), "sha256")[:16]


def renewed_tag(key: memoryview, tag: bytes) -> bytes:
    """Return the 16-byte tag of a record after a rekey, from the one before it: HMAC-SHA256, truncated (RFC 2104)."""
    return hmac.digest(key, tag, "sha256")[:16]


def managed_key_hpke(managed_key: memoryview) -> tuple[MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey]:
    """Return the X-Wing key pair of a managed key (draft-connolly-cfrg-xwing-kem: X25519 + ML-KEM-768)."""
    with subkey(managed_key, MANAGED_KEY_HPKE) as seed:
        return x_wing_pair(seed.view)


def x_wing_pair(seed: memoryview) -> tuple[MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey]:
    """Return the X-Wing key pair of a 32-byte seed (draft section 5.2).

    SHAKE256 expands the seed to 96 bytes: d | z of ML-KEM-768 (64 bytes), then the X25519 scalar (32 bytes).
    """
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

    expanded = hashlib.shake_256(seed).digest(96)
    private = MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])
    )
    return private, private.public_key()


def x_wing_public_bytes(seed: memoryview) -> bytes:
    """Return the 1216 public bytes of a seed's pair: ML-KEM-768 key 1184, then X25519 key 32 (draft section 5.2)."""
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    expanded = hashlib.shake_256(seed).digest(96)
    ml_kem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).public_key()
    x25519 = X25519PrivateKey.from_private_bytes(expanded[64:]).public_key()
    return ml_kem.public_bytes_raw() + x25519.public_bytes_raw()
