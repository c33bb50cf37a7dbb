"""Signed lines: one canonical JSON object with its Ed25519 signature.

The signed bytes are derivation.signed_message(kind, the canonical object without its `signature`). These functions do
no I/O; core/members.py reads the members strictly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiktrue_keys.core.canonical import canonical_json, record_json
from tiktrue_keys.core.derivation import signed_message
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.members import Members, encoded
from tiktrue_keys.errors import IntegrityError

SIGNATURE_LENGTH = 64
_MEMBER = "signature"


def signed_line(members: dict[str, Any], kind: str, sign: Signer) -> bytes:
    """Return the object with its signature as one line, without a newline."""
    signature = sign(signed_message(kind, canonical_json(members)))
    return record_json(members | {_MEMBER: encoded(signature)})  # same encoding; canonical_json did the checks


def parse_signed(
    data: bytes, *, limit: int, what: str, form: str | None
) -> tuple[Members, Callable[[bytes, str], None]]:
    """Return the members of a line whose `type` is `form`, and a function verify(public_key, kind) for its signature.

    With `form` None the line has no type. The members are not authenticated until `verify` was called. Parsing and
    `verify` raise IntegrityError.
    """
    members = Members.parse(data, limit=limit, what=what)
    signature = members.octets(_MEMBER, SIGNATURE_LENGTH)
    if form is not None:
        members.form(form)

    def verify(public_key: bytes, kind: str) -> None:
        _must_be_signed(public_key, signature, kind, members.without(_MEMBER), what)

    return members, verify


def _must_be_signed(public_key: bytes, signature: bytes, kind: str, members: dict[str, Any], what: str) -> None:
    """Raise IntegrityError unless `public_key` (32 bytes) signed the members under this kind."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed_message(kind, canonical_json(members)))
    except (InvalidSignature, ValueError):
        raise IntegrityError(f"{what} has an invalid signature") from None
