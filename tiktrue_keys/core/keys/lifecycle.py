"""The state of a key at an instant, what that state allows, and which keys are due for rotation.

Come here for the rules of a key's life. The functions are pure: time is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from types import MappingProxyType

from tiktrue_keys.core.instants import DAY, Instant, Seconds, rfc3339
from tiktrue_keys.core.names import KeyId, ModelId
from tiktrue_keys.errors import ExpiredError, RefusedError, RevokedError

DEFAULT_LIFETIME = Seconds(30 * DAY)
DEFAULT_DECRYPT_FOR = Seconds(90 * DAY)
DEFAULT_OVERLAP = Seconds(7 * DAY)
DEFAULT_WITHIN = Seconds(7 * DAY)
MAX_LIFETIME = Seconds(3_660 * DAY)
DEFAULT_DESTROY_AFTER = Seconds(30 * DAY)

ALGORITHM = "AES-256-GCM-SIV"


class Status(str, Enum):
    """The states of a key."""

    PENDING = "pending"
    ACTIVE = "active"
    ROTATING = "rotating"
    DEPRECATED = "deprecated"
    EXPIRED = "expired"
    REVOKED = "revoked"
    DESTROYED = "destroyed"


class Series(StrEnum):
    """What a key waits for, in the agenda: rotation, the end of its overlap, promotion, or nothing more."""

    DUE = "due"
    ROTATED = "rotated"
    PENDING = "pending"
    REVOKED = "revoked"
    DESTROYED = "destroyed"


class Use(Enum):
    """The use that a caller intends for an opened key."""

    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    DECRYPT_DEPRECATED = "decrypt-deprecated"
    RECOVER_REVOKED = "recover-revoked"


@dataclass(frozen=True, slots=True)
class ManagedKey:
    """One managed key without its secret.

    Instants are Unix seconds; `status` is that of the time when the key was read. `promoted_at` is when a successor
    that was published ahead became active; its periods count from then. `audit_number` is the number of the first audit
    record that follows its creation: a backup of at least that many records holds the key. `origin` is the node id of
    the issuer that it came from, in epoch `origin_epoch`; None for a key that was generated here. `rotate_every` is how
    long it encrypts before it is due for rotation, `rotate_before` how long before its end it is due; None for the
    defaults. Its successors inherit both.
    """

    key_id: KeyId
    model_id: ModelId
    generation: int
    created_at: Instant
    expires_at: Instant
    decrypt_until: Instant
    status: Status = Status.ACTIVE
    license_tag: str | None = None
    predecessor: KeyId | None = None
    successor: KeyId | None = None
    pending: bool = False
    rotated_at: Instant | None = None
    overlap_ends_at: Instant | None = None
    revoked_at: Instant | None = None
    revoke_reason: str | None = None
    destroy_at: Instant | None = None
    destroyed_at: Instant | None = None
    exported: bool = False
    fingerprint: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    audit_number: int = field(default=0, compare=False)
    origin: str | None = None
    origin_epoch: int = 0
    promoted_at: Instant | None = None
    rotate_every: Seconds | None = None
    rotate_before: Seconds | None = None

    @property
    def algorithm(self) -> str:
        """Return the algorithm that wraps with this key."""
        return ALGORITHM

    @property
    def binding(self) -> str:
        """Return `machine+license`, or `machine` for a key that was generated without a license."""
        return "machine" if self.license_tag is None else "machine+license"

    @property
    def order(self) -> tuple[str, int, str]:
        """Return the sort key for lists: by model, then generation."""
        return self.model_id, self.generation, self.key_id

    @property
    def lifetime(self) -> Seconds:
        """Return the time from creation, or promotion, to the end of encryption."""
        return Seconds(self.expires_at - (self.promoted_at or self.created_at))

    def promoted(self, now: Instant) -> ManagedKey:
        """Return a pending key as it becomes active: it encrypts and decrypts as long as if it were made now."""
        expires = Instant(now + self.lifetime)
        decrypts = Instant(expires + self.decrypt_until - self.expires_at)
        return replace(self, pending=False, promoted_at=now, expires_at=expires, decrypt_until=decrypts).at(now)

    def at(self, now: Instant) -> ManagedKey:
        """Return the same key with its status at `now`."""
        status = status_at(self, now)
        return self if status is self.status else replace(self, status=status)


def status_at(key: ManagedKey, now: Instant) -> Status:
    """Return the status at `now`. Precedence: destroyed, revoked, pending, has a successor, expired, active."""
    if key.destroyed_at is not None:
        return Status.DESTROYED
    if key.revoked_at is not None:
        return Status.REVOKED
    if key.pending:
        return Status.PENDING
    if key.rotated_at is not None:
        return Status.ROTATING if now < (key.overlap_ends_at or key.rotated_at) else Status.DEPRECATED
    return Status.EXPIRED if now >= key.expires_at else Status.ACTIVE


def must_allow(key: ManagedKey, use: Use, now: Instant) -> None:
    """Raise unless the status of `key` allows `use` at `now`.

    Raises RevokedError, ExpiredError or RefusedError, with a hint that says what to do.
    """
    status = status_at(key, now)
    if status is Status.DESTROYED:
        raise RefusedError(
            f"key {key.key_id} is destroyed", "what it encrypted cannot be read any more", key_id=key.key_id
        )
    if status is Status.REVOKED:
        _must_allow_revoked(key, use)
    elif use is Use.ENCRYPT:
        _must_allow_encrypt(key, status)
    elif use is Use.DECRYPT and now >= key.decrypt_until and status not in (Status.ACTIVE, Status.PENDING):
        raise ExpiredError(
            f"key {key.key_id} decrypts only until {rfc3339(key.decrypt_until)}",
            "rewrap what it opens to the active key",
            key_id=key.key_id,
            remedy="decryption-over",
        )


def _must_allow_revoked(key: ManagedKey, use: Use) -> None:
    if use is Use.RECOVER_REVOKED:
        return
    reason = f" ({key.revoke_reason})" if key.revoke_reason else ""
    raise RevokedError(
        f"key {key.key_id} was revoked at {rfc3339(key.revoked_at)}{reason}",
        "to save a model, re-encrypt it with recover_revoked=True",
        key_id=key.key_id,
        remedy="rotate-model" if use is Use.ENCRYPT else "recover-revoked",
        about={"model": key.model_id},
    )


def _must_allow_encrypt(key: ManagedKey, status: Status) -> None:
    if status is Status.ACTIVE:
        return
    if status is Status.EXPIRED:
        raise ExpiredError(
            f"key {key.key_id} expired at {rfc3339(key.expires_at)}",
            "rotate it",
            key_id=key.key_id,
            remedy="rotate-key",
        )
    words = f"key {key.key_id} is {status.value} and encrypts nothing"
    if status is Status.PENDING:
        raise RefusedError(
            words,
            "wait for its promotion",
            key_id=key.key_id,
            remedy="pending-key",
            about={"model": key.model_id},
        )
    if key.successor is None:  # its issuer was removed
        raise RefusedError(
            words, "create a key of the model", key_id=key.key_id, remedy="generate-key", about={"model": key.model_id}
        )
    raise RefusedError(words, f"its successor is {key.successor}", key_id=key.key_id)


def warns_when_decrypting(key: ManagedKey, now: Instant) -> bool:
    """Return whether decrypting with the key needs a warning: it is deprecated or expired.

    The caller has checked that decryption is allowed.
    """
    return status_at(key, now) in (Status.DEPRECATED, Status.EXPIRED)


def due_at(key: ManagedKey, within: Seconds = DEFAULT_WITHIN) -> Instant:
    """Return when rotation is due: min(within, lifetime / 3) before the key stops encrypting, or by its own period."""
    ahead = min(within, key.lifetime // 3) if key.rotate_before is None else key.rotate_before
    due = Instant(key.expires_at - ahead)
    if key.rotate_every is None:
        return due
    return min(due, Instant((key.promoted_at or key.created_at) + key.rotate_every))


def is_due(key: ManagedKey, now: Instant, within: Seconds = DEFAULT_WITHIN) -> bool:
    """Return whether the key is due for rotation: it is active or expired, has no successor, and due_at has passed."""
    if status_at(key, now) not in (Status.ACTIVE, Status.EXPIRED) or key.successor is not None:
        return False
    return now >= due_at(key, within)


def next_change(key: ManagedKey) -> tuple[Series, Instant]:
    """Return what the key waits for and when that is; 0 for a key that waits for nothing.

    It follows from what is stored and not from the present time, so that the agenda needs no writing as time passes.
    """
    if key.destroyed_at is not None:
        return Series.DESTROYED, Instant(0)
    if key.revoked_at is not None:
        return Series.REVOKED, Instant(0)
    if key.pending:
        return Series.PENDING, Instant(0)
    if key.rotated_at is not None:
        return Series.ROTATED, key.overlap_ends_at or key.rotated_at
    return Series.DUE, max(due_at(key), Instant(0))


def is_usable(key: ManagedKey, now: Instant) -> bool:
    """Return whether `validate` without arguments expects the key to open: it is pending, active or rotating."""
    return status_at(key, now) in (Status.PENDING, Status.ACTIVE, Status.ROTATING)


def may_be_destroyed(key: ManagedKey, now: Instant) -> bool:
    """Return whether cleanup may mark the key: revoked, or deprecated or expired with its decryption period over."""
    status = status_at(key, now)
    if status in (Status.DEPRECATED, Status.EXPIRED):
        return now >= key.decrypt_until
    return status is Status.REVOKED
