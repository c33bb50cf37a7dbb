"""Caches managed keys that were opened recently, so that a loop over blocks opens each key once.

Come here for how long an opened secret stays in memory. The cache holds secrets only and knows no keystore.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from tiktrue_keys.core.secret import SecretBuffer

_MOST = 64
_SECONDS = 300.0


class OpenedKeyCache:
    """An LRU cache of at most 64 opened secrets, none older than five minutes.

    Every secret is wiped when the keystore's state changes.
    """

    def __init__(self) -> None:
        self._state = b""
        self._secrets: OrderedDict[tuple[str, str], tuple[float, SecretBuffer]] = OrderedDict()

    def get(self, key_id: str, license_tag: str, state: bytes) -> SecretBuffer | None:
        """Return a copy of the secret, which the caller wipes, or None when it is not cached at this `state`."""
        if state != self._state:
            self.clear()
            self._state = state
        entry = self._secrets.get((key_id, license_tag))
        if entry is None or time.monotonic() > entry[0]:
            return None
        self._secrets.move_to_end((key_id, license_tag))
        return SecretBuffer.copy_of(entry[1].view)

    def put(self, key_id: str, license_tag: str, secret: SecretBuffer) -> None:
        """Keep a copy of the secret."""
        old = self._secrets.pop((key_id, license_tag), None)
        if old is not None:
            old[1].wipe()
        self._secrets[key_id, license_tag] = (time.monotonic() + _SECONDS, SecretBuffer.copy_of(secret.view))
        if len(self._secrets) > _MOST:
            self._secrets.popitem(last=False)[1][1].wipe()

    def clear(self) -> None:
        """Wipe every secret."""
        for _, secret in self._secrets.values():
            secret.wipe()
        self._secrets.clear()
