"""The enrolled licenses as records: how each license is stretched and salted, and its tag. Never the license itself.

Come here for the two versions of an entry. Version 1 is what schema version 1 stored: a license goes into PBKDF2 as it
is, and the salt of what follows is H. Version 2 hashes the license first and has a salt of its own.
core/keys/licenses.py recognises a license by its entry, core/keys/license_renewal.py replaces an entry of version 1.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core import derivation
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.license_text import STRONG
from tiktrue_keys.core.keystore.document import Cost, Document
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.tallies import Owner
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import RefusedError

FIRST_VERSION = 1
VERSION = 2
FIRST = "first"
"""The name of the record that says that a license was enrolled, whichever license is enrolled now."""

OWNER = Owner(RecordKind.LICENSE, "all")
STRENGTH_STEP = 20
"""Bits. A finer estimate would let a reader of H rule out a guess without the PBKDF2 that it costs."""


@dataclass(frozen=True)
class Stretch:
    """One way in which a license of this keystore is stretched: the version of its entry and a cost of the header."""

    version: int
    place: int
    cost: Cost


Stretched = Mapping[tuple[int, int], SecretBuffer]
"""P of one license, by version of the entry and place of the cost in the header."""


@dataclass(frozen=True)
class LicenseEntry:
    """An enrolled license: `tag` has 16 bytes, `salt` is its Q of 32 bytes, `cost` a place in the header's costs.

    `strength` is the estimate of its text in bits, rounded down; None if the text was not seen since there is one.
    `needs_factor`: a second factor goes into its key, which this program does not know.
    """

    tag: bytes
    version: int
    cost: int
    salt: bytes
    enrolled_at: Instant
    strength: int | None = None
    needs_factor: bool = False

    @property
    def short_tag(self) -> str:
        """Return the 8 hex digits for people and records."""
        return self.tag.hex()[:8]

    def is_of(self, stretched: Stretched) -> SecretBuffer | None:
        """Return P if this is the entry of the license that was stretched."""
        p = stretched.get((self.version, self.cost))
        if p is None or not hmac.compare_digest(derivation.license_tag(p.view, self.salt), self.tag):
            return None
        return p


def stretches(rows: Rows, document: Document, keys: RootKeys) -> tuple[Stretch, ...]:
    """Return the ways in which a license has to be stretched to be recognised here, or enrolled."""
    costs = list(enumerate(document.costs))
    if not rows.has_agenda:
        wanted = {(FIRST_VERSION, place) for place, _ in costs}
    else:
        wanted = {(entry.version, entry.cost) for entry in entries(rows, keys)}
    return tuple(
        Stretch(version, place, document.costs[place])
        for version, place in sorted({*wanted, (VERSION, len(costs) - 1)})
    )


def stretch_of_new(cost: Cost, schema_version: int) -> tuple[Stretch, ...]:
    """Return how the first license of a keystore that is about to be created is stretched."""
    return (Stretch(_version_in(schema_version), 0, cost),)


def new_entry(
    stretched: Stretched, document: Document, keys: RootKeys, now: Instant, strength: int
) -> tuple[LicenseEntry, SecretBuffer]:
    """Return an entry with a new salt for a license under the newest cost, and P. It is not stored yet."""
    version, cost = _version_in(document.version), len(document.costs) - 1
    salt = bytes(keys.root.view) if version == FIRST_VERSION else os.urandom(derivation.SALT_LENGTH)
    p = stretched[version, cost]
    tag = derivation.license_tag(p.view, salt)
    return LicenseEntry(tag, version, cost, salt, now, rounded(strength)), p


def find_entry(stretched: Stretched, rows: Rows, keys: RootKeys) -> tuple[LicenseEntry, SecretBuffer] | None:
    """Return the entry of a license and P, or None if it is not enrolled.

    Raises RefusedError for an entry that needs a second factor.
    """
    known = entries(rows, keys) if rows.has_agenda else _entries_of_version_1(stretched, rows, keys)
    for entry in known:
        p = entry.is_of(stretched)
        if p is None:
            continue
        if entry.needs_factor:
            raise RefusedError(
                f"license {entry.short_tag} needs a second factor, which this program does not know",
                "upgrade tiktrue-keys",
            )
        return entry, p
    return None


def entries(rows: Rows, keys: RootKeys) -> list[LicenseEntry]:
    """Return every enrolled license. In schema version 1 there is no list of them."""
    return [_entry_of(record, keys) for record in rows.owned_by(RecordKind.LICENSE, OWNER)]


def put_entry(rows: Rows, entry: LicenseEntry) -> None:
    """Store an entry. In schema version 1 it has no owner, and its salt is not stored."""
    record: dict[str, Any] = {"tag": entry.tag.hex(), "cost": entry.cost, "enrolled_at": entry.enrolled_at}
    if rows.get(RecordKind.LICENSE, FIRST) is None:
        rows.put(RecordKind.LICENSE, FIRST, record)
    if not rows.has_agenda:
        rows.put(RecordKind.LICENSE, entry.tag.hex(), record)
        return
    record |= {"version": entry.version, "salt": entry.salt.hex(), "factor": None}
    record |= {} if entry.strength is None else {"strength": entry.strength}
    rows.put(RecordKind.LICENSE, entry.tag.hex(), record, owner=OWNER)


def delete_entry(rows: Rows, entry: LicenseEntry) -> None:
    """Forget a license."""
    rows.delete(RecordKind.LICENSE, entry.tag.hex())


def carry_over(rows: Rows, keys: RootKeys) -> None:
    """Store the entries of schema version 1 as the present one has them. No value changes: their salt is H."""
    for tag in {record["tag"] for record in rows.scan(RecordKind.LICENSE)}:
        record = rows.get(RecordKind.LICENSE, tag)
        if record is not None:  # the record "first" may be of a license that was forgotten since
            put_entry(rows, _entry_of(record, keys))


def rounded(strength: int) -> int:
    """Return an estimate as it is stored: in steps of 20 bits, at most 80."""
    return min(strength, STRONG) // STRENGTH_STEP * STRENGTH_STEP


def _entries_of_version_1(stretched: Stretched, rows: Rows, keys: RootKeys) -> Iterable[LicenseEntry]:
    """Yield the entries whose tag a license has, which is their name: schema version 1 lists no entries."""
    for (version, _), p in stretched.items():
        if version == FIRST_VERSION:
            record = rows.get(RecordKind.LICENSE, derivation.license_tag(p.view, keys.root.view).hex())
            if record is not None:
                yield _entry_of(record, keys)


def _entry_of(record: Mapping[str, Any], keys: RootKeys) -> LicenseEntry:
    salt = record.get("salt")
    return LicenseEntry(
        tag=bytes.fromhex(record["tag"]),
        version=record.get("version", FIRST_VERSION),
        cost=record["cost"],
        salt=bytes(keys.root.view) if salt is None else bytes.fromhex(salt),
        enrolled_at=Instant(record["enrolled_at"]),
        strength=record.get("strength"),
        needs_factor=record.get("factor") is not None,
    )


def _version_in(schema_version: int) -> int:
    return min(schema_version, VERSION)
