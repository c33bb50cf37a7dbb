"""Challenges: one line for each round, the same for every node, which an acknowledgement repeats and is newer than.

Come here for the format. An issuer stores nothing for a challenge but the number of its round: the token is derived
again when an answer comes. What a challenge proves about a node is decided in collect.py.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.members import Members
from tiktrue_keys.fleet.signed import parse_signed, signed_line

SIGNATURE_KIND = "challenge"
FORM = "tiktrue-challenge/1"
MAX_CHALLENGE = 1024
_TOKEN_LENGTH = 16
_MARK = f'"type":"{FORM}"'.encode()


@dataclass(frozen=True, order=True)
class Challenge:
    """What a node repeats of a challenge. Of two, the one with the higher epoch and round is newer.

    `round` is the issuer's own counter, `at` the time of its clock, `token` (16 bytes) what only the issuer can make.
    """

    epoch: int
    round: int
    at: Instant
    token: bytes

    def to_json(self) -> dict[str, Any]:
        """Return the members as an acknowledgement repeats them."""
        return {"epoch": self.epoch, "round": self.round, "at": self.at, "token": self.token.hex()}


def derive_challenge(key: memoryview, epoch: int, round_number: int, at: Instant) -> Challenge:
    """Return the challenge of a round, whose token comes from the keystore's key for challenges."""
    message = joined(*(number.to_bytes(8, "big") for number in (epoch, round_number, at)))
    return Challenge(epoch, round_number, at, hmac.digest(key, message, "sha256")[:_TOKEN_LENGTH])


def sign_challenge(challenge: Challenge, issuer: str, sign: Signer) -> bytes:
    """Return the challenge as one line without a newline."""
    members = {"type": FORM, "from": issuer} | challenge.to_json()
    return signed_line(members, SIGNATURE_KIND, sign)


def is_challenge(line: bytes) -> bool:
    """Return whether a line calls itself a challenge. Whether it is one, parse_challenge decides."""
    return _MARK in line


def peek_challenge(line: bytes) -> Challenge:
    """Return an unverified challenge, to sort by. Raises IntegrityError for a malformed line."""
    return _read(parse_signed(line, limit=MAX_CHALLENGE, what="the challenge", form=FORM)[0])[1]


def parse_challenge(line: bytes, issuer_key: bytes) -> tuple[str, Challenge]:
    """Return issuer and challenge of a line that `issuer_key` (Ed25519, 32 bytes) signed.

    Raises IntegrityError for any other line.
    """
    members, verify = parse_signed(line, limit=MAX_CHALLENGE, what="the challenge", form=FORM)
    found = _read(members)
    verify(issuer_key, SIGNATURE_KIND)
    return found


def read_challenge(members: Members) -> Challenge:
    """Return the challenge that an acknowledgement repeats. Raises IntegrityError when it is malformed."""
    challenge = _challenge(members)
    members.done()
    return challenge


def _read(members: Members) -> tuple[str, Challenge]:
    found = members.text("from", 32), _challenge(members)
    members.done()
    return found


def _challenge(members: Members) -> Challenge:
    return Challenge(
        members.whole("epoch"),
        members.whole("round", least=1),
        Instant(members.whole("at")),
        members.hexadecimal("token", _TOKEN_LENGTH),
    )
