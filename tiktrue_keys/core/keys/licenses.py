"""Licenses: stretched once per process, recognised by their tag, turned into key encryption keys.

Come here for WrongLicenseError. A license is never stored. PBKDF2 runs before a transaction begins, never inside one:
`prepare` does the slow part, `recognise` the rest.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from tiktrue_keys.core import derivation
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.license_text import estimated_bits, oddities
from tiktrue_keys.core.keystore.document import Cost, Document
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.tallies import Owner
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import UsageError, WrongLicenseError

License = str | bytes | Callable[[], str | bytes]
"""A license, or a callable that asks for it. The callable is called only when a licensed key has to be opened."""

MAX_LENGTH = 64 * 1024
TAG_HEX = 8
_FIRST = "first"
_ALL = Owner(RecordKind.LICENSE, "all")
_REMEMBERED = 16


@dataclass(frozen=True)
class PreparedLicense:
    """A license after PBKDF2: one P for each cost of the keystore, the newest cost last.

    `strength` is the estimate of its text in bits, `oddities` is what a copy of the text may lose.
    """

    stretched: tuple[SecretBuffer, ...]
    strength: int = 0
    oddities: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecognisedLicense:
    """An enrolled license: `tag` is 8 hex digits for people and records, `kek` wraps managed keys."""

    tag: str
    kek: SecretBuffer


class LicenseCache:
    """Remembers P for the licenses of this process, so that each license is stretched once per cost."""

    def __init__(self) -> None:
        self._key = os.urandom(32)  # a key of this process alone, so that it holds no plain hashes of licenses
        self._known: OrderedDict[bytes, SecretBuffer] = OrderedDict()
        self._stretching = threading.Lock()  # several threads with one license wait for one PBKDF2

    def prepare(self, license_key: License, costs: tuple[Cost, ...]) -> PreparedLicense:
        """Return the license stretched for every cost. Raises UsageError when it is empty or longer than 64 KiB."""
        text = license_bytes(license_key)
        with SecretBuffer.copy_of(text) as secret, self._stretching:
            stretched = tuple(self._stretched(secret, cost) for cost in costs)
        return PreparedLicense(stretched, estimated_bits(text), oddities(text))

    def _stretched(self, secret: SecretBuffer, cost: Cost) -> SecretBuffer:
        name = hmac.digest(self._key, cost.salt + cost.rounds.to_bytes(8, "big") + secret.view, hashlib.sha256)
        stretched = self._known.get(name)
        if stretched is None:
            stretched = derivation.stretch_license(secret.view, salt=cost.salt, rounds=cost.rounds)
            self._known[name] = stretched
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return stretched

    def clear(self) -> None:
        """Forget every license. A P that another thread is using is wiped when that thread releases it."""
        with self._stretching:
            self._known.clear()


def license_bytes(license_key: License) -> bytes:
    """Return the license as bytes. Raises UsageError when it is empty or longer than 64 KiB."""
    value = license_key() if callable(license_key) else license_key
    if not isinstance(value, str | bytes):
        raise UsageError("a license is text or bytes")
    try:  # surrogateescape: a license from the environment may not be UTF-8
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    except UnicodeEncodeError:  # its text would show the license
        raise UsageError("the license is not text") from None
    if not data:
        raise UsageError("the license is empty", "check the license file or variable")
    if len(data) > MAX_LENGTH:
        raise UsageError(f"the license is longer than {MAX_LENGTH} bytes", "check that this is the license")
    return data


def recognise(prepared: PreparedLicense, rows: Rows, keys: RootKeys) -> RecognisedLicense | None:
    """Return the license if it is enrolled, at any of the keystore's costs; None otherwise."""
    for stretched in reversed(prepared.stretched):
        tag = derivation.license_tag(stretched.view, keys.root.view)
        if rows.get(RecordKind.LICENSE, tag.hex()) is not None:
            return RecognisedLicense(tag.hex()[:TAG_HEX], derivation.license_kek(stretched.view, keys.root.view))
    return None


def must_recognise(
    prepared: PreparedLicense, rows: Rows, keys: RootKeys, *, may_enroll: bool = False
) -> RecognisedLicense:
    """Return the enrolled license. Raises WrongLicenseError when it is not enrolled.

    With `may_enroll` the error says how to enroll it; elsewhere that would enroll a mistyped license.
    """
    recognised = recognise(prepared, rows, keys)
    if recognised is None:
        odd = f"; the one given {' and '.join(prepared.oddities)}" if prepared.oddities else ""
        raise WrongLicenseError(
            f"this keystore does not know the license{odd}",
            "use the license that the keys were created with" + ", or pass new_license=True" * may_enroll,
            remedy="unknown-license" if may_enroll else "known-license",
        )
    return recognised


def recognise_or_enroll(
    prepared: PreparedLicense,
    transaction: Transaction,
    keys: RootKeys,
    document: Document,
    *,
    enroll: bool,
    may_enroll: bool = False,
) -> RecognisedLicense:
    """Return the license, and enroll it if it is the keystore's first one or if `enroll` is true.

    `may_enroll` is that of must_recognise. Raises WrongLicenseError when it is not enrolled otherwise.
    """
    known = recognise(prepared, transaction.rows, keys)
    if known is not None:
        _note_strength(prepared, transaction, keys)
        return known
    first = transaction.rows.get(RecordKind.LICENSE, _FIRST) is None
    if not (first or enroll):
        return must_recognise(prepared, transaction.rows, keys, may_enroll=may_enroll)
    stretched, cost = prepared.stretched[-1], len(document.costs) - 1
    tag = derivation.license_tag(stretched.view, keys.root.view).hex()
    record = _license_record(tag, cost, transaction.now) | {"strength": prepared.strength}
    transaction.rows.put(RecordKind.LICENSE, tag, record, owner=_ALL)
    if first:
        transaction.rows.put(RecordKind.LICENSE, _FIRST, _license_record(tag, cost, transaction.now))
    transaction.record("license-enroll", detail={"license_tag": tag[:TAG_HEX]})
    return RecognisedLicense(tag[:TAG_HEX], derivation.license_kek(stretched.view, keys.root.view))


def retire(prepared: PreparedLicense, transaction: Transaction, keys: RootKeys) -> None:
    """Forget a license that no key belongs to any more."""
    for stretched in prepared.stretched:
        transaction.rows.delete(RecordKind.LICENSE, derivation.license_tag(stretched.view, keys.root.view).hex())


def tags_of(prepared: PreparedLicense, keys: RootKeys) -> set[str]:
    """The tags (8 hex digits) that a license has or would have here, one for each cost; it need not be enrolled."""
    return {derivation.license_tag(each.view, keys.root.view).hex()[:TAG_HEX] for each in prepared.stretched}


def license_strengths(rows: Rows) -> dict[str, int]:
    """Return the estimated strength in bits of every enrolled license whose text was seen since schema version 2."""
    return {record["tag"][:TAG_HEX]: record["strength"] for record in rows.owned_by(RecordKind.LICENSE, _ALL)}


def enrolment_notices(prepared: PreparedLicense | None) -> tuple[Notice, ...]:
    """Return a notice of what a copy of the license that was just enrolled may lose."""
    if prepared is None or not prepared.oddities:
        return ()
    words = f"the license {' and '.join(prepared.oddities)}: only a copy with the same bytes opens its keys"
    return (Notice("odd-license", words),)


def _note_strength(prepared: PreparedLicense, transaction: Transaction, keys: RootKeys) -> None:
    """Store the strength of a license that was enrolled before there was an estimate."""
    for stretched in prepared.stretched:
        tag = derivation.license_tag(stretched.view, keys.root.view).hex()
        record = transaction.rows.get(RecordKind.LICENSE, tag)
        if record is not None and "strength" not in record:
            transaction.rows.put(RecordKind.LICENSE, tag, record | {"strength": prepared.strength}, owner=_ALL)


def _license_record(tag: str, cost: int, now: Instant) -> dict[str, object]:
    return {"tag": tag, "cost": cost, "enrolled_at": now}
