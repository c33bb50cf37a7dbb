"""Writes a model container, right or wrong in one place, from man/tiktrue-keys-format.5 alone.

    Draft(key, signer).encode()                                   a good one
    Draft(key, signer, header={"kind": "pickle"}).encode()        all checksums, the HMAC and the signature are right

What a draft is told is written as it is told, and everything that covers it is computed over that.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.independent.encoding import LABEL, Signer, base64_of, canonical, hkdf, sha256, wrap, wrap_context

SEGMENT = 1048576
SLOT = 32768


@dataclass(frozen=True)
class ManagedKey:
    """A managed key that the reader holds."""

    key_id: str
    generation: int
    secret: bytes

    @property
    def model_id(self) -> str:
        return self.key_id[:-17]


@dataclass
class Draft:
    """One container. Members of `header` and `record` replace the right ones, and so do the other fields.

    `slots` are the two slots' (sequence number, changes); `json` writes the header's members as bytes.
    """

    key: ManagedKey
    signer: Signer | None
    plaintext: bytes = b"weights " * 9
    header: dict[str, Any] = field(default_factory=dict)
    wraps: Callable[[dict[str, Any]], Any] = lambda good: [good]
    json: Callable[[dict[str, Any]], bytes] = canonical
    fixed: dict[str, bytes] = field(default_factory=dict)
    padding: bytes = b""
    sequence: tuple[int, int] = (1, 1)
    mac_key: bytes | None = None
    listed: bool = True
    record: dict[str, Any] = field(default_factory=dict)
    footer: dict[str, Any] = field(default_factory=dict)
    signed: dict[str, Any] = field(default_factory=dict)
    first: int = 40
    segments: Callable[[list[bytes]], list[bytes]] = lambda sealed: sealed
    leaves: Callable[[bytes], bytes] = lambda leaves: leaves
    issuer: bytes | None = None
    file_id: bytes = field(default_factory=lambda: os.urandom(16))
    data_key: bytes = field(default_factory=lambda: os.urandom(32))

    def good_wrap(self, key: ManagedKey | None = None, **changes: Any) -> dict[str, Any]:
        """A wrap that opens, and whose members are changed afterwards."""
        key = key or self.key
        model_id = self.header.get("model_id", self.key.model_id)
        context = wrap_context("managed-key", self.file_id, str(model_id), key.key_id, key.generation)
        wrapped = base64_of(wrap(key.secret, self.data_key, context))
        made = {"generation": key.generation, "key_id": key.key_id, "type": "managed-key", "wrapped": wrapped}
        return made | changes

    def members(self) -> dict[str, Any]:
        good = {
            "file_id": self.file_id.hex(),
            "kind": "other",
            "length": len(self.plaintext) if self.listed else None,
            "model_id": self.key.model_id,
            "name": "weights.bin",
            "origin": "keystore",
            "segment_size": SEGMENT,
            "wraps": self.wraps(self.good_wrap()),
        }
        return good | self.header

    def slot(self, sequence: int, members: dict[str, Any]) -> bytes:
        json = self.json(members)
        parts = {"magic": b"TTM1", "version": b"\0\1", "zero": b"\0\0", "sequence": sequence.to_bytes(8, "big")}
        parts |= {"length": len(json).to_bytes(4, "big"), "zeros": bytes(12)} | self.fixed
        body = b"".join(parts[name] for name in ("magic", "version", "zero", "sequence", "length", "zeros"))
        rest = (json + self.padding).ljust(SLOT - 96, b"\0")[: SLOT - 96]
        info = LABEL + b"container-header\0" + self.file_id
        key = hkdf(self.mac_key or self.data_key, b"", info)
        whole = body + bytes(32) + rest
        whole += hmac.digest(key, whole, "sha256")
        return whole[:32] + sha256(whole) + whole[64:]

    def sealed(self, salt: bytes, prefix: bytes) -> list[bytes]:
        """The segments, each with its tag."""
        cuts = [0, *range(SEGMENT - 56, len(self.plaintext), SEGMENT - 16), len(self.plaintext)]
        pieces = [self.plaintext[start:end] for start, end in pairwise(cuts)]
        cipher = AESGCM(hkdf(self.data_key, salt, b"tiktrue-model/1" + self.file_id))
        last = len(pieces) - 1
        return [
            cipher.encrypt(prefix + i.to_bytes(4, "big") + bytes([i == last]), piece, None)
            for i, piece in enumerate(pieces)
        ]

    def encode(self) -> bytes:
        salt, prefix, members = os.urandom(32), os.urandom(7), self.members()
        segments = self.segments(self.sealed(salt, prefix))
        leaves = b"".join(blake3(each + i.to_bytes(8, "big")).digest() for i, each in enumerate(segments))
        leaves = self.leaves(leaves)
        slots = b"".join(self.slot(number, members) for number in self.sequence)
        body = bytes([self.first]) + salt + prefix + b"".join(segments)
        return slots + body + self.end(members, salt, prefix, leaves, len(segments))

    def end(self, members: dict[str, Any], salt: bytes, prefix: bytes, leaves: bytes, count: int) -> bytes:
        """Leaves, record and footer of a body with `count` segments."""
        length = self.record.get("length", len(self.plaintext))
        sizes = SEGMENT.to_bytes(4, "big") + (length % 2**64).to_bytes(8, "big")
        root = blake3(LABEL + b"model-root\0" + self.file_id + salt + prefix + sizes + leaves).digest()
        record: dict[str, Any] = {
            "magic": b"TTMR",
            "version": 1,
            "flags": int(self.listed),
            "segments": count,
            "root": root,
        }
        record |= {"length": length} | self.record
        numbers = (record["version"].to_bytes(2, "big"), record["flags"].to_bytes(2, "big"))
        sized = (record["segments"].to_bytes(8, "big"), record["length"].to_bytes(8, "big"))
        head = b"".join((record["magic"], *numbers, *sized, record["root"]))
        place = self.place(members, salt, prefix, length, record["root"])
        listed = leaves if self.listed else b""
        footer: dict[str, Any] = {
            "magic": b"TTME",
            "version": b"\0\1",
            "zero": b"\0\0",
            "length": len(listed) + 168,
        } | self.footer
        end = footer["magic"] + footer["version"] + footer["zero"] + footer["length"].to_bytes(8, "big")
        check: bytes = footer.get("check", sha256(listed + head + bytes(112) + end)[:16])
        return listed + head + place + bytes(end) + check

    def place(self, members: dict[str, Any], salt: bytes, prefix: bytes, length: int, root: bytes) -> bytes:
        """The signature place."""
        if self.signer is None:
            return bytes(112)
        names = ("file_id", "kind", "model_id", "name", "segment_size")
        signed = {name: members[name] for name in names if name in members}
        signed |= {"length": length, "root": root.hex(), "salt": salt.hex(), "prefix": prefix.hex()} | self.signed
        issuer, signature = self.issuer or self.signer.public, self.signer.sign("model", signed)
        return issuer + signature + sha256(LABEL + b"model-signature\0" + root + issuer + signature)[:16]
