"""The public half of a managed key as a file: for encrypting without a keystore, for example on a CI server.

    model.pub = one line of canonical JSON and a newline, at most 8 KiB; members:
    type        "tiktrue-keys recipient"
    version     1
    model_id, key_id, generation
    not_before  when the key was made, not_after when it stops encrypting: RFC 3339, UTC, whole seconds
    public      base64, 1216 bytes: the key's X-Wing half
    issuer      64 hex digits: the Ed25519 key of the keystore that holds the key
    signature   128 hex digits: Ed25519 over `tiktrue-keys/1 recipient` | 0 | canonical JSON of the other members

The signature detects damage and an edited period. It is verified under the issuer that the file itself names, so it
does not show that the issuer is the right one: check that when the file enters a repository, as with any public key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.derivation import signed_message
from tiktrue_keys.core.durable import ANOTHER_FILE, read_capped
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.members import Members, encoded
from tiktrue_keys.core.names import MAX_GENERATION, KeyArgumentKind, KeyId, model_of, parse_key_argument
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import Advice, ExpiredError, IntegrityError, UsageError
from tiktrue_keys.models.format.wraps import RECIPIENT_KEY_LENGTH

MAX_RECIPIENT = 8192
SIGNATURE_KIND = "recipient"

_TYPE = "tiktrue-keys recipient"
_VERSION = 1
_WHAT = "the recipient file"
_ISSUER_LENGTH, _SIGNATURE_LENGTH = 32, 64
_EXPORT_AGAIN: Advice = {"hint": "export it again", "remedy": "export-again", "about": {}}
_LAST_PART = 4
"""The notice to export a new file starts in the last quarter of the key's period."""


@dataclass(frozen=True)
class Recipient:
    """A key to seal containers for. `public` is 1216 bytes, `issuer` 32, `signature` 64."""

    model_id: str
    key_id: str
    generation: int
    not_before: Instant
    not_after: Instant
    public: bytes
    issuer: bytes
    signature: bytes = b""

    def content(self) -> dict[str, Any]:
        """Return the object that is signed."""
        return {
            "generation": self.generation,
            "issuer": self.issuer.hex(),
            "key_id": self.key_id,
            "model_id": self.model_id,
            "not_after": rfc3339(self.not_after),
            "not_before": rfc3339(self.not_before),
            "public": encoded(self.public),
            "type": _TYPE,
            "version": _VERSION,
        }

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        return canonical_json({**self.content(), "signature": self.signature.hex()}) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Recipient:
        """Decode a file and verify its signature. Raises IntegrityError for anything that `encode` would not write."""
        recipient = parse_recipient(data)
        recipient.verify()
        return recipient

    def verify(self) -> None:
        """Verify the signature. Raises IntegrityError unless the issuer that the file names made it."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        message = signed_message(SIGNATURE_KIND, canonical_json(self.content()))
        try:
            Ed25519PublicKey.from_public_bytes(self.issuer).verify(self.signature, message)
        except (InvalidSignature, ValueError):
            raise IntegrityError(f"the signature of {_WHAT} is wrong", **_EXPORT_AGAIN) from None

    def must_be_valid(self, now: Instant) -> tuple[Notice, ...]:
        """Return a notice in the last quarter of the period, else nothing. Raises ExpiredError from `not_after` on."""
        until = rfc3339(self.not_after)
        if now >= self.not_after:
            raise ExpiredError(
                f"the recipient {self.key_id} was valid until {until}",
                "rotate the key and export it again",
                key_id=self.key_id,
                remedy="recipient-ends",
                about={"model": self.model_id},
            )
        if self.not_after - now <= (self.not_after - self.not_before) // _LAST_PART:
            words = f"the recipient {self.key_id} is valid only until {until}"
            return (
                Notice(
                    "recipient-expires",
                    words,
                    self.key_id,
                    remedy="recipient-ends",
                    about={"model": self.model_id},
                ),
            )
        return ()


def parse_recipient(data: bytes) -> Recipient:
    """Decode a file without verifying its signature. Raises IntegrityError when it is malformed."""
    if not data.endswith(b"\n"):
        raise IntegrityError(f"{_WHAT} is malformed, or was cut off", **_EXPORT_AGAIN)
    members = Members.parse(data[:-1], limit=MAX_RECIPIENT, what=_WHAT, advice=_EXPORT_AGAIN)
    members.form(_TYPE)
    members.version(_VERSION)
    recipient = Recipient(
        model_id=members.any_text("model_id"),
        key_id=members.any_text("key_id"),
        generation=members.whole("generation", 1, MAX_GENERATION),
        not_before=members.instant("not_before"),
        not_after=members.instant("not_after"),
        public=members.octets("public", RECIPIENT_KEY_LENGTH),
        issuer=members.hexadecimal("issuer", _ISSUER_LENGTH),
        signature=members.hexadecimal("signature", _SIGNATURE_LENGTH),
    )
    members.done()
    if not _is_key_of(recipient.key_id, recipient.model_id):
        raise members.malformed("key_id")
    return recipient


def read_recipient(path: str | PathLike[str]) -> Recipient:
    """Read a recipient file and verify its signature; the period is not checked.

    Raises NotFoundError when the file does not exist, IntegrityError when it is malformed or its signature is wrong.
    """
    data = read_capped(path, MAX_RECIPIENT, _WHAT, hint=ANOTHER_FILE)
    try:
        return Recipient.decode(data)
    except IntegrityError as error:
        raise IntegrityError(f"{shown(path)}: {error.message}", **error.advice) from error


def same_model(recipients: Sequence[Recipient]) -> str:
    """Return the model id that all recipients share.

    Raises UsageError when there are no recipients, they belong to several models, or one is given twice.
    """
    if not recipients:
        raise UsageError("no recipient was given", remedy="name-recipient")
    models = {recipient.model_id for recipient in recipients}
    if len(models) > 1:
        listed = ", ".join(sorted(models))
        raise UsageError(f"the recipients belong to several models: {listed}", "encrypt once for each model")
    if len({recipient.key_id for recipient in recipients}) < len(recipients):
        raise UsageError("a recipient is given twice")
    return models.pop()


def _is_key_of(key_id: str, model_id: str) -> bool:
    try:
        kind = parse_key_argument(key_id).kind
    except UsageError:
        return False
    return kind is KeyArgumentKind.KEY_ID and model_of(KeyId(key_id)) == model_id
