"""Wraps managed keys under a key encryption key: the license's, or the machine's for keys without a license.

Come here for the 60 bytes that the record of a key holds.
"""

from __future__ import annotations

import base64
from typing import Any

from tiktrue_keys.core import derivation
from tiktrue_keys.core.keys.keyring import StoredKey
from tiktrue_keys.core.keys.licenses import RecognisedLicense
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.sealing import unwrap_key, wrap_key
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, UsageError, WrongLicenseError

_KIND = "keystore"


def wrap_managed_key(keys: RootKeys, key: ManagedKey, secret: SecretBuffer, opened: RecognisedLicense | None) -> bytes:
    """Return the secret wrapped under the license's key, or the machine's for a key without a license: 60 bytes.

    Raises UsageError without the license that the key needs, WrongLicenseError for another one.
    """
    with _kek(keys, key, opened) as kek:
        return wrap_key(kek.view, secret.view, _context(keys, key))


def unwrap_managed_key(keys: RootKeys, stored: StoredKey, opened: RecognisedLicense | None) -> SecretBuffer:
    """Return the 32 secret bytes.

    Raises UsageError without the license that the key needs, WrongLicenseError for another one, IntegrityError when the
    key does not open.
    """
    with _kek(keys, stored.key, opened) as kek:
        try:
            return unwrap_key(kek.view, stored.wrapped, _context(keys, stored.key))
        except IntegrityError as error:
            raise IntegrityError(f"key {stored.key.key_id} does not open: {error.message}") from None


def rewrap_for_machine(old: RootKeys, new: RootKeys, payload: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record of a key without a license with its secret wrapped under a new root; None for any other key.

    Raises IntegrityError when the key does not open.
    """
    if payload.get("license_tag") is not None or not payload["wrapped"]:
        return None
    context = derivation.wrap_context(
        _KIND,
        file_id=old.keystore_id,
        model_id=payload["model_id"],
        key_id=payload["key_id"],
        generation=payload["generation"],
    )
    wrapped = base64.b64decode(payload["wrapped"])
    with (
        derivation.subkey(old.root.view, derivation.MACHINE_KEK) as before,
        derivation.subkey(new.root.view, derivation.MACHINE_KEK) as after,
        unwrap_key(before.view, wrapped, context) as secret,
    ):
        return payload | {"wrapped": base64.b64encode(wrap_key(after.view, secret.view, context)).decode()}


def _kek(keys: RootKeys, key: ManagedKey, opened: RecognisedLicense | None) -> SecretBuffer:
    if key.license_tag is None:
        return derivation.subkey(keys.root.view, derivation.MACHINE_KEK)
    if opened is None:
        raise UsageError(f"key {key.key_id} needs its license", "pass license_key", remedy="needs-license")
    if opened.tag != key.license_tag:
        raise WrongLicenseError(
            f"key {key.key_id} belongs to license {key.license_tag}, this one is {opened.tag}", key_id=key.key_id
        )
    return SecretBuffer.copy_of(opened.kek.view)


def _context(keys: RootKeys, key: ManagedKey) -> bytes:
    return derivation.wrap_context(
        _KIND, file_id=keys.keystore_id, model_id=key.model_id, key_id=key.key_id, generation=key.generation
    )
