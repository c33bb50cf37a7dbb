"""The proof that a record is in the audit log: a file that convinces all who have the log's verifier key.

    number 1
    size 4
    leaf <base64: the record's sealed bytes>
    path <base64>                               (the inclusion path of RFC 6962, from the leaf up)

    <checkpoint: a signed note over `size` records>

The record stays sealed: a proof does not show what it says.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

from tiktrue_keys.core.audit.checkpoint import NOTE_LIMIT, Checkpoint, open_note
from tiktrue_keys.core.audit.merkle import verify_inclusion
from tiktrue_keys.errors import IntegrityError

PROOF_LIMIT = NOTE_LIMIT + 16 * 1024
"""The largest size of a proof in bytes: a note, a leaf of 4 KiB and at most 63 hashes, in base64."""

_TEXT = re.compile(
    r"number ([0-9]{1,19})\nsize ([0-9]{1,19})\nleaf ([^ \n]+)\n((?:path [^ \n]+\n){0,63})\n(.+)", re.DOTALL
)


@dataclass(frozen=True)
class InclusionProof:
    """That the record `number` with the sealed bytes `leaf` is in the log that the checkpoint note signs."""

    number: int
    size: int
    leaf: bytes
    path: tuple[bytes, ...]
    checkpoint: str

    def encode(self) -> str:
        """Return the text of the proof."""
        path = "".join(f"path {_encoded(each)}\n" for each in self.path)
        return f"number {self.number}\nsize {self.size}\nleaf {_encoded(self.leaf)}\n{path}\n{self.checkpoint}"


def parse_proof(data: bytes) -> InclusionProof:
    """Return the proof of a text as `encode` writes it, or of the envelope that --json prints.

    Raises IntegrityError for anything else.
    """
    try:
        text = data.decode("utf-8")
        found = _TEXT.fullmatch(_of_envelope(text) if text.startswith("{") else text)
        if found is None or len(data) > PROOF_LIMIT:
            raise ValueError
        path = tuple(b64decode(line.removeprefix("path "), validate=True) for line in found[4].splitlines())
        return InclusionProof(int(found[1]), int(found[2]), b64decode(found[3], validate=True), path, found[5])
    except (ValueError, LookupError, TypeError, RecursionError):
        raise IntegrityError("it is not a proof of this program") from None


def _of_envelope(text: str) -> str:
    """Return the text of a proof from its members. Raises ValueError, LookupError or TypeError."""
    result = json.loads(text)["result"]
    path = "".join(f"path {each}\n" for each in result["path"])
    return f"number {result['number']}\nsize {result['size']}\nleaf {result['leaf']}\n{path}\n{result['checkpoint']}"


def verify_proof(proof: InclusionProof, *, origin: str, public_key: bytes) -> Checkpoint:
    """Return the checkpoint under which the proof holds, signed by the log `origin` with this Ed25519 key.

    Raises IntegrityError when the signature, the size or the path is wrong.
    """
    checkpoint = open_note(proof.checkpoint, origin=origin, public_key=public_key)
    if checkpoint.size != proof.size:
        raise IntegrityError(f"the proof is of {proof.size} records, but its checkpoint covers {checkpoint.size}")
    verify_inclusion(proof.number, proof.size, proof.leaf, proof.path, checkpoint.root)
    return checkpoint


def _encoded(data: bytes) -> str:
    return b64encode(data).decode()
