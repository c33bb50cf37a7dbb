"""Opens managed keys for encryption and decryption: checks the status, then the license, then unwraps the secret.

Come here for the warnings of a deprecated or expired key.
"""

from __future__ import annotations

from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keys.key_results import OpenedKey
from tiktrue_keys.core.keys.keyring import find_key
from tiktrue_keys.core.keys.licenses import License, must_recognise
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use, must_allow, warns_when_decrypting
from tiktrue_keys.core.keys.wrapping import unwrap_managed_key
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import UsageError


def open_key(session: KeystoreSession, argument: str, license_key: License | None, use: Use) -> OpenedKey:
    """Return the key that `argument` names, opened for `use`.

    The status is checked before the license: raises RevokedError, ExpiredError or RefusedError by status, then
    UsageError when a needed license is missing, and WrongLicenseError for another license. Raises UsageError for a
    `use` that is not a Use: no rule would apply to it.
    """
    if not isinstance(use, Use):
        raise UsageError(f"use must be one of {', '.join(f'Use.{each.name}' for each in Use)}, not {use!r}")
    with session.read() as (view, now):
        key = find_key(view.rows, argument, now).key
    must_allow(key, use, now)
    if key.license_tag is not None and license_key is None:
        raise UsageError(f"key {key.key_id} needs its license", "pass license_key", remedy="needs-license")
    prepared = session.prepare(license_key) if key.license_tag is not None else None
    with session.read() as (view, now):
        stored = find_key(view.rows, key.key_id, now)
        must_allow(stored.key, use, now)
        stale = session.revocations.check(view, stored.key, use, now)
        opened = must_recognise(prepared, view.rows, session.root_keys) if prepared is not None else None
        tag = opened.tag if opened else ""
        secret = session.opened.get(key.key_id, tag, view.state.root)
        if secret is None:
            secret = unwrap_managed_key(session.root_keys, stored, opened)
            session.opened.put(key.key_id, tag, secret)
    return OpenedKey(stored.key, secret, (*_notices(stored.key, use, now), *stale))


def _notices(key: ManagedKey, use: Use, now: Instant) -> tuple[Notice, ...]:
    if use is Use.ENCRYPT or not warns_when_decrypting(key, now):
        return ()
    words = f"key {key.key_id} is {key.status.value}; it decrypts until {rfc3339(key.decrypt_until)}"
    return (Notice("deprecated" if key.status.value == "deprecated" else "expired", words, key.key_id),)
