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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from tiktrue_keys.core import derivation
from tiktrue_keys.core.keys.license_entries import (
    FIRST,
    VERSION,
    LicenseEntry,
    Stretch,
    Stretched,
    entries,
    find_entry,
    new_entry,
    put_entry,
    rounded,
)
from tiktrue_keys.core.keys.license_text import estimated_bits, oddities
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import UsageError, WrongLicenseError

License = str | bytes | Callable[[], str | bytes]
"""A license, or a callable that asks for it. The callable is called only when a licensed key has to be opened."""

MAX_LENGTH = 64 * 1024
_REMEMBERED = 16


@dataclass(frozen=True)
class PreparedLicense:
    """A license after PBKDF2: one P for each way in which the keystore stretches licenses.

    `strength` is the estimate of its text in bits, `oddities` is what a copy of the text may lose.
    """

    stretched: Stretched
    strength: int = 0
    oddities: tuple[str, ...] = ()

    @property
    def newest(self) -> SecretBuffer:
        """Return P of the newest version and cost."""
        return self.stretched[max(self.stretched)]

    @property
    def may_be_outdated(self) -> bool:
        """Return whether the keystore has an entry of an older version, which may be that of this license."""
        return any(version < VERSION for version, _ in self.stretched)

    def is_same(self, other: PreparedLicense) -> bool:
        """Return whether both are one license. Both were prepared for one keystore."""
        return hmac.compare_digest(self.newest.view, other.newest.view)


@dataclass(frozen=True)
class RecognisedLicense:
    """An enrolled license: `tag` is 8 hex digits for people and records, `kek` wraps managed keys."""

    tag: str
    kek: SecretBuffer
    entry: LicenseEntry


class LicenseCache:
    """Remembers P for the licenses of this process, so that each license is stretched once per cost."""

    def __init__(self) -> None:
        self._key = os.urandom(32)  # a key of this process alone, so that it holds no plain hashes of licenses
        self._known: OrderedDict[bytes, SecretBuffer] = OrderedDict()
        self._stretching = threading.Lock()  # several threads with one license wait for one PBKDF2

    def prepare(self, license_key: License, wanted: Iterable[Stretch]) -> PreparedLicense:
        """Return the license stretched in every way. Raises UsageError when it is empty or longer than 64 KiB."""
        text = license_bytes(license_key)
        with SecretBuffer.copy_of(text) as secret, self._stretching:
            stretched = {(each.version, each.place): self._stretched(secret, each) for each in wanted}
        return PreparedLicense(stretched, estimated_bits(text), oddities(text))

    def _stretched(self, secret: SecretBuffer, how: Stretch) -> SecretBuffer:
        cost, version = how.cost, how.version
        numbers = cost.rounds.to_bytes(8, "big") + version.to_bytes(1, "big")
        name = hmac.digest(self._key, cost.salt + numbers + secret.view, hashlib.sha256)
        stretched = self._known.get(name)
        if stretched is None:
            stretched = derivation.stretch_license(secret.view, salt=cost.salt, rounds=cost.rounds, version=version)
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
    """Return the license if it is enrolled, None otherwise. Raises RefusedError where it needs a second factor."""
    found = find_entry(prepared.stretched, rows, keys)
    return None if found is None else recognised(*found)


def recognised(entry: LicenseEntry, stretched: SecretBuffer) -> RecognisedLicense:
    """Return the license of an entry, given its P."""
    return RecognisedLicense(entry.short_tag, derivation.license_kek(stretched.view, entry.salt), entry)


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
        _note_strength(prepared, transaction, known.entry)
        return known
    first = transaction.rows.get(RecordKind.LICENSE, FIRST) is None
    if not (first or enroll):
        return must_recognise(prepared, transaction.rows, keys, may_enroll=may_enroll)
    entry, stretched = new_entry(prepared.stretched, document, keys, transaction.now, prepared.strength)
    put_entry(transaction.rows, entry)
    transaction.record("license-enroll", detail={"license_tag": entry.short_tag})
    return recognised(entry, stretched)


def license_strengths(rows: Rows, keys: RootKeys) -> dict[str, int]:
    """Return the estimated strength in bits of every enrolled license whose text was seen since schema version 2."""
    if not rows.has_agenda:
        return {}
    return {entry.short_tag: entry.strength for entry in entries(rows, keys) if entry.strength is not None}


def enrolment_notices(prepared: PreparedLicense | None) -> tuple[Notice, ...]:
    """Return a notice of what a copy of the license that was just enrolled may lose."""
    if prepared is None or not prepared.oddities:
        return ()
    words = f"the license {' and '.join(prepared.oddities)}: only a copy with the same bytes opens its keys"
    return (Notice("odd-license", words),)


def _note_strength(prepared: PreparedLicense, transaction: Transaction, entry: LicenseEntry) -> None:
    """Store the strength of a license that was enrolled before there was an estimate."""
    if entry.strength is None:
        put_entry(transaction.rows, replace(entry, strength=rounded(prepared.strength)))
