"""What a license's text shows: marks and blanks that a copy of it loses, and how hard it is to guess.

Come here for the warning of a byte order mark, or for an estimate that is wrong. The functions are pure.
"""

from __future__ import annotations

import math
import re

STRONG = 80
"""Bits: a license of fewer can be guessed by those who hold H, whatever PBKDF2 costs them."""

_WORD_BITS = 11.0  # one word of the two thousand most frequent
_TOKEN = re.compile(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]+")
_WORD = re.compile(r"[A-Za-z]?[a-z]{2,}")
_COUNTING = ("01234567890123456789", "98765432109876543210")
_MAX_BITS = 4096


def oddities(license_key: bytes) -> tuple[str, ...]:
    """Return what at the edges of a license is likely to be lost or added when it is copied, in words."""
    found = []
    if license_key.startswith((b"\xff\xfe", b"\xfe\xff")) or license_key[1:2] == b"\0" or license_key[:1] == b"\0":
        found.append("is UTF-16 text")
    if license_key.startswith(b"\xef\xbb\xbf"):
        found.append("begins with a byte order mark")
    text = license_key.removeprefix(b"\xef\xbb\xbf")
    if text[:1].isspace():
        found.append("begins with a blank or a line end")
    if text[-1:].isspace():
        found.append("ends in a blank or a line end")
    return tuple(found)


def estimated_bits(license_key: bytes) -> int:
    """Return an estimate of a license's strength in bits, at most 4096: of words a person chose, or random characters.

    A word counts 11 bits, a repetition or a counting number 1, any other character what its alphabet has.
    """
    text = license_key.decode("utf-8", "replace").strip()
    bits, seen = 0.0, set()
    for found in _TOKEN.finditer(text):
        token = found[0]
        bits += 1.0 if token.lower() in seen else _bits_of(token)
        seen.add(token.lower())
    return min(int(bits), _MAX_BITS)


def _bits_of(token: str) -> float:
    period = (token + token).find(token, 1)
    if period < len(token):  # "ACMEACME"
        return _bits_of(token[:period]) + 1.0
    if token.isdigit() and any(token in numbers for numbers in _COUNTING):
        return 1.0 + math.log2(len(token))
    if _WORD.fullmatch(token):
        return _WORD_BITS
    if token.isdigit():
        return len(token) * math.log2(10)
    if token.isascii() and token.isalpha():
        return len(token) * math.log2(26 if token.islower() or token.isupper() else 52)
    return len(token) * 4.0
