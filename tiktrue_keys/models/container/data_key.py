"""Opens a container's data key with the best of this keystore's keys that the container is wrapped for.

Does not handle: authenticating the header (format/header_slots.py), checking the signature (container/container.py).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import ExpiredError, NotFoundError, RefusedError, RevokedError, UsageError, WrongLicenseError
from tiktrue_keys.models.format.header import Header, Wrap
from tiktrue_keys.models.format.wraps import unwrap_data_key

# Order of trying keys: the one that stays usable longest comes first.
_PREFERENCE = tuple(Status)
_THIS_KEY_NOT = (UsageError, WrongLicenseError, RevokedError, ExpiredError, RefusedError)


@dataclass(frozen=True)
class OpenedDataKey:
    """A container's 32-byte data key, the managed key that opened it, and notices about that key."""

    key: ManagedKey
    secret: SecretBuffer
    notices: tuple[Notice, ...]

    def __enter__(self) -> OpenedDataKey:
        return self

    def __exit__(self, *_: object) -> None:
        self.secret.wipe()


def held_keys(manager: KeyManager, header: Header) -> dict[str, ManagedKey]:
    """Return the keys of this keystore that a container is wrapped for, by key id."""
    held = {}
    for key_id in header.key_ids:
        try:
            held[key_id] = manager.find(key_id)
        except NotFoundError:
            continue
    return held


def open_data_key(manager: KeyManager, header: Header, license_key: License | None, use: Use) -> OpenedDataKey:
    """Open and return the data key, using the best key that this keystore holds and `use` permits.

    Raises NotFoundError when it holds no key for the container, IntegrityError for a wrap that does not open, else the
    reason why the best key cannot be used: RevokedError, ExpiredError, RefusedError, WrongLicenseError, or UsageError
    without its license.
    """
    held, license_key = held_keys(manager, header), asked_once(license_key)
    if not held:
        listed = ", ".join(sorted(header.key_ids)[:3])
        raise NotFoundError(
            f"this keystore holds no key that opens the container (wrapped for {listed})",
            f"use the keystore that holds one of them; this one is {manager.path}",
        )
    wraps = [wrap for wrap in header.wraps if wrap.key_id in held]
    wraps.sort(key=lambda wrap: _PREFERENCE.index(held[wrap.key_id].status))
    first: Exception | None = None
    for wrap in wraps:
        try:
            return _open(manager, header, wrap, license_key, use)
        except _THIS_KEY_NOT as error:
            first = first or error
    assert first is not None, "a container has at least one wrap"
    raise first


def asked_once(license_key: License | None) -> License | None:
    """Return a license that is prompted for at most once, for any number of keys. Thread-safe."""
    if not callable(license_key):
        return license_key
    answers: list[str | bytes] = []
    asking = threading.Lock()  # the files of a folder are opened in several threads

    def ask() -> str | bytes:
        with asking:
            if not answers:
                answers.append(license_key())
        return answers[0]

    return ask


def _open(manager: KeyManager, header: Header, wrap: Wrap, license_key: License | None, use: Use) -> OpenedDataKey:
    with manager.open_key(wrap.key_id, license_key, use=use) as opened:
        data_key = unwrap_data_key(wrap, opened.secret.view, file_id=header.file_id, model_id=header.model_id)
        return OpenedDataKey(opened.key, data_key, opened.notices)
