"""Public keys of approvers as OpenSSH writes them: `ssh-ed25519 AAAA... comment`, one plain key.

Come here for which types are accepted. Certificates, options before the key and DSA are not. RFC 4253, section 6.6;
RFC 8709; RFC 5656; for the types that begin with `sk-` OpenSSH's PROTOCOL.u2f.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from tiktrue_keys.errors import UsageError

SK_TYPES = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
"""Types of keys that a security key holds; their signatures say whether it was touched."""

_CURVES = {
    "ecdsa-sha2-nistp256": (b"nistp256", 65),
    "ecdsa-sha2-nistp384": (b"nistp384", 97),
    "ecdsa-sha2-nistp521": (b"nistp521", 133),
    "sk-ecdsa-sha2-nistp256@openssh.com": (b"nistp256", 65),
}
"""The curve's name, and the length of an uncompressed point in bytes."""

_ED25519 = ("ssh-ed25519", "sk-ssh-ed25519@openssh.com")
_RSA = "ssh-rsa"
KEY_TYPES = (*_ED25519, *_CURVES, _RSA)
_RSA_BITS = range(2048, 4097)
_LINE_LIMIT = 8192
_PART_LIMIT = 4096


class MalformedError(Exception):
    """Bytes that are not in the SSH wire format, or more or less of it than expected."""


class WireReader:
    """Reads values of RFC 4251, section 5, one after the other. Raises MalformedError past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def raw(self, length: int) -> bytes:
        """Return the next bytes."""
        part = self._data[self._at : self._at + length]
        if len(part) != length:
            raise MalformedError("it ends early")
        self._at += length
        return part

    def number(self) -> int:
        """Return the next uint32."""
        return int.from_bytes(self.raw(4), "big")

    def string(self) -> bytes:
        """Return the next string of at most 4096 bytes."""
        length = self.number()
        if length > _PART_LIMIT:
            raise MalformedError("a part of it is too long")
        return self.raw(length)

    def text(self) -> str:
        """Return the next string as text; every name that this program knows is ASCII."""
        return self.string().decode("ascii", "replace")

    def end(self) -> None:
        """Raise MalformedError unless everything was read."""
        if self._at != len(self._data):
            raise MalformedError("more follows it")


@dataclass(frozen=True)
class SshKey:
    """One public key: its type, and the blob of RFC 4253, section 6.6, in which the type stands again."""

    type: str
    blob: bytes

    @property
    def text(self) -> str:
        """Return the type and the blob in base64, as `authorized_keys` has them."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint as `ssh-keygen -l` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")


def parse_public_key(data: bytes) -> SshKey:
    """Return the key of a file that ssh-keygen(1) wrote as KEY.pub. Raises UsageError for anything else."""
    text = data[: _LINE_LIMIT + 1].decode("utf-8", "replace").strip()
    words = text.split(None, 2)
    if len(data) > _LINE_LIMIT or "\n" in text or len(words) < 2:
        raise _not_a_key("it is not one line of a public key")
    if "-cert-" in words[0]:
        raise _not_a_key("it is a certificate")
    if words[0] not in KEY_TYPES:
        raise _not_a_key("its type is not accepted")
    try:
        key = SshKey(words[0], base64.b64decode(words[1], validate=True))
        _check(key)
    except (binascii.Error, MalformedError) as error:
        raise _not_a_key(str(error) if isinstance(error, MalformedError) else "it is not base64") from error
    return key


def _check(key: SshKey) -> None:
    reader = WireReader(key.blob)
    if reader.text() != key.type:
        raise MalformedError("the type inside it is another one")
    if key.type == _RSA:
        exponent, modulus = (int.from_bytes(reader.string(), "big") for _ in range(2))
        if modulus.bit_length() not in _RSA_BITS or not 3 <= exponent < 2**64:
            raise MalformedError(f"its RSA key has {modulus.bit_length()} bits, not 2048 to 4096")
    elif key.type in _CURVES:
        name, length = _CURVES[key.type]
        if reader.string() != name:
            raise MalformedError("its curve is another one")
        point = reader.string()
        if len(point) != length or point[0] != 4:
            raise MalformedError("its point is malformed")
    elif len(reader.string()) != 32:
        raise MalformedError("its length is wrong")
    if key.type in SK_TYPES and not reader.string():
        raise MalformedError("it names no application")
    reader.end()


def _not_a_key(why: str) -> UsageError:
    return UsageError(f"this is not an approver's public key: {why}", remedy="approver-key")
