"""Opens an escrow from its shares and the format page alone: prints H of a keystore.

usage: open_escrow.py keystore.db SHARE_FILE... > H in hex

SLIP-39 as its text has it (github.com/satoshilabs/slips, slip-0039): polynomials over GF(256) of Rijndael, a digest at
254 and the secret at 255, four Feistel rounds of PBKDF2. Only the list of words is the reference package's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from shamir_mnemonic.wordlist import WORDLIST

from tests.independent.open_keystore import LABEL, Keystore, check, hkdf, joined, unwrap

WORDS, SECRET, DIGEST = 33, 255, 254
GENERATOR = (
    0xE0E040, 0x1C1C080, 0x3838100, 0x7070200, 0xE0E0009, 0x1C0C2412, 0x38086C24, 0x3090FC48, 0x21B1F890, 0x3F3F120,
)  # fmt: skip


def polymod(values: Sequence[int]) -> int:
    """The Reed-Solomon checksum over GF(1024)."""
    remainder = 1
    for value in values:
        top = remainder >> 20
        remainder = (remainder & 0xFFFFF) << 10 ^ value
        for bit, factor in enumerate(GENERATOR):
            remainder ^= factor if top >> bit & 1 else 0
    return remainder


def times(left: int, right: int) -> int:
    """Multiplication in GF(256) modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    for bit in range(8):
        product ^= left << bit if right >> bit & 1 else 0
    for bit in range(15, 7, -1):
        product ^= 0x11B << (bit - 8) if product >> bit & 1 else 0
    return product


def inverse(value: int) -> int:
    return next(other for other in range(1, 256) if times(value, other) == 1)


def at(x: int, points: dict[int, bytes]) -> bytes:
    """Lagrange: the polynomial through `points`, at x."""
    total = bytes(32)
    for own, value in points.items():
        factor = 1
        for other in points:
            if other != own:
                factor = times(factor, times(x ^ other, inverse(own ^ other)))
        total = bytes(left ^ times(right, factor) for left, right in zip(total, value, strict=True))
    return total


def share_of(words: Sequence[str]) -> tuple[tuple[int, int], int, bytes]:
    """Of 33 words: (identifier, threshold), place on the polynomial, 32 bytes."""
    indexes = [WORDLIST.index(word) for word in words]
    check(polymod([*b"shamir_extendable", *indexes]) == 1, "checksum of a share")
    bits = int("".join(f"{index:010b}" for index in indexes[:-3]), 2)  # 40 bits of parameters, 4 of padding, 256
    head, value = bits >> 260, bits & (1 << 256) - 1
    check(bits >> 256 & 15 == 0, "padding of a share")
    identifier, extendable, exponent = head >> 25, head >> 24 & 1, head >> 20 & 15
    group, place, threshold = head >> 8 & 0xFFF, head >> 4 & 15, (head & 15) + 1
    check((extendable, exponent, group) == (1, 0, 0), "parameters of a share")
    return (identifier, threshold), place, value.to_bytes(32, "big")


def secret_of(shares: Sequence[Sequence[str]]) -> bytes:
    """The escrow's 32 bytes, of exactly as many shares as are needed."""
    parsed = [share_of(words) for words in shares]
    (_, threshold), *_ = heads = [head for head, _, _ in parsed]
    check(set(heads) == {heads[0]} and len(shares) == threshold, "number of shares")
    points = {place: value for _, place, value in parsed}
    sealed = points.popitem()[1] if threshold == 1 else at(SECRET, points)
    if threshold > 1:
        digest = at(DIGEST, points)
        check(hmac.digest(digest[4:], sealed, "sha256")[:4] == digest[:4], "digest of the shares")
    left, right = sealed[:16], sealed[16:]
    for number in (3, 2, 1, 0):
        mixed = hashlib.pbkdf2_hmac("sha256", bytes([number]), right, 2500, 16)
        left, right = right, bytes(one ^ other for one, other in zip(left, mixed, strict=True))
    return right + left


def root_of(database: sqlite3.Connection, secret: bytes) -> bytes:
    """H, of the slot of type escrow."""
    document = json.loads(database.execute("SELECT document FROM header").fetchone()[0])
    keystore_id = bytes.fromhex(document["keystore_id"])
    (slot,) = [slot for slot in document["slots"] if slot["type"] == "escrow"]
    key = hkdf(secret, bytes.fromhex(slot["salt"]), LABEL + b"escrow\0" + keystore_id)
    return unwrap(key, base64.b64decode(slot["sealed"]), joined(LABEL + b"slot", keystore_id, b"escrow"))


def open_escrow(path: str, texts: Sequence[str]) -> Keystore:
    """The keystore at `path`, opened by the shares in these texts."""
    words = [line.partition("#")[0].split() for text in texts for line in text.splitlines()]
    shares = [line for line in words if line]
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return Keystore(database, root_of(database, secret_of(shares)))
    except BaseException:
        database.close()
        raise


if __name__ == "__main__":
    keystore = open_escrow(sys.argv[1], [Path(path).read_text() for path in sys.argv[2:]])
    keystore.database.close()
    print(keystore.root.hex())
