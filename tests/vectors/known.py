"""The known keys and the fixed randomness that the vectors of this folder are made with."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tiktrue_keys.core.names import KeyId, ModelId

HERE = Path(__file__).parent
MODEL = ModelId("vector-model")
KEY = KeyId("vector-model_0123456789abcdef")
GENERATION = 7
WARNING = "known keys, for tests only"
REAL_COMPRESSOBJ = zlib.compressobj


def known(name: str, length: int = 32) -> bytes:
    """Bytes that anybody can make again: SHAKE128 of a name."""
    return hashlib.shake_128(f"tiktrue-keys test vector: {name}".encode()).digest(length)


@contextmanager
def fixed_randomness(name: str) -> Iterator[None]:
    """os.urandom as a stream that depends on `name` alone."""
    drawn = 0

    def urandom(length: int) -> bytes:
        nonlocal drawn
        drawn += length
        return known(f"randomness of {name}", drawn)[-length:]

    with patch("os.urandom", urandom), patch("zlib.compressobj", lambda *_: _Stored()):
        yield


class _Stored:
    """A deflater that is never smaller: what it is given is stored as it is."""

    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def ed25519(name: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    private = Ed25519PrivateKey.from_private_bytes(known(name))
    return private.public_key().public_bytes_raw(), private.sign


def pretty(value: object) -> bytes:
    """A vector file's JSON."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
