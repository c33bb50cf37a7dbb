"""Hostile containers: each rule for body, record, footer and signature, and commands on a malformed container."""

from __future__ import annotations

from tests.independent.encoding import Signer, base64_of
from tests.independent.hostile import INTEGRITY, OK, REFUSED, UNAVAILABLE, Lair, Row, container
from tests.independent.hostile_headers import TEN_SEGMENTS, changed_bytes, cut, draft, flip
from tests.independent.write_container import SEGMENT, SLOT, Draft

_TWO_SEGMENTS = b"\7" * (SEGMENT + 10)


def _sparse(lair: Lair) -> None:
    """A container of 64 GiB that is signed, whose body is a hole."""
    length = 1 << 36
    made = lair.draft(plaintext=b"", header={"length": length}, record={"length": length})
    count = -(-(length + 40) // (SEGMENT - 16))
    members, salt, prefix = made.members(), bytes(32), bytes(7)
    front = b"".join(made.slot(1, members) for _ in range(2)) + b"\x28" + salt + prefix
    end = made.end(members, salt, prefix, bytes(32 * count), count)
    with (lair.folder / "in.ttm").open("wb") as file:
        file.write(front)
        file.seek(2 * SLOT + 40 + length + 16 * count)
        file.write(end)


_SPARSE = [
    Row(f"a sparse file of 64 GiB, {command}", _sparse, [command, "in.ttm", *more], code)
    for command, more, code in (
        ("decrypt-model", ["-o", "out"], UNAVAILABLE),
        ("verify-model", [], INTEGRITY),
        ("reencrypt-model", [], UNAVAILABLE),
        ("exec-model", ["--", "cat", "{}"], 125),
    )
]

_BODY = [
    draft("body, another length of its header", first=41),
    changed_bytes("salt", flip(2 * SLOT + 5)),
    changed_bytes("prefix", flip(2 * SLOT + 36)),
    changed_bytes("a segment", flip(2 * SLOT + 50)),
    changed_bytes("a tag", flip(2 * SLOT + 40 + 80)),
    draft("body, a segment that its leaf is right for", segments=lambda sealed: [bytes(len(each)) for each in sealed]),
    draft("body, segments in another order", plaintext=TEN_SEGMENTS, segments=lambda sealed: _swapped(sealed)),
    draft("body, the last segment left out", plaintext=_TWO_SEGMENTS, segments=lambda sealed: sealed[:-1]),
    draft("body, an empty segment at the end", segments=lambda sealed: [*sealed, bytes(16)]),
    changed_bytes("one byte appended", lambda data: data.append(0)),
    changed_bytes("another container appended", lambda data: data.extend(data)),
    changed_bytes("nothing", cut(0)),
    changed_bytes("cut in the slots", cut(SLOT + 1)),
    changed_bytes("cut after the slots", cut(2 * SLOT)),
    changed_bytes("cut in the body", cut(2 * SLOT + 60)),
    changed_bytes("cut by one byte", cut(-1)),
    changed_bytes("cut by the footer", cut(-32)),
    *_SPARSE,
]


def _swapped(sealed: list[bytes]) -> list[bytes]:
    return [sealed[0], sealed[2], sealed[1], *sealed[3:]]


_END = [
    draft("record, magic", record={"magic": b"TTMX"}),
    draft("record, version", record={"version": 2}),
    draft("record, unknown flags", record={"flags": 3}),
    draft("record, leaves not listed although they are there", record={"flags": 0}),
    draft("record, no segments", record={"segments": 0}),
    draft("record, 2^63 segments", record={"segments": 2**63}),
    draft("record, another length", record={"length": 71}),
    draft("record, length of 2^64 - 1", record={"length": 2**64 - 1}),
    draft("record, another root", record={"root": bytes(32)}),
    draft("record, another root without leaves", record={"root": bytes(32)}, listed=False),
    draft("leaves, one that is wrong under a root that is right", leaves=lambda leaves: bytes(len(leaves))),
    draft("leaves, one too many", leaves=lambda leaves: leaves * 2),
    draft("leaves, none", leaves=lambda _: b""),
    draft("leaves, not a whole number", leaves=lambda leaves: leaves[:-1]),
    draft("footer, magic", footer={"magic": b"TTMX"}),
    draft("footer, version", footer={"version": b"\0\2"}),
    draft("footer, reserved bytes", footer={"zero": b"\0\1"}),
    draft("footer, length 0", footer={"length": 0}),
    draft("footer, length of 2^64 - 1", footer={"length": 2**64 - 1}),
    draft("footer, length of another number of leaves", footer={"length": 168}),
    draft("footer, checksum", footer={"check": bytes(16)}),
]


def _signed_by(lair: Lair, signer: Signer) -> Draft:
    return lair.draft(signer=signer, issuer=lair.signer.public)


_SIGNATURE = [
    draft("signature, none", signer=None),
    draft("signature, none for a recipient", REFUSED, signer=None, header={"origin": "recipient"}),
    draft(
        "signature, none for a recipient, which is allowed",
        OK,
        *("verify-model", "in.ttm", "--allow-unsigned"),
        signer=None,
        header={"origin": "recipient"},
    ),
    container("signature, a stranger's", lambda lair: lair.draft(signer=lair.stranger), INTEGRITY),
    container(
        "signature, ours under a stranger's name", lambda lair: lair.draft(issuer=lair.stranger.public), INTEGRITY
    ),
    container("signature, a stranger's under our name", lambda lair: _signed_by(lair, lair.stranger), INTEGRITY),
    draft("signature, by a key that is none", issuer=b"\xff" * 32),
    draft("signature, by a key of small order", issuer=bytes(32)),
    draft("signature, over another name", signed={"name": "config.json"}),
    draft("signature, over another model", signed={"model_id": "llama2"}),
    draft("signature, over another kind", signed={"kind": "gguf"}),
    draft("signature, over another length", signed={"length": 1}),
    draft("signature, over another salt", signed={"salt": "00" * 32}),
    draft("signature, over one member more", signed={"note": ""}),
    changed_bytes("check of the signature place", flip(-33)),
]

_COMMANDS = [
    container(f"{command}, {name}", change, code, command, "in.ttm", *more)
    for name, change in (
        ("cut", lambda lair: lair.draft().encode()[:-500]),
        ("without a signature", lambda lair: lair.draft(signer=None)),
        ("signed by a stranger", lambda lair: lair.draft(signer=lair.stranger)),
        ("with a dead wrap", lambda lair: lair.draft(wraps=lambda good: [good | {"wrapped": base64_of(bytes(60))}])),
    )
    for command, more, code in (
        ("rewrap-model", [], INTEGRITY),
        ("reencrypt-model", [], INTEGRITY),
        ("exec-model", ["--", "cat", "{}"], 125),
        ("sign-model", ["--expect-root", "00" * 32], INTEGRITY),
    )
] + [
    draft("rewrap-model, last sequence number", OK, "rewrap-model", "in.ttm", sequence=(2**64 - 1, 2**64 - 1)),
    container("inspect-model, not a container", lambda _: b"hello" * 40_000, INTEGRITY, "inspect-model", "in.ttm"),
    container("models scan, not a container", lambda _: b"TTM1" * 40_000, 7, "models", "scan", "."),
]

BODIES = [*_BODY, *_END, *_SIGNATURE, *_COMMANDS]
