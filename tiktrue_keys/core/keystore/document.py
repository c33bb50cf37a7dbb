"""The keystore's clear header: its ids, its slots and its public keys, authenticated by one MAC under a key of H.

Come here for what a keystore shows before it is opened. Until the MAC is verified the header is hostile input: sizes
are capped, members have to match exactly, and the number of costs is bounded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import canonical_json, parse_canonical
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.schema import MAX_DOCUMENT, RESTORE, VERSION
from tiktrue_keys.errors import IntegrityError

FORMATS = {1: "tiktrue-keystore/1", 2: "tiktrue-keystore/2"}
"""The header's format by schema version."""

KEYSTORE_ID_LENGTH = 16
MAX_SLOTS = 16
MAX_COSTS = 8
MAX_FACTS = 8
MAX_FORMER = 64
"""Each costs every look-up of a record an HMAC."""
_MAX_PATH = 4096
_X_WING_PUBLIC = 1216
_SEALED_ROOT = 60  # nonce 12, H 32, tag 16
_SEALED_FORMER = 92  # nonce 12, two keys of 32, tag 16
_MAX_BLOB = 4096
_SLOT_TYPE = re.compile(r"[a-z0-9-]{1,32}")
VOLATILE = ("host-secret", "keystore", "marks")
"""What may lie on storage that does not outlive a container."""
_WHAT = "the keystore's header"


@dataclass(frozen=True)
class Cost:
    """One PBKDF2 setting: a 32-byte salt and the rounds. The newest is last; a license names its own by index."""

    salt: bytes
    rounds: int


@dataclass(frozen=True)
class Slot:
    """The root secret H, sealed for one way of opening.

    Type `machine`: by the host secret and the named facts, in this order. Type `escrow`: by an escrow's secret, no
    facts. Any other type is the name of a way in which a device seals a secret, which stands in the host secret's
    place, as `blob`: at most 4096 bytes. `hints` has one byte for each fact.
    """

    type: str
    facts: tuple[str, ...]
    salt: bytes
    sealed: bytes
    hints: bytes = b""
    blob: bytes = b""


@dataclass(frozen=True)
class Former:
    """What a rekey keeps of the root secret before it: the record key and the tag key, 32 bytes each, sealed under H.

    `size` is the number of audit records that the record key sealed. `sealed` has 92 bytes.
    """

    size: int
    sealed: bytes


@dataclass(frozen=True)
class Document:
    """The parsed header. Ids have 16 bytes, public keys 32 (Ed25519) and 1216 (X-Wing).

    `version` is that of the schema; the members after it are only in headers of version 2. `rehearsal`: a copy that was
    restored for practice. `volatile`: what lay on storage that does not outlive a container when it was created.
    `former`: one entry for each rekey, the oldest first.
    """

    keystore_id: bytes
    created_at: Instant
    epoch: int
    host_secret_id: bytes
    host_secret_path: str
    marks_path: str
    costs: tuple[Cost, ...]
    slots: tuple[Slot, ...]
    resealed_at: Instant
    audit_key: bytes
    identity_key: bytes
    identity_hpke: bytes
    version: int = VERSION
    rehearsal: bool = False
    volatile: tuple[str, ...] = ()
    former: tuple[Former, ...] = ()

    def encode(self) -> bytes:
        """Return the canonical bytes that are stored and authenticated."""
        later = {"rehearsal": self.rehearsal, "volatile": list(self.volatile)} if self.version > 1 else {}
        if self.former:
            later["former"] = [{"sealed": _base64(each.sealed), "size": each.size} for each in self.former]
        return canonical_json(
            {
                "format": FORMATS[self.version],
                "keystore_id": self.keystore_id.hex(),
                "created_at": self.created_at,
                "epoch": self.epoch,
                "host_secret": {"id": self.host_secret_id.hex(), "path": self.host_secret_path},
                "marks": self.marks_path,
                "costs": [{"salt": cost.salt.hex(), "rounds": cost.rounds} for cost in self.costs],
                "slots": [_slot_json(slot, self.version) for slot in self.slots],
                "resealed_at": self.resealed_at,
                "audit_key": self.audit_key.hex(),
                "identity_key": self.identity_key.hex(),
                "identity_hpke": _base64(self.identity_hpke),
                **later,
            }
        )

    def with_slots(self, slots: tuple[Slot, ...]) -> Document:
        """Return the header with these slots in place of those of the same type. Slots of another type stay."""
        types = {slot.type for slot in slots}
        return replace(self, slots=(*slots, *(slot for slot in self.slots if slot.type not in types)))


def document_mac(root: memoryview, encoded: bytes) -> bytes:
    """Return HMAC-SHA256 over the encoded header under a key of H, 32 bytes."""
    with derivation.subkey(root, derivation.HEADER) as key:
        return hmac.digest(key.view, encoded, hashlib.sha256)


def parse_document(encoded: bytes) -> Document:
    """Return the header, which is not authenticated yet. Raises IntegrityError when it is malformed."""
    value = parse_canonical(encoded, limit=MAX_DOCUMENT, what=_WHAT)
    document = _guarded(value, _document_of)
    if document.encode() != encoded:
        raise IntegrityError(f"{_WHAT} has members that do not belong there")
    return document


def read_document(connection: sqlite3.Connection) -> tuple[bytes, bytes]:
    """Return the stored header and its MAC, neither verified yet. Raises IntegrityError when they are missing."""
    row = connection.execute("SELECT document, mac FROM header WHERE id = 1").fetchone()
    if row is None or not isinstance(row[0], bytes) or not isinstance(row[1], bytes):
        raise IntegrityError("the keystore's header is missing", **RESTORE)
    return row[0], row[1]


def authenticated(stored: tuple[bytes, bytes], root: memoryview) -> Document:
    """Return the header after its MAC under H is verified. Raises IntegrityError when it is wrong."""
    encoded, mac = stored
    document = parse_document(encoded)
    if not hmac.compare_digest(document_mac(root, encoded), mac):
        raise IntegrityError("the keystore's header was changed", **RESTORE)
    return document


def _document_of(value: dict[str, Any]) -> Document:
    version = next((number for number, name in FORMATS.items() if name == value["format"]), None)
    if version is None:
        raise IntegrityError(f"{_WHAT} has an unknown format")
    slots = tuple(_slot_of(item, version) for item in value["slots"])
    costs = tuple(Cost(_hex(item["salt"], derivation.SALT_LENGTH), _rounds(item["rounds"])) for item in value["costs"])
    if not 1 <= len(slots) <= MAX_SLOTS or not 1 <= len(costs) <= MAX_COSTS:
        raise IntegrityError(f"{_WHAT} has an impossible number of slots or costs")
    return Document(
        keystore_id=_hex(value["keystore_id"], KEYSTORE_ID_LENGTH),
        created_at=Instant(_whole(value["created_at"])),
        epoch=_whole(value["epoch"]),
        host_secret_id=_hex(value["host_secret"]["id"], 16),
        host_secret_path=_path(value["host_secret"]["path"]),
        marks_path=_path(value["marks"]),
        costs=costs,
        slots=slots,
        resealed_at=Instant(_whole(value["resealed_at"])),
        audit_key=_hex(value["audit_key"], 32),
        identity_key=_hex(value["identity_key"], 32),
        identity_hpke=_unbase64(value["identity_hpke"], _X_WING_PUBLIC),
        version=version,
        rehearsal=_flag(value["rehearsal"]) if version > 1 else False,
        volatile=_volatile(value["volatile"]) if version > 1 else (),
        former=_former(value["former"]) if version > 1 and "former" in value else (),
    )


def _rounds(value: Any) -> int:
    """Check a cost before a license is stretched: too few rounds are weak, and too many take hours."""
    rounds = _whole(value)
    if not derivation.PBKDF2_MIN_ROUNDS <= rounds <= derivation.PBKDF2_MAX_ROUNDS:
        raise ValueError(rounds)
    return rounds


def _slot_json(slot: Slot, version: int) -> dict[str, Any]:
    first = {"type": slot.type, "facts": list(slot.facts), "salt": slot.salt.hex(), "sealed": _base64(slot.sealed)}
    return first if version == 1 else first | {"hints": slot.hints.hex(), "blob": _base64(slot.blob)}


def _slot_of(value: dict[str, Any], version: int) -> Slot:
    facts = tuple(_text(fact) for fact in value["facts"])
    if len(facts) > MAX_FACTS or len(set(facts)) != len(facts):
        raise ValueError(facts)  # each repeated fact would multiply the candidates that opening tries
    return Slot(
        type=_slot_type(value["type"]),
        facts=facts,
        salt=_hex(value["salt"], derivation.SALT_LENGTH),
        sealed=_unbase64(value["sealed"], _SEALED_ROOT),
        hints=_hints(value["hints"], len(facts)) if version > 1 else b"",
        blob=_blob(value["blob"]) if version > 1 else b"",
    )


def _slot_type(value: Any) -> str:
    if not _SLOT_TYPE.fullmatch(_text(value)):
        raise ValueError(value)  # it is part of messages before it is authenticated
    return str(value)


def _guarded(value: dict[str, Any], parse: Callable[[dict[str, Any]], Document]) -> Document:
    try:
        return parse(value)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise IntegrityError(f"{_WHAT} is malformed") from error


def _hex(text: Any, length: int) -> bytes:
    data = bytes.fromhex(_text(text))
    if len(data) != length or data.hex() != text:
        raise ValueError(text)
    return data


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _path(value: Any) -> str:
    text = _text(value)
    if not os.path.isabs(text) or "\0" in text or len(text) > _MAX_PATH:
        raise ValueError(text)
    return text


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _volatile(value: Any) -> tuple[str, ...]:
    parts = tuple(_text(part) for part in value)
    if not set(parts) <= set(VOLATILE):
        raise ValueError(value)
    return parts


def _former(value: Any) -> tuple[Former, ...]:
    entries = tuple(Former(_whole(each["size"]), _unbase64(each["sealed"], _SEALED_FORMER)) for each in value)
    sizes = [each.size for each in entries]
    if not 1 <= len(entries) <= MAX_FORMER or sizes != sorted(set(sizes)):
        raise ValueError(sizes)
    return entries


def _hints(text: Any, facts: int) -> bytes:
    return _hex(text, facts) if text else b""


def _blob(text: Any) -> bytes:
    data = base64.b64decode(_text(text).encode("ascii"), validate=True)
    if len(data) > _MAX_BLOB:
        raise ValueError(len(data))
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unbase64(text: Any, length: int) -> bytes:
    data = base64.b64decode(_text(text).encode("ascii"), validate=True)
    if len(data) != length:
        raise ValueError(text)
    return data
