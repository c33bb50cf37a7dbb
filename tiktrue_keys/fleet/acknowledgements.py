"""Acknowledgements: how far a node has come, the outcome of each envelope, and the issuer's audit head that it holds.

Come here for the format. An acknowledgement is signed and covers everything up to its number, so that the newest one
replaces all earlier ones. It names the hash of each envelope that it covers and repeats the receipt in that envelope,
which only a node that has opened the envelope knows. It also repeats the newest challenge, which proves its age.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.dispatch.outbox import MAX_NUMBER
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.members import Members
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.fleet.challenges import Challenge, read_challenge
from tiktrue_keys.fleet.envelopes import Head
from tiktrue_keys.fleet.signed import parse_signed, signed_line

SIGNATURE_KIND = "acknowledgement"
FORM = "tiktrue-acknowledgement/2"
MAX_ACKNOWLEDGEMENT = 64 * 1024
MAX_RESULTS = 32
OK = "ok"
REASON_LENGTH = 100


@dataclass(frozen=True)
class Result:
    """The outcome of one envelope: `ok`, or the reason why the node did not apply it.

    `head` is the audit head (32 bytes) that the envelope vouched for. The node keeps it and does not send it.
    """

    number: int
    outcome: str
    digest: bytes
    receipt: bytes
    head: bytes = b""

    def to_json(self) -> dict[str, Any]:
        """Return the members of one result."""
        return {
            "number": self.number,
            "outcome": self.outcome[:REASON_LENGTH],
            "envelope": self.digest.hex(),
            "receipt": self.receipt.hex(),
        }


@dataclass(frozen=True)
class Acknowledgement:
    """States that every envelope of `stream` up to `number` was consumed, at a time after `challenge`.

    `challenge` is None when the node has found none. `blocked` says why the next envelope was not consumed; it is empty
    when there is none.
    """

    node: str
    issuer: str
    epoch: int
    stream: int
    number: int
    head: Head
    results: tuple[Result, ...]
    at: Instant
    blocked: str = ""
    challenge: Challenge | None = None

    def sign(self, signer: Signer) -> bytes:
        """Return the acknowledgement as one line without a newline."""
        members = {
            "type": FORM,
            "from": self.node,
            "to": self.issuer,
            "epoch": self.epoch,
            "stream": self.stream,
            "number": self.number,
            "audit": self.head.to_json(),
            "results": [each.to_json() for each in self.results[-MAX_RESULTS:]],
            "at": self.at,
            "blocked": self.blocked[:REASON_LENGTH],
            "challenge": self.challenge.to_json() if self.challenge else None,
        }
        return signed_line(members, SIGNATURE_KIND, signer)


def parse_acknowledgement(line: bytes, identity_key: bytes) -> Acknowledgement:
    """Return an acknowledgement that the node with this identity key signed.

    Raises IntegrityError for any other line.
    """
    what = "the acknowledgement"
    members, verify = parse_signed(line, limit=MAX_ACKNOWLEDGEMENT, what=what, form=FORM)
    audit = members.inner("audit")
    head = Head(audit.whole("size"), audit.hexadecimal("head", 32))
    audit.done()
    results = tuple(_result(each) for each in members.objects("results", MAX_RESULTS))
    challenge = members.inner_or_none("challenge")
    acknowledgement = Acknowledgement(
        node=members.text("from", 32),
        issuer=members.text("to", 32),
        epoch=members.whole("epoch"),
        stream=members.whole("stream", least=1, most=MAX_NUMBER),
        number=members.whole("number", most=MAX_NUMBER),
        head=head,
        results=results,
        at=Instant(members.whole("at")),
        blocked=members.text("blocked", REASON_LENGTH),
        challenge=None if challenge is None else read_challenge(challenge),
    )
    members.done()
    verify(identity_key, SIGNATURE_KIND)
    numbers = [each.number for each in results]
    if numbers != sorted(set(numbers)) or (numbers and numbers[-1] > acknowledgement.number):
        raise IntegrityError(f"{what} has inconsistent envelope numbers")
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
