"""The end of a container: the BLAKE3 tree over its ciphertext, the issuer's signature, the footer. Pure.

    trailer = leaves | record | footer           (all integers are big-endian)

    leaves    32 bytes for each segment, in order, or nothing when the body went into a pipe
              leaf i = BLAKE3(ciphertext of segment i with its tag | i as 8 bytes)
    record    168 bytes
         0      4  magic `TTMR`
         4      2  version, 1
         6      2  flags: 1 = leaves listed
         8      8  segments
        16      8  plaintext length
        24     32  root
        56    112  signature place: issuer's Ed25519 public key 32 | signature 64 | check 16; all zero = not signed
    footer    32 bytes
         0      4  magic `TTME`
         4      2  version, 1
         6      2  zero
         8      8  length of leaves and record together
        16     16  first half of SHA-256(leaves | record with a zero signature place | the footer's first 16 bytes)

    root  = BLAKE3(`tiktrue-keys/1 model-root` | 0 | file id 16 | salt 32 | prefix 7 | segment size 4 |
                   plaintext length 8 | all leaves)
    check = first 16 bytes of SHA-256(`tiktrue-keys/1 model-signature` | 0 | root | issuer | signature)

The signature is over `tiktrue-keys/1 model` | 0 | canonical JSON of {file_id, kind, length, model_id, name, prefix,
root, salt, segment_size}, byte strings in lower-case hex, length from the record. It covers neither the slots' sequence
numbers nor the wraps, so it stays valid after a rewrap. The signature place begins 144 bytes before the end of every
container. The footer's checksum leaves it out, so one write can fill it in later; a place with a wrong check (a power
cut during that write) counts as not signed. The checksum and the check detect accidents early; only the signature
protects against an attacker.

Without listed leaves (a container made into a pipe) the root can be verified only by a pass over the whole body
(pipeline.hash_body).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.derivation import MODEL_ROOT, MODEL_SIGNATURE, signed_message
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.format.body import MAX_SEGMENTS, BodyHeader, Geometry
from tiktrue_keys.models.format.header import Header

LEAF_LENGTH = 32
ROOT_LENGTH = 32
RECORD_LENGTH = 168
FOOTER_LENGTH = 32
TAIL_LENGTH = RECORD_LENGTH + FOOTER_LENGTH
"""Record and footer, 200 bytes: the end of every container, and the whole trailer when no leaves are listed."""
SIGNATURE_PLACE_LENGTH = 112
SIGNATURE_PLACE_FROM_END = SIGNATURE_PLACE_LENGTH + FOOTER_LENGTH
VERSION = 1
SIGNATURE_KIND = "model"

Leaves = bytes | bytearray
"""32 bytes for each segment, joined. A body of 2 TiB has 64 MiB of leaves, so avoid copying them."""

_RECORD = struct.Struct(">4sHHQQ32s112s")
_FOOTER = struct.Struct(">4sHHQ16s")
_RECORD_MAGIC = b"TTMR"
_FOOTER_MAGIC = b"TTME"
_LEAVES_LISTED = 1
_ROOT_LABEL = MODEL_ROOT + b"\x00"
_CHECK_LABEL = MODEL_SIGNATURE + b"\x00"
_UNSIGNED = bytes(SIGNATURE_PLACE_LENGTH)


@dataclass(frozen=True)
class Signature:
    """A container's signature: the issuer's Ed25519 public key (32 bytes) and the signature (64 bytes)."""

    issuer: bytes
    signature: bytes


@dataclass(frozen=True)
class Trailer:
    """A decoded trailer. `leaves` holds 32 bytes for each segment, or None when they are not listed."""

    segments: int
    length: int
    root: bytes
    leaves: Leaves | None
    signature: Signature | None = None

    @property
    def encoded_length(self) -> int:
        """Return the number of bytes after the body."""
        return len(self.leaves or b"") + TAIL_LENGTH

    def encode(self) -> bytes:
        """Return all bytes after the body: leaves, record, footer."""
        return bytes(self.leaves or b"") + self.encode_tail()

    def encode_tail(self) -> bytes:
        """Return the last 200 bytes: record and footer."""
        leaves = self.leaves or b""
        place = _UNSIGNED if self.signature is None else signature_place(self.root, self.signature)
        head = _FOOTER.pack(_FOOTER_MAGIC, VERSION, 0, len(leaves) + RECORD_LENGTH, bytes(16))[:16]
        return self._record(place) + head + _checksum(leaves, self._record(_UNSIGNED), head)

    def signed(self, signature: Signature) -> Trailer:
        """Return this trailer with a signature."""
        return replace(self, signature=signature)

    def _record(self, place: bytes) -> bytes:
        flags = 0 if self.leaves is None else _LEAVES_LISTED
        return _RECORD.pack(_RECORD_MAGIC, VERSION, flags, self.segments, self.length, self.root, place)


def body_leaf(index: int, ciphertext: bytes | memoryview) -> bytes:
    """Return the leaf of segment `index` (32 bytes)."""
    from blake3 import blake3

    return blake3(ciphertext).update(index.to_bytes(8, "big")).digest()


def body_root(file_id: bytes, body: BodyHeader, geometry: Geometry, length: int, leaves: Leaves) -> bytes:
    """Return the root (32 bytes) over the joined leaves and the body's identity; `length` in bytes of plaintext."""
    from blake3 import blake3

    sizes = geometry.segment_size.to_bytes(4, "big") + length.to_bytes(8, "big")
    return blake3(_ROOT_LABEL + file_id + body.salt + body.prefix + sizes).update(leaves).digest()


def signed_content(header: Header, body: BodyHeader, *, length: int, root: bytes) -> bytes:
    """Return the canonical JSON that a container's signature covers. The signer prefixes `tiktrue-keys/1 model` | 0."""
    return canonical_json(
        {
            "file_id": header.file_id.hex(),
            "kind": header.kind.value,
            "length": length,
            "model_id": header.model_id,
            "name": header.name,
            "prefix": body.prefix.hex(),
            "root": root.hex(),
            "salt": body.salt.hex(),
            "segment_size": header.segment_size,
        }
    )


def make_signature(
    header: Header, body: BodyHeader, trailer: Trailer, *, issuer: bytes, sign: Callable[[bytes], bytes]
) -> Signature:
    """Sign a container. `sign` takes the canonical bytes and returns Ed25519 over signed_message("model", bytes)."""
    return Signature(issuer, sign(signed_content(header, body, length=trailer.length, root=trailer.root)))


def verify_signature(header: Header, body: BodyHeader, trailer: Trailer, issuer: bytes) -> None:
    """Verify the signature. Raises IntegrityError unless `issuer` (32 bytes) signed the container."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if trailer.signature is None:
        raise IntegrityError("the container is not signed")
    if not hmac.compare_digest(trailer.signature.issuer, issuer):
        raise IntegrityError("the container is signed by another keystore", "check where it came from")
    message = signed_message(SIGNATURE_KIND, signed_content(header, body, length=trailer.length, root=trailer.root))
    try:
        Ed25519PublicKey.from_public_bytes(issuer).verify(trailer.signature.signature, message)
    except InvalidSignature:
        raise IntegrityError("the container's signature is wrong", "check where it came from") from None


def signature_place(root: bytes, signature: Signature) -> bytes:
    """Return the 112 bytes of a filled signature place."""
    return signature.issuer + signature.signature + _check(root, signature.issuer, signature.signature)


def decode_signature_place(root: bytes, place: bytes) -> Signature | None:
    """Return the signature in a place; None when the place is empty or its check does not match `root` (32 bytes)."""
    issuer, signature, check = place[:32], place[32:96], place[96:]
    return Signature(issuer, signature) if check == _check(root, issuer, signature) else None


def decode_footer(footer: bytes) -> int:
    """Return the length of leaves and record together, from a container's last 32 bytes.

    Raises IntegrityError when the bytes are not a footer.
    """
    if len(footer) != FOOTER_LENGTH or not footer.startswith(_FOOTER_MAGIC):
        raise IntegrityError("the container does not end with a footer: it was cut off, or data was appended")
    _, version, zero, length, _ = _FOOTER.unpack(footer)
    _check_version(version)
    leaves = length - RECORD_LENGTH
    if zero or leaves < 0 or leaves % LEAF_LENGTH or leaves // LEAF_LENGTH > MAX_SEGMENTS:
        raise IntegrityError("the container's footer is malformed")
    return int(length)


def decode_trailer(leaves: bytes, tail: bytes, geometry: Geometry) -> Trailer:
    """Decode the leaves and the last 200 bytes. Raises IntegrityError for anything that `encode` would not write."""
    record, footer = tail[:RECORD_LENGTH], tail[RECORD_LENGTH:]
    if decode_footer(footer) != len(leaves) + RECORD_LENGTH:
        raise IntegrityError("the length of the container's trailer does not match its footer")
    _check_record(record)
    unsigned = record[:-SIGNATURE_PLACE_LENGTH] + _UNSIGNED
    if _checksum(leaves, unsigned, footer[:16]) != footer[16:]:
        raise IntegrityError("the container's trailer is damaged")
    trailer, leaves_length = decode_tail(tail, geometry)
    return replace(trailer, leaves=leaves if leaves_length else None)


def decode_tail(tail: bytes, geometry: Geometry) -> tuple[Trailer, int]:
    """Decode the last 200 bytes alone; return a trailer without its leaves, and how many bytes of them there are.

    The footer's checksum, which covers the leaves, is not compared. Raises IntegrityError for a malformed one.
    """
    record, leaves_length = tail[:RECORD_LENGTH], decode_footer(tail[RECORD_LENGTH:]) - RECORD_LENGTH
    _check_record(record)
    _, _, flags, segments, length, root, place = _RECORD.unpack(record)
    listed = flags == _LEAVES_LISTED
    if flags not in (0, _LEAVES_LISTED) or leaves_length != (segments * LEAF_LENGTH if listed else 0):
        raise IntegrityError("the number of leaves in the container's trailer does not match its record")
    if (
        segments > MAX_SEGMENTS
        or length > segments * geometry.segment_size
        or geometry.segment_count(length) != segments
    ):
        raise IntegrityError("the number of segments in the container's trailer does not match its length")
    return Trailer(segments, length, root, None, decode_signature_place(root, place)), leaves_length


def _check_record(record: bytes) -> None:
    magic, version, *_ = _RECORD.unpack(record)
    if magic != _RECORD_MAGIC:
        raise IntegrityError("the container has no trailer")
    _check_version(version)


def _check(root: bytes, issuer: bytes, signature: bytes) -> bytes:
    return hashlib.sha256(_CHECK_LABEL + root + issuer + signature).digest()[:16]


def _checksum(leaves: Leaves, unsigned_record: bytes, footer_head: bytes) -> bytes:
    hashed = hashlib.sha256(leaves)
    hashed.update(unsigned_record)
    hashed.update(footer_head)
    return hashed.digest()[:16]


def _check_version(version: int) -> None:
    if version != VERSION:
        raise IntegrityError(f"the container's trailer has version {version}", f"this program reads version {VERSION}")
