"""Cards: the public keys of a keystore with its name, signed by the keystore itself.

Come here for the format and the node id. A card proves only that it is complete and unaltered. The node id is derived
from the public keys; an administrator who pins a card compares it with the node id shown on the other machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.dispatch.peers import ROLES
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.members import encoded
from tiktrue_keys.core.node_ids import node_id_of, parse_name
from tiktrue_keys.errors import IntegrityError, RefusedError, UsageError
from tiktrue_keys.fleet.signed import parse_signed, signed_line

SIGNATURE_KIND = "card"
FORM = "tiktrue-card/2"
_FIRST_FORM = "tiktrue-card/1"
MAX_CARD = 8 * 1024
X_WING_PUBLIC = 1216
_ED25519_PUBLIC = 32


@dataclass(frozen=True)
class Card:
    """The description of one keystore by itself. Keys are raw; `recovery_key` is empty or 32 bytes of Ed25519.

    `role` is what the keystore is for those who pin the card: an issuer sends them keys, a node gets keys from them.
    """

    name: str
    role: str
    keystore_id: str
    epoch: int
    identity_key: bytes
    identity_hpke: bytes
    audit_key: bytes
    issued_at: Instant
    recovery_key: bytes = b""

    @property
    def node_id(self) -> str:
        """Return the node id, which administrators compare."""
        return node_id_of(self.identity_key, self.identity_hpke)

    def to_json(self) -> dict[str, Any]:
        """Return the members that are signed."""
        return {
            "type": FORM,
            "name": self.name,
            "role": self.role,
            "keystore_id": self.keystore_id,
            "epoch": self.epoch,
            "identity_key": self.identity_key.hex(),
            "identity_hpke": encoded(self.identity_hpke),
            "audit_key": self.audit_key.hex(),
            "recovery_key": self.recovery_key.hex(),
            "issued_at": self.issued_at,
        }

    def sign(self, signer: Signer) -> bytes:
        """Return the card as one line with its newline."""
        return signed_line(self.to_json(), SIGNATURE_KIND, signer) + b"\n"


def parse_card(data: bytes) -> Card:
    """Return a card that its own identity key signed.

    Raises IntegrityError for any other data, RefusedError for a card of version 1, which does not name a role.
    """
    members, verify = parse_signed(data.removesuffix(b"\n"), limit=MAX_CARD, what="the card", form=None)
    if members.text("type", 64) == _FIRST_FORM:
        raise RefusedError(
            "the card is of version 1, which does not name the role of its keystore",
            "upgrade the program on the other machine, then write a new card there",
            remedy="write-new-card",
        )
    members.form(FORM)
    recovery = members.text("recovery_key", 64)
    card = Card(
        name=members.text("name", 64),
        role=members.text("role", 16),
        keystore_id=members.hexadecimal("keystore_id", 16).hex(),
        epoch=members.whole("epoch", 1),
        identity_key=members.hexadecimal("identity_key", _ED25519_PUBLIC),
        identity_hpke=members.octets("identity_hpke", X_WING_PUBLIC),
        audit_key=members.hexadecimal("audit_key", _ED25519_PUBLIC),
        issued_at=Instant(members.whole("issued_at")),
        recovery_key=members.hexadecimal("recovery_key", _ED25519_PUBLIC) if recovery else b"",
    )
    members.done()
    try:
        parse_name(card.name)
    except UsageError as error:
        raise IntegrityError(f"the card's name is not valid: {error.message}") from None
    if card.role not in ROLES:
        raise members.malformed("role")
    verify(card.identity_key, SIGNATURE_KIND)
    _must_be_a_key(card.identity_hpke)
    return card


def _must_be_a_key(public: bytes) -> None:
    from tiktrue_keys.fleet.hpke import public_key

    public_key(public)
