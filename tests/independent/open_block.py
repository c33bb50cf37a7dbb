"""Opens a model block given its managed key, from man/tiktrue-keys-format.5 alone.

usage: open_block.py MANAGED_KEY_HEX < envelope > block
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV


@dataclass
class Reader:
    """Takes bytes off the front."""

    data: bytes
    at: int = 0

    def take(self, length: int) -> bytes:
        part = self.data[self.at : self.at + length]
        if len(part) != length:
            raise SystemExit("cut off")
        self.at += length
        return part

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "big")


def joined(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def open_block(envelope: bytes, managed_key: bytes) -> tuple[str, str, bytes]:
    """Key id, block id and the block."""
    reader = Reader(envelope)
    if reader.take(4) != b"TTB1":
        raise SystemExit("no model block")
    key_id, generation = reader.take(reader.number(1)), reader.take(4)
    block_id, envelope_id, wrapped = reader.take(reader.number(2)), reader.take(16), reader.take(60)
    context = joined(b"tiktrue-keys/1 wrap", b"model-block", envelope_id, key_id[:-17], key_id, generation)
    block_key = AESGCMSIV(managed_key).decrypt(wrapped[:12], wrapped[12:], context)
    head, nonce = envelope[: reader.at], reader.take(12)
    return key_id.decode(), block_id.decode(), AESGCMSIV(block_key).decrypt(nonce, envelope[reader.at :], head)


if __name__ == "__main__":
    sys.stdout.buffer.write(open_block(sys.stdin.buffer.read(), bytes.fromhex(sys.argv[1]))[2])
