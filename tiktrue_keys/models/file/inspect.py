"""Reads what a container claims, without a key, and lists which of its claims were verified and which were not."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.container.container import Container
from tiktrue_keys.models.container.open import opened_container
from tiktrue_keys.models.format.header import WrapType
from tiktrue_keys.models.format.trailer import verify_signature
from tiktrue_keys.models.storage.location import Place, Url, object_place

VALID, WRONG, ABSENT = "valid", "wrong", "absent"

_HEADER = "whether the header is authentic (this needs the data key)"
_BODY = "whether the encrypted body matches the root (this reads all of it)"
ISSUER_NOT_VERIFIED = "whether the issuer is the authority of the model"


@dataclass(frozen=True)
class WrapInfo:
    """One wrapped data key: its type (`managed-key` or `hpke`), the key id and the generation."""

    type: str
    key_id: str
    generation: int


@dataclass(frozen=True)
class Inspection:
    """A container's claims. `issuer` is an Ed25519 public key (32 bytes), `root` the root of its tree (32 bytes).

    `signature` is `valid` (by `issuer`, which is not verified to be a trusted one), `wrong` or `absent`. `piped`: the
    container was made into a pipe. `length` in bytes of plaintext; `size` and `segment_size` in bytes.
    """

    path: Place
    file_id: bytes
    model_id: str
    name: str
    kind: str
    length: int
    size: int
    segment_size: int
    segments: int
    origin: str
    wraps: tuple[WrapInfo, ...]
    root: bytes
    issuer: bytes | None
    signature: str
    sequence: int
    slots_equal: bool
    piped: bool
    verified: tuple[str, ...]
    not_verified: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, with bytes in hex."""
        return {
            "path": str(self.path),
            "file_id": self.file_id.hex(),
            "model_id": self.model_id,
            "name": self.name,
            "kind": self.kind,
            "length": self.length,
            "size": self.size,
            "segment_size": self.segment_size,
            "segments": self.segments,
            "origin": self.origin,
            "wraps": [vars(wrap) for wrap in self.wraps],
            "root": self.root.hex(),
            "issuer": self.issuer.hex() if self.issuer else None,
            "signature": self.signature,
            "sequence": self.sequence,
            "slots_equal": self.slots_equal,
            "piped": self.piped,
            "verified": list(self.verified),
            "not_verified": list(self.not_verified),
        }


def inspect_model(path: str | PathLike[str] | Url) -> Inspection:
    """Read everything in a container but its body. Raises IntegrityError when it is not a container or is damaged."""
    with opened_container(object_place(path)) as found:
        container = found.container
    header, trailer = container.header, container.trailer
    signature = signature_state(container)
    verified = ["one copy of the header is intact and canonical", "the trailer is intact"]
    if trailer.leaves is not None:
        verified.append("the root matches the listed leaves")
    if signature == VALID:
        verified.append("the signature over file id, names, length and root is the issuer's")
    return Inspection(
        path=found.path,
        file_id=header.file_id,
        model_id=header.model_id,
        name=header.name,
        kind=header.kind.value,
        length=trailer.length,
        size=container.size,
        segment_size=header.segment_size,
        segments=trailer.segments,
        origin=header.origin.value,
        wraps=tuple(WrapInfo(WrapType(wrap.type).value, wrap.key_id, wrap.generation) for wrap in header.wraps),
        root=trailer.root,
        issuer=trailer.signature.issuer if trailer.signature else None,
        signature=signature,
        sequence=container.slots.current.sequence,
        slots_equal=container.slots.equal,
        piped=trailer.leaves is None,
        verified=tuple(verified),
        not_verified=(_HEADER, _BODY, *((ISSUER_NOT_VERIFIED,) if signature == VALID else ())),
    )


def signature_state(container: Container) -> str:
    """Return `valid`, `wrong` or `absent` for the signature under the issuer that the container names."""
    signature = container.trailer.signature
    if signature is None:
        return ABSENT
    try:
        verify_signature(container.header, container.body, container.trailer, signature.issuer)
    except IntegrityError:
        return WRONG
    return VALID
