"""`python -m tests.fuzz.make_corpus` writes the seeds, a few small inputs a target. Run it when a format changes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shamir_mnemonic import Share as Slip39Share

from tests.fuzz.targets import ADDRESS, CORPUS, LIST_ISSUER, SIGNER
from tests.fuzz.targets import SIGNED_BY as ISSUER
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.derivation import signed_message, x_wing_public_bytes
from tiktrue_keys.core.dispatch.releases import Release, ReleaseEntry
from tiktrue_keys.core.dispatch.revocation_lists import Revocation, RevocationList
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.members import encoded
from tiktrue_keys.fleet.acknowledgements import Acknowledgement, Result
from tiktrue_keys.fleet.cards import Card
from tiktrue_keys.fleet.challenges import Challenge, sign_challenge
from tiktrue_keys.fleet.envelopes import Head
from tiktrue_keys.fleet.payloads import list_payload
from tiktrue_keys.fleet.signed import signed_line
from tiktrue_keys.models.folder.resume_state import DoneFile, ResumedFolder
from tiktrue_keys.models.format.header import Header, Origin, Wrap, WrapType
from tiktrue_keys.models.format.kind import Kind
from tiktrue_keys.models.format.manifest import ContainerEntry, Manifest, PlainEntry, SignedManifest
from tiktrue_keys.models.format.recipient import Recipient
from tiktrue_keys.models.format.trailer import Signature, Trailer

VECTORS = Path(__file__).parents[1] / "vectors"
KEY_ID = "llama_0123456789abcdef"


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Target, name, bytes."""
    other = "llama_00000000deadbeef"
    wraps = (Wrap(WrapType.HPKE, other, 1, bytes(1168)), Wrap(WrapType.MANAGED_KEY, KEY_ID, 2, bytes(60)))
    piped = Header(bytes(16), "llama", "a.gguf", Kind.GGUF, None, Origin.RECIPIENT, wraps)
    sized = Header(bytes(16), "llama", "b", Kind.OTHER, 5, Origin.KEYSTORE, wraps[1:])
    yield "header", "piped", piped.encode()
    yield "header", "sized", sized.encode()
    for name, number in (("first", 1), ("last", 2**64 - 1)):
        raw = sized.encode()
        fixed = struct.pack(">4sHHQI12s32s", b"TTM1", 1, 0, number, len(raw), bytes(12), bytes(32))
        yield "slots", name, (fixed + raw) * 2
    yield "trailer", "listed", Trailer(1, 5, bytes(32), bytes(32)).encode()
    yield "trailer", "piped", Trailer(1, 5, bytes(32), None, Signature(bytes(32), bytes(64))).encode()
    for name in ("container-small", "container-piped", "container-recipient"):
        yield "container", name, (VECTORS / f"{name}.ttm").read_bytes()
    unsigned = Recipient("llama", KEY_ID, 1, Instant(0), Instant(10**9), bytes(1216), ISSUER)
    message = signed_message("recipient", canonical_json(unsigned.content()))
    signed = Recipient(**{**unsigned.__dict__, "signature": SIGNER.sign(message)})
    yield "recipient", "signed", signed.encode()
    yield "recipient", "unsigned", Recipient(**{**unsigned.__dict__, "signature": bytes(64)}).encode()
    files = (ContainerEntry("a/b", 5, bytes(16), bytes(32)), PlainEntry("c", 0, bytes(32)))
    made = SignedManifest.make(Manifest(bytes(16), "llama", "dir", files), ISSUER, lambda data: SIGNER.sign(data))
    yield "manifest", "two", made.encode()
    folder = ResumedFolder("/a", "/a.ttm", ".a.ttm.01234567.tmp", bytes(16), "llama").encode()
    lines = [DoneFile("a", 1, 2, bytes(32), bytes(16), bytes(32)), DoneFile("b", 1, 2, bytes(32), None, bytes(32))]
    yield "resume", "two", folder + b"".join(line.encode() for line in lines)
    yield "resume", "torn", folder + lines[0].encode()[:40]
    table = {"__metadata__": {"a": "b"}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    raw = json.dumps(table).encode()
    yield "safetensors", "one", struct.pack("<I", 8 + len(raw) + 8) + raw
    whole, halves = Slip39Share(5, True, 0, 0, 1, 1, 0, 1, bytes(range(32))), [bytes(32), bytes(range(32))]
    yield "shares", "whole", f"# a share\n{whole.mnemonic()}\n".encode()
    pair = [Slip39Share(5, True, 0, 0, 1, 1, place, 2, half).mnemonic() for place, half in enumerate(halves)]
    yield "shares", "strangers", "\n".join(pair).encode()
    said = 5 << 285 | 1 << 284 | int.from_bytes(bytes(range(32)), "big")  # escrow 5, extendable, one of one, its value
    yield "shares", "built", b"\0" + (said << 4).to_bytes(38, "big")
    yield from fleet_seeds()


def fleet_seeds() -> Iterator[tuple[str, str, bytes]]:
    """Those of what travels between an issuer and its nodes."""
    halves = x_wing_public_bytes(memoryview(bytes(range(32))))
    for name, recovery in (("card", b""), ("recoverable", ISSUER)):
        card = Card("node-1", "node", "0" * 32, 1, ISSUER, halves, ISSUER, Instant(5), recovery)
        yield "card", name, card.sign(SIGNER.sign).rstrip()
    addressed = ADDRESS.to_json()
    yield "envelope", "key", signed_line(addressed | {"sealed": encoded(bytes(1300))}, "envelope", SIGNER.sign)
    about_nothing = addressed | {"kind": "void", "key_id": "", "generation": 0, "sealed": encoded(bytes(1136))}
    yield "envelope", "void", signed_line(about_nothing, "envelope", SIGNER.sign)
    asked = Challenge(1, 7, Instant(5), bytes(16))
    yield "challenge", "asked", sign_challenge(asked, "i" * 32, SIGNER.sign)
    one = Revocation(KEY_ID, Instant(3), "lost")
    entries = tuple(ReleaseEntry(bytes([number]) * 16, bytes(32), Instant(number)) for number in (1, 2))
    named = Release("llama", entries=entries, withdrawn=(bytes(16),))
    lists = {
        "empty": RevocationList(LIST_ISSUER, 1, 1, Instant(5), Instant(9)),
        "revoked": RevocationList(LIST_ISSUER, 2, 7, Instant(5), Instant(9), (one,)),
        "released": RevocationList(LIST_ISSUER, 2, 8, Instant(5), Instant(9), (), (named,)),
    }
    for name, each in lists.items():
        yield "revocation_list", name, list_payload(each, SIGNER.sign)["list"].encode()
    key: dict[str, Any] = {"created_at": 1, "expires_at": 2, "decrypt_until": 3, "pending": False, "licensed": True}
    key |= {"predecessor": "", "overlap_ends_at": 0, "labels": {"a": "b"}}
    promotion = {"rotated_at": 1, "overlap_ends_at": 2, "expires_at": 3, "decrypt_until": 4}
    listed = list_payload(lists["revoked"], lambda data: SIGNER.sign(data))
    for name, payload, secret in (("a-key", key, bytes(32)), ("promotion", promotion, b""), ("list", listed, b"")):
        base, proof = Head(0, bytes(32)).to_json(), [encoded(bytes(32))]
        audit = Head(3, bytes(32)).to_json() | {"previous": 1, "proof": proof, "base": base}
        body = canonical_json({"audit": audit, "receipt": bytes(16).hex(), "payload": payload})
        yield "contents", name, bytes([len(secret)]) + secret + body
    results = (Result(3, "ok", bytes(32), bytes(16)), Result(4, "refused: older", bytes(32), bytes(16)))
    for name, blocked in (("answer", ""), ("blocked", "integrity: a fork")):
        head = Head(9, bytes(32))
        repeated = None if blocked else asked
        answer = Acknowledgement("n" * 32, LIST_ISSUER, 1, 2, 4, head, results, Instant(5), blocked, repeated)
        yield "acknowledgement", name, answer.sign(SIGNER.sign)


def main() -> None:
    """Write them."""
    for target, name, data in seeds():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        (CORPUS / target / name).write_bytes(data)


if __name__ == "__main__":
    main()
