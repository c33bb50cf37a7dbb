"""Envelopes: one numbered item for one node, sealed to the node's identity and signed by the issuer's.

Come here for the format. These functions take and return bytes. The clear members are for routing; all of them are in
HPKE's `info`, so that a sealed part that was moved to another envelope does not open, not even for the node that it
names. Which number is next, and whether a head is the right one, is decided in `receive.py` and `inbox.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiktrue_keys.core.canonical import joined, record_json
from tiktrue_keys.core.derivation import ENVELOPE
from tiktrue_keys.core.dispatch.outbox import KINDS, MAX_NUMBER
from tiktrue_keys.core.instants import DAY, Instant, Seconds
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.members import Members, encoded
from tiktrue_keys.core.names import MAX_GENERATION
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.fleet import hpke
from tiktrue_keys.fleet.signed import parse_signed, signed_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey

SIGNATURE_KIND = "envelope"
FORM = "tiktrue-envelope/2"
MAX_ENVELOPE = 64 * 1024
MAX_BODY = 40 * 1024
MAX_PROOF = 128
VALID_FOR = Seconds(90 * DAY)
SECRET_LENGTH = 32
_KEY_ID_LENGTH = 128


@dataclass(frozen=True)
class Address:
    """The clear members. Node ids have 32 characters; `key_id` is empty when the envelope does not concern a key."""

    issuer: str
    node: str
    epoch: int
    stream: int
    number: int
    kind: str
    key_id: str
    generation: int
    issued_at: Instant
    valid_until: Instant

    @property
    def place(self) -> tuple[int, int, int]:
        """Return epoch, stream and number, by which envelopes are sorted."""
        return self.epoch, self.stream, self.number

    def to_json(self) -> dict[str, Any]:
        """Return the members as they stand in the envelope."""
        return {
            "type": FORM,
            "from": self.issuer,
            "to": self.node,
            "epoch": self.epoch,
            "stream": self.stream,
            "number": self.number,
            "kind": self.kind,
            "key_id": self.key_id,
            "generation": self.generation,
            "issued_at": self.issued_at,
            "valid_until": self.valid_until,
        }

    def info(self) -> bytes:
        """Return HPKE's info: every part length-prefixed, numbers in 8 bytes big-endian."""
        texts = (self.issuer, self.node, self.kind, self.key_id)
        numbers = (*self.place, self.generation, self.issued_at, self.valid_until)
        return joined(ENVELOPE, *(text.encode() for text in texts), *(each.to_bytes(8, "big") for each in numbers))


@dataclass(frozen=True)
class Head:
    """An audit head: the number of records, and the root of the tree over them (32 bytes)."""

    size: int
    root: bytes

    def to_json(self) -> dict[str, Any]:
        """Return the size, and the root in hex."""
        return {"size": self.size, "head": self.root.hex()}


@dataclass(frozen=True)
class Vouched:
    """The issuer's audit head, the size of the previous head, and the proof that the log only grew between them.

    `base` is the head with which the epoch began.
    """

    head: Head
    previous: int
    proof: tuple[bytes, ...]
    base: Head


@dataclass(frozen=True)
class Contents:
    """The sealed part: the head, a receipt (16 bytes) only the recipient learns, the payload, and any secret."""

    vouched: Vouched
    receipt: bytes
    payload: dict[str, Any]
    secret: SecretBuffer | None = None


@dataclass(frozen=True)
class Parcel:
    """A parsed and verified envelope whose sealed part is still closed. `digest` is SHA-256 of its line."""

    address: Address
    sealed: bytes
    digest: bytes


def seal_envelope(address: Address, contents: Contents, public: MLKEM768X25519PublicKey, sign: Signer) -> bytes:
    """Return the envelope as one line without a newline."""
    body = record_json(_body_json(contents))
    secret = contents.secret
    length = len(secret) if secret is not None else 0
    with SecretBuffer(1 + length + len(body)) as plaintext:
        plaintext.view[0] = length
        if secret is not None:
            plaintext.view[1 : 1 + length] = secret.view
        plaintext.view[1 + length :] = body
        sealed = hpke.seal(plaintext.view, public, address.info())
    return signed_line(address.to_json() | {"sealed": encoded(sealed)}, SIGNATURE_KIND, sign)


def parse_envelope(line: bytes, issuer_key: bytes) -> Parcel:
    """Return an envelope that `issuer_key` (Ed25519, 32 bytes) signed. Raises IntegrityError for any other line."""
    members, verify = parse_signed(line, limit=MAX_ENVELOPE, what="the envelope", form=FORM)
    address = _address(members)
    sealed = members.octets("sealed", limit=MAX_BODY + hpke.ENC_LENGTH + hpke.TAG_LENGTH)
    members.done()
    verify(issuer_key, SIGNATURE_KIND)
    return Parcel(address, sealed, hashlib.sha256(line).digest())


def peek(line: bytes) -> Address:
    """Return the clear members of an unverified envelope. They serve only to sort envelopes and to report a refusal."""
    members, _ = parse_signed(line, limit=MAX_ENVELOPE, what="the envelope", form=FORM)
    return _address(members)


def open_envelope(parcel: Parcel, private: MLKEM768X25519PrivateKey) -> Contents:
    """Return the contents of an envelope.

    Raises IntegrityError when it was sealed to another node, or when its contents are malformed.
    """
    plaintext = hpke.unseal(parcel.sealed, private, parcel.address.info())
    length = plaintext[0] if plaintext else -1
    if length not in (0, SECRET_LENGTH) or len(plaintext) < 1 + length:
        raise IntegrityError("the envelope's contents are malformed")
    members = Members.parse(plaintext[1 + length :], limit=MAX_BODY, what="the envelope's contents")
    audit = members.inner("audit")
    vouched = Vouched(
        _head(audit), audit.whole("previous"), tuple(audit.hashes("proof", MAX_PROOF)), _head(audit.inner("base"))
    )
    audit.done()
    receipt, payload = members.hexadecimal("receipt", 16), members.raw("payload")
    members.done()
    return Contents(vouched, receipt, payload, SecretBuffer.copy_of(plaintext[1 : 1 + length]) if length else None)


def _body_json(contents: Contents) -> dict[str, Any]:
    vouched = contents.vouched
    return {
        "audit": {
            **vouched.head.to_json(),
            "previous": vouched.previous,
            "proof": _encoded_all(vouched.proof),
            "base": vouched.base.to_json(),
        },
        "receipt": contents.receipt.hex(),
        "payload": contents.payload,
    }


def _encoded_all(hashes: Sequence[bytes]) -> list[str]:
    return [encoded(each) for each in hashes]


def _head(members: Members) -> Head:
    return Head(members.whole("size"), members.hexadecimal("head", 32))


def _address(members: Members) -> Address:
    address = Address(
        issuer=members.text("from", 32),
        node=members.text("to", 32),
        epoch=members.whole("epoch"),
        stream=members.whole("stream", least=1, most=MAX_NUMBER),
        number=members.whole("number", least=1, most=MAX_NUMBER),
        kind=members.text("kind", 32),
        key_id=members.text("key_id", _KEY_ID_LENGTH),
        generation=members.whole("generation", most=MAX_GENERATION),
        issued_at=Instant(members.whole("issued_at")),
        valid_until=Instant(members.whole("valid_until")),
    )
    if address.kind not in KINDS:
        raise IntegrityError("the envelope's kind is unknown")
    return address
