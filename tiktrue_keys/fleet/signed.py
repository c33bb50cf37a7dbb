"""Signed lines: one canonical JSON object with its Ed25519 signature, and strict reading of the members of such a line.

What is signed is derivation.signed_message(kind, the canonical object without its `signature`). Pure.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from tiktrue_keys.core.canonical import MAX_INTEGER, canonical_json, parse_canonical, record_json
from tiktrue_keys.core.derivation import signed_message
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.errors import IntegrityError

SIGNATURE_LENGTH = 64
_MEMBER = "signature"


class Members:
    """The members of a parsed object; every reader raises IntegrityError for another type, length or spelling."""

    def __init__(self, value: dict[str, Any], what: str) -> None:
        self._value = value
        self._what = what
        self._read: set[str] = set()

    def text(self, name: str, limit: int = 256) -> str:
        """A printable text of at most `limit` characters."""
        value = self._member(name)
        if not isinstance(value, str) or len(value) > limit or not value.isprintable():
            raise self._wrong(name)
        return value

    def whole(self, name: str) -> int:
        """A whole number from 0 on."""
        value = self._member(name)
        if type(value) is not int or not 0 <= value <= MAX_INTEGER:
            raise self._wrong(name)
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._member(name)
        if not isinstance(value, bool):
            raise self._wrong(name)
        return value

    def hexadecimal(self, name: str, length: int) -> bytes:
        """`length` bytes in lower-case hex."""
        value = self._member(name)
        if not isinstance(value, str) or len(value) != 2 * length:
            raise self._wrong(name)
        try:
            data = bytes.fromhex(value)
        except ValueError:
            raise self._wrong(name) from None
        if data.hex() != value:
            raise self._wrong(name)
        return data

    def octets(self, name: str, length: int | None = None, *, limit: int = 0) -> bytes:
        """Bytes in base64 of one spelling: exactly `length`, or at most `limit`."""
        return self._decoded(name, self._member(name), length, limit)

    def hashes(self, name: str, most: int) -> list[bytes]:
        """A list of at most `most` hashes of 32 bytes, in base64."""
        return [self._decoded(name, each, 32, 0) for each in self.items(name, most)]

    def items(self, name: str, most: int) -> list[Any]:
        """A list of at most `most` items."""
        value = self._member(name)
        if not isinstance(value, list) or len(value) > most:
            raise self._wrong(name)
        return value

    def inner(self, name: str) -> Members:
        """The members of an object inside."""
        return inner_members(self._member(name), f"{self._what}'s {name}")

    def optional(self, name: str) -> Members | None:
        """The same, or None where the member is null."""
        return None if self._member(name) is None else self.inner(name)

    def raw(self, name: str) -> dict[str, Any]:
        """An object inside, as it is."""
        value = self._member(name)
        if not isinstance(value, dict):
            raise self._wrong(name)
        return value

    def done(self) -> None:
        """Raise when there are members that nobody read."""
        if set(self._value) != self._read:
            raise IntegrityError(f"{self._what} has members that do not belong there")

    def _decoded(self, name: str, value: Any, length: int | None, limit: int) -> bytes:
        most = limit if length is None else length
        if not isinstance(value, str) or len(value) > 4 * (most + 2) // 3 + 4:
            raise self._wrong(name)
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise self._wrong(name) from None
        if len(data) > most or (length is not None and len(data) != length) or encoded(data) != value:
            raise self._wrong(name)
        return data

    def _member(self, name: str) -> Any:
        if name not in self._value:
            raise IntegrityError(f"{self._what} has no {name}")
        self._read.add(name)
        return self._value[name]

    def _wrong(self, name: str) -> IntegrityError:
        return IntegrityError(f"{self._what} has a malformed {name}")


def inner_members(value: Any, what: str) -> Members:
    """The members of an object; IntegrityError when it is none."""
    if not isinstance(value, dict):
        raise IntegrityError(f"{what} is no object")
    return Members(value, what)


def encoded(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode("ascii")


def signed_line(members: dict[str, Any], kind: str, sign: Signer) -> bytes:
    """The object with its signature as one line, without a newline."""
    signature = sign(signed_message(kind, canonical_json(members)))
    return record_json(members | {_MEMBER: encoded(signature)})  # the same spelling; what could be wrong was looked for


def parse_signed(data: bytes, *, limit: int, what: str, form: str) -> tuple[Members, Callable[[bytes, str], None]]:
    """The members of a line whose `type` is `form`, and what verifies its signature: verify(public_key, kind).

    Nothing in it may be believed before that was called. IntegrityError throughout.
    """
    value = parse_canonical(data, limit=limit, what=what)
    members = Members(value, what)
    signature = members.octets(_MEMBER, SIGNATURE_LENGTH)
    if members.text("type", 64) != form:
        raise IntegrityError(f"{what} is of another type")
    unsigned = {name: each for name, each in value.items() if name != _MEMBER}

    def verify(public_key: bytes, kind: str) -> None:
        must_be_signed(public_key, signature, kind, unsigned, what)

    return members, verify


def must_be_signed(public_key: bytes, signature: bytes, kind: str, members: dict[str, Any], what: str) -> None:
    """Raise IntegrityError unless `public_key` (32 bytes) signed the members under this kind."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed_message(kind, canonical_json(members)))
    except (InvalidSignature, ValueError):
        raise IntegrityError(f"{what} is not signed by whom it names") from None
