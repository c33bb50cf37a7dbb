"""Acknowledgements: how far a node has come, what it made of each envelope, and the issuer's head that it holds.

Signed. One says everything up to its number, so that the newest replaces all before it. It signs the hash of each
envelope that it speaks of and repeats that one's receipt, which only whoever opened the envelope knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.members import Members
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.fleet.envelopes import Head
from tiktrue_keys.fleet.signed import parse_signed, signed_line

SIGNATURE_KIND = "acknowledgement"
FORM = "tiktrue-acknowledgement/1"
MAX_ACKNOWLEDGEMENT = 64 * 1024
MAX_RESULTS = 32
OK = "ok"
REASON_LENGTH = 100


@dataclass(frozen=True)
class Result:
    """What became of one envelope: `ok`, or the reason for which the node did not do what it says.

    `head` is the audit head (32 bytes) that the envelope vouched for: the node's own note, which it does not send.
    """

    number: int
    outcome: str
    digest: bytes
    receipt: bytes
    head: bytes = b""

    def to_json(self) -> dict[str, Any]:
        """The members of one result."""
        return {
            "number": self.number,
            "outcome": self.outcome[:REASON_LENGTH],
            "envelope": self.digest.hex(),
            "receipt": self.receipt.hex(),
        }


@dataclass(frozen=True)
class Acknowledgement:
    """Every envelope up to `number` was consumed. `blocked` says why the next one was not; empty when none is there."""

    node: str
    issuer: str
    epoch: int
    number: int
    head: Head
    results: tuple[Result, ...]
    at: Instant
    blocked: str = ""

    def sign(self, signer: Signer) -> bytes:
        """The acknowledgement as one line without a newline."""
        members = {
            "type": FORM,
            "from": self.node,
            "to": self.issuer,
            "epoch": self.epoch,
            "number": self.number,
            "audit": self.head.to_json(),
            "results": [each.to_json() for each in self.results[-MAX_RESULTS:]],
            "at": self.at,
            "blocked": self.blocked[:REASON_LENGTH],
        }
        return signed_line(members, SIGNATURE_KIND, signer)


def parse_acknowledgement(line: bytes, identity_key: bytes) -> Acknowledgement:
    """An acknowledgement that the node of this identity signed; IntegrityError otherwise."""
    what = "the acknowledgement"
    members, verify = parse_signed(line, limit=MAX_ACKNOWLEDGEMENT, what=what, form=FORM)
    audit = members.inner("audit")
    head = Head(audit.whole("size"), audit.hexadecimal("head", 32))
    audit.done()
    results = tuple(_result(each) for each in members.objects("results", MAX_RESULTS))
    acknowledgement = Acknowledgement(
        node=members.text("from", 32),
        issuer=members.text("to", 32),
        epoch=members.whole("epoch"),
        number=members.whole("number"),
        head=head,
        results=results,
        at=Instant(members.whole("at")),
        blocked=members.text("blocked", REASON_LENGTH),
    )
    members.done()
    verify(identity_key, SIGNATURE_KIND)
    numbers = [each.number for each in results]
    if numbers != sorted(set(numbers)) or (numbers and numbers[-1] > acknowledgement.number):
        raise IntegrityError(f"{what} counts its envelopes wrongly")
    return acknowledgement


def _result(members: Members) -> Result:
    result = Result(
        members.whole("number"),
        members.text("outcome", REASON_LENGTH),
        members.hexadecimal("envelope", 32),
        members.hexadecimal("receipt", 16),
    )
    members.done()
    return result
