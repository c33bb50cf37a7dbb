"""Opens a container's data key with the best of this keystore's keys that the container is wrapped for.

Does not handle: authenticating the header (format/header_slots.py), checking the signature (container/container.py).
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass

from tiktrue_keys.core.keys.key_results import OpenedKey
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import (
    ExpiredError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    UsageError,
    WrongLicenseError,
)
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


class HeldKeys:
    """The keys of this keystore, each looked up and opened once for many containers. Thread-safe.

    `renew` looks them up again, so that a revocation is noticed.
    """

    def __init__(self, manager: KeyManager, license_key: License | None, use: Use) -> None:
        self.manager = manager
        self._license_key = asked_once(license_key)
        self._use = use
        self._found: dict[str, ManagedKey | None] = {}
        self._opened: dict[str, OpenedKey] = {}
        self._secrets = ExitStack()
        self._guard = threading.Lock()

    def __enter__(self) -> HeldKeys:
        return self

    def __exit__(self, *_: object) -> None:
        self._secrets.close()

    def renew(self) -> None:
        """Look up and open every key again when it is needed next."""
        with self._guard:
            self._found, self._opened = {}, {}

    def held_for(self, header: Header) -> dict[str, ManagedKey]:
        """Return the keys of this keystore that a container is wrapped for, by key id."""
        held = {key_id: self._find(key_id) for key_id in header.key_ids}
        return {key_id: key for key_id, key in held.items() if key is not None}

    def opened(self, key_id: str) -> OpenedKey:
        """Return a key, opened; raises as KeyManager.open_key. It is wiped with the others."""
        with self._guard:
            if key_id not in self._opened:
                opened = self.manager.open_key(key_id, self._license_key, use=self._use)
                # Another thread may still use the one before `renew`: all are wiped at the end.
                self._opened[key_id] = self._secrets.enter_context(opened)
            return self._opened[key_id]

    def data_key(self, header: Header) -> OpenedDataKey:
        """Open and return a data key; raises as open_data_key."""
        held = self.held_for(header)
        if not held:
            listed = ", ".join(sorted(header.key_ids)[:3])
            raise NotFoundError(
                f"this keystore holds no key that opens the container (wrapped for {listed})",
                f"use the keystore that holds one of them; this one is {self.manager.path}",
                remedy="key-of-another",
            )
        wraps = [wrap for wrap in header.wraps if wrap.key_id in held]
        wraps.sort(key=lambda wrap: _PREFERENCE.index(held[wrap.key_id].status))
        first: Exception | None = None
        for wrap in wraps:
            try:
                return self.unwrapped(header, wrap)
            except _THIS_KEY_NOT as error:
                first = first or error
        assert first is not None, "a container has at least one wrap"
        raise first

    def _find(self, key_id: str) -> ManagedKey | None:
        with self._guard:
            if key_id not in self._found:
                try:
                    self._found[key_id] = self.manager.find(key_id)
                except NotFoundError:
                    self._found[key_id] = None
            return self._found[key_id]

    def unwrapped(self, header: Header, wrap: Wrap) -> OpenedDataKey:
        """Open one wrap; raises as open_data_key."""
        opened = self.opened(wrap.key_id)
        if wrap.generation != opened.key.generation:
            raise IntegrityError(f"the container's header has another generation of key {wrap.key_id}")
        data_key = unwrap_data_key(wrap, opened.secret.view, file_id=header.file_id, model_id=header.model_id)
        return OpenedDataKey(opened.key, data_key, opened.notices)


def held_keys(manager: KeyManager, header: Header) -> dict[str, ManagedKey]:
    """Return the keys of this keystore that a container is wrapped for, by key id."""
    with HeldKeys(manager, None, Use.DECRYPT) as held:
        return held.held_for(header)


def open_data_key(manager: KeyManager, header: Header, license_key: License | None, use: Use) -> OpenedDataKey:
    """Open and return the data key, using the best key that this keystore holds and `use` permits.

    Raises NotFoundError when it holds no key for the container, IntegrityError for a wrap that does not open, else the
    reason why the best key cannot be used: RevokedError, ExpiredError, RefusedError, WrongLicenseError, or UsageError
    without its license.
    """
    with HeldKeys(manager, license_key, use) as held:
        return held.data_key(header)


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
