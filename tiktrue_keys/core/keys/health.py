"""Checks keys without opening them: their status, and whether a container still needs them.

Come here for the errors and warnings that `validate` and `doctor` report about a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import overload

from tiktrue_keys.core.instants import DAY, Instant, rfc3339
from tiktrue_keys.core.keys.key_results import KeyCheck
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status, is_due, is_usable
from tiktrue_keys.core.keys.packed import PackedKeys
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import ExpiredError, RefusedError, RevokedError, TikTrueKeysError


def check_key(key: ManagedKey, now: Instant, *, needed: bool) -> KeyCheck:
    """Return the check of one key. `needed` says that a registered container still opens with it."""
    return KeyCheck(key, _error_of(key, now), is_usable(key, now) or needed, tuple(_notices_of(key, now)))


class KeyChecks(Sequence[KeyCheck]):
    """The checks of many keys at `now`, each made when it is read. `needed`: the ids of keys that containers need."""

    def __init__(self, keys: PackedKeys, now: Instant, needed: Set[str]) -> None:
        self.keys = keys
        self._now = now
        self._needed = needed

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[KeyCheck]:
        return map(self._check, self.keys)

    @overload
    def __getitem__(self, at: int) -> KeyCheck: ...
    @overload
    def __getitem__(self, at: slice) -> KeyChecks: ...
    def __getitem__(self, at: int | slice) -> KeyCheck | KeyChecks:
        if isinstance(at, int):
            return self._check(self.keys[at])
        return KeyChecks(self.keys[at], self._now, self._needed)

    def _check(self, key: ManagedKey) -> KeyCheck:
        return check_key(key, self._now, needed=key.key_id in self._needed)


def _error_of(key: ManagedKey, now: Instant) -> TikTrueKeysError | None:
    if key.status is Status.DESTROYED:
        return RefusedError(f"key {key.key_id} is destroyed", key_id=key.key_id)
    if key.status is Status.REVOKED:
        reason = f": {key.revoke_reason}" if key.revoke_reason else ""
        return RevokedError(f"key {key.key_id} was revoked at {rfc3339(key.revoked_at)}{reason}", key_id=key.key_id)
    if key.status is Status.EXPIRED:
        return ExpiredError(
            f"key {key.key_id} expired at {rfc3339(key.expires_at)}",
            "rotate it",
            key_id=key.key_id,
            remedy="rotate-key",
        )
    if key.status is Status.DEPRECATED and now >= key.decrypt_until:
        return ExpiredError(
            f"key {key.key_id} decrypts no more since {rfc3339(key.decrypt_until)}",
            "rewrap what it opens",
            key_id=key.key_id,
            remedy="rewrap-containers",
        )
    return None


def _notices_of(key: ManagedKey, now: Instant) -> list[Notice]:
    notices = []
    if is_due(key, now):
        notices.append(Notice("due", f"key {key.key_id} expires at {rfc3339(key.expires_at)}", key.key_id))
    if key.status is Status.DEPRECATED and now < key.decrypt_until:
        left = (key.decrypt_until - now) // DAY
        message = f"key {key.key_id} is deprecated; it decrypts until {rfc3339(key.decrypt_until)} ({left} d)"
        notices.append(Notice("deprecated", message, key.key_id))
    if key.destroy_at is not None and key.status is not Status.DESTROYED:
        notices.append(
            Notice("marked", f"key {key.key_id} is to be destroyed after {rfc3339(key.destroy_at)}", key.key_id)
        )
    return notices
