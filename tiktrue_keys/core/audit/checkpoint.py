"""The audit head as a C2SP tlog-checkpoint in a C2SP signed note (Ed25519), which Go's sumdb/note can open.

Come here to sign or verify the head of the log. A note is its text, a blank line, and signature lines
`— <name> <base64(key id | signature)>`. Signature lines of others (witnesses) are accepted and not verified. This
module holds no key: to sign, the caller passes a function.

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
from tiktrue_keys.errors import IntegrityError, InternalError, UsageError

NOTE_LIMIT = 64 * 1024
"""The largest size of a note in bytes: room for hundreds of Ed25519 witnesses, or a dozen post-quantum ones of 5 kB."""

_ED25519 = b"\x01"
_KEY_ID_LENGTH = 4
_KEY_LENGTH = 32
_DASH = "— "
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_SIZE = 2**63 - 1  # Go parses it into an int64
_NOT_IN_NAMES = re.compile(r"[\s+\x00-\x1f]")  # only a name could bring a control character into a note


@dataclass(frozen=True)
class Checkpoint:
    """The root (32 bytes) of the tree over `size` leaves, in the log named `origin`."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """Return the text that is signed: three lines."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


def note_key_id(name: str, public_key: bytes) -> bytes:
    """Return the 4 bytes that identify an Ed25519 key together with its name.

    They are SHA-256(name | 0x0A | 0x01 | public key)[:4].
    """
    return sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:_KEY_ID_LENGTH]


def verifier_key(name: str, public_key: bytes) -> str:
    """Return the key in the form of Go's sumdb/note: name+key id in hex+base64(0x01 | public key)."""
    _check_name(name)
    return f"{name}+{note_key_id(name, public_key).hex()}+{b64encode(_ED25519 + public_key).decode()}"


def parse_verifier_key(text: str) -> tuple[str, bytes]:
    """Return the name and the Ed25519 public key (32 bytes) of a verifier key. Raises UsageError when it is malformed.

    https://c2sp.org/signed-note
    """
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    key = _base64(encoded) or b""
    public = key[len(_ED25519) :]
    is_ours = key.startswith(_ED25519) and len(public) == _KEY_LENGTH and _is_name(name)
    if not is_ours or note_key_id(name, public).hex() != key_id:
        raise UsageError("the verifier key is malformed or incomplete", "copy the whole line NAME+HEX+BASE64")
    return name, public


def signed_note(checkpoint: Checkpoint, *, public_key: bytes, sign: Callable[[bytes], bytes]) -> str:
    """Return the checkpoint as a signed note; its origin is the key's name.

    `sign` returns the 64-byte Ed25519 signature of the bytes that it is given.
    """
    _check_name(checkpoint.origin)
    if not 0 <= checkpoint.size <= _MAX_SIZE or len(checkpoint.root) != HASH_LENGTH:
        raise InternalError("a checkpoint has an impossible size or root")
    body = checkpoint.body()
    signature = note_key_id(checkpoint.origin, public_key) + sign(body.encode())
    return f"{body}\n{_DASH}{checkpoint.origin} {b64encode(signature).decode()}\n"


def open_note(text: str, *, origin: str, public_key: bytes) -> Checkpoint:
    """Return the checkpoint of a note. Raises IntegrityError unless it is about `origin` and signed by `public_key`.

    The signature has to stand under the name `origin`. Extension lines are refused: this program writes none.
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
    """Return a note's text, with its last newline, and its signature lines."""
    malformed = IntegrityError("the checkpoint is not a signed note")
    # Count characters first: a text never has fewer bytes than characters. Encoding refuses lone surrogates.
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
    """Return the bytes of standard base64 in its only spelling: padded, without bits left over.

    None for anything else.
    """
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
