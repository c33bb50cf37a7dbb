"""The audit head as a C2SP tlog-checkpoint, signed as a C2SP signed note (Ed25519), which Go's sumdb/note opens.

A note is its text, a blank line, and signature lines `— <name> <base64(key id | signature)>`. Lines of others
(witnesses) are let stand and not verified. It holds no key: whoever signs passes a function that does.
https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tiktrue_keys.core.audit.merkle import HASH_LENGTH
from tiktrue_keys.errors import IntegrityError, InternalError

NOTE_LIMIT = 64 * 1024
"""The most bytes that a note has: hundreds of Ed25519 witnesses, or a dozen post-quantum ones of 5 kB."""

_ED25519 = b"\x01"
_KEY_ID_LENGTH = 4
_DASH = "— "
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_SIZE = 2**63 - 1  # Go reads it into an int64
_NOT_IN_NAMES = re.compile(r"[\s+\x00-\x1f]")  # nothing but names, digits and base64 is let through: no other control


@dataclass(frozen=True)
class Checkpoint:
    """The tree's root (32 bytes) at `size` leaves, in the log named `origin`."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """The text that is signed: three lines."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


def note_key_id(name: str, public_key: bytes) -> bytes:
    """The 4 bytes that, with the name, identify an Ed25519 key: SHA-256(name | 0x0A | 0x01 | public key)[:4]."""
    return sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:_KEY_ID_LENGTH]


def verifier_key(name: str, public_key: bytes) -> str:
    """The key as Go's sumdb/note reads it: name, key id in hex and base64(0x01 | public key), joined by plus signs."""
    _check_name(name)
    return f"{name}+{note_key_id(name, public_key).hex()}+{b64encode(_ED25519 + public_key).decode()}"


def signed_note(checkpoint: Checkpoint, *, public_key: bytes, sign: Callable[[bytes], bytes]) -> str:
    """The checkpoint as a note, its origin the key's name; `sign` makes the body's Ed25519 signature (64 bytes)."""
    _check_name(checkpoint.origin)
    if not 0 <= checkpoint.size <= _MAX_SIZE or len(checkpoint.root) != HASH_LENGTH:
        raise InternalError("a checkpoint has an impossible size or root")
    body = checkpoint.body()
    signature = note_key_id(checkpoint.origin, public_key) + sign(body.encode())
    return f"{body}\n{_DASH}{checkpoint.origin} {b64encode(signature).decode()}\n"


def open_note(text: str, *, origin: str, public_key: bytes) -> Checkpoint:
    """The checkpoint of a note that is about `origin` and signed by `public_key` under that name, else IntegrityError.

    Extension lines are refused: we write none, and the signature says that we wrote it.
    """
    body, lines = _split(text)
    key_id = note_key_id(origin, public_key)
    ours = 0
    for line in lines:
        name, signature = _signature_line(line)
        if name == origin and signature[:_KEY_ID_LENGTH] == key_id:
            _verify(public_key, signature[_KEY_ID_LENGTH:], body)
            ours += 1
    if not ours:
        raise IntegrityError("the checkpoint is not signed by this keystore's audit key")
    checkpoint = _parse_body(body)
    if checkpoint.origin != origin:
        raise IntegrityError("the checkpoint is of another log")
    return checkpoint


def _split(text: str) -> tuple[str, list[str]]:
    """A note's text, with its last newline, and its signature lines."""
    malformed = IntegrityError("the checkpoint is not a signed note")
    # Characters first: no text of more can have fewer bytes, and encoding refuses lone surrogates.
    if len(text) > NOTE_LIMIT:
        raise malformed
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise malformed from None
    body, blank, signatures = text.rpartition("\n\n")
    if length > NOTE_LIMIT or not blank or not body or not signatures.endswith("\n"):
        raise malformed
    return body + "\n", signatures[:-1].split("\n")


def _signature_line(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    signature = _base64(encoded)
    if not line.startswith(_DASH) or not _is_name(name) or signature is None or len(signature) <= _KEY_ID_LENGTH:
        raise IntegrityError("a signature line of the checkpoint is malformed")
    return name, signature


def _verify(public_key: bytes, signature: bytes, body: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, body.encode())
    except InvalidSignature:
        raise IntegrityError("the checkpoint's signature is wrong") from None


def _parse_body(body: str) -> Checkpoint:
    lines = body.split("\n")
    if len(lines) != 4 or lines[3] or not _is_name(lines[0]):
        raise IntegrityError("the checkpoint does not have three lines")
    size = int(lines[1]) if _SIZE.fullmatch(lines[1]) else -1
    root = _base64(lines[2])
    if not 0 <= size <= _MAX_SIZE or root is None or len(root) != HASH_LENGTH:
        raise IntegrityError("the checkpoint's size or root is malformed")
    return Checkpoint(lines[0], size, root)


def _base64(text: str) -> bytes | None:
    """Standard base64 in its one spelling: padded, without bits left over; None for anything else."""
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return None
    return data if b64encode(data).decode() == text else None


def _is_name(name: str) -> bool:
    return bool(name) and not _NOT_IN_NAMES.search(name)


def _check_name(name: str) -> None:
    if not _is_name(name):
        raise InternalError("a checkpoint's origin holds a space or a plus sign")
