"""`python -m tests.fuzz.make_corpus` writes the seeds, a few small inputs a target. Run it when a format changes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.fuzz.targets import CORPUS
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.derivation import signed_message
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.models.header import Header, Origin, Wrap, WrapType
from tiktrue_keys.models.kinds import Kind
from tiktrue_keys.models.manifest import ContainerEntry, Manifest, PlainEntry, SignedManifest
from tiktrue_keys.models.recipients import Recipient
from tiktrue_keys.models.resume_state import DoneFile, ResumedFolder
from tiktrue_keys.models.trailer import Signature, Trailer

VECTORS = Path(__file__).parents[1] / "vectors"
KEY_ID = "llama_0123456789abcdef"
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ISSUER = SIGNER.public_key().public_bytes_raw()


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Target, name, bytes."""
    wraps = (Wrap(WrapType.HPKE, KEY_ID, 1, bytes(1168)), Wrap(WrapType.MANAGED_KEY, KEY_ID, 2, bytes(60)))
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


def main() -> None:
    """Write them."""
    for target, name, data in seeds():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        (CORPUS / target / name).write_bytes(data)


if __name__ == "__main__":
    main()
