"""What acts return: frozen, complete, printable by somebody else."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiktrue_keys.core.distribution import KeyDistributionRequest
from tiktrue_keys.core.fingerprint import Binding, DriftReport
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.lifecycle import ManagedKey
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import TikTrueKeysError


@dataclass(frozen=True, kw_only=True)
class ActResult:
    """Of every act. `changed` is False for a dry run, for nothing to do, and for a repeated operation id."""

    operation_id: str
    changed: bool
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Failure:
    """One item of a batch that was left as it was, and why."""

    key_id: str
    error: TikTrueKeysError


@dataclass(frozen=True)
class ContainerRecord:
    """A registered container: which keys open it, and where it was seen last. `file_id` is 16 bytes.

    `signed`: it carried this keystore's signature once, so that one without a signature is not that container any more.
    """

    file_id: bytes
    path: str
    model_id: str
    name: str
    keys: frozenset[str]
    last_seen: Instant
    piped: bool = False
    signed: bool = False


@dataclass(frozen=True, kw_only=True)
class Generated(ActResult):
    """New keys, and whether the keystore was made with them."""

    keys: tuple[ManagedKey, ...]
    created_keystore: bool = False
    binding: Binding | None = None


@dataclass(frozen=True)
class Rotation:
    """One rotation: the old key as it is now, and its successor (None in a dry run)."""

    old: ManagedKey
    new: ManagedKey | None


@dataclass(frozen=True, kw_only=True)
class Rotated(ActResult):
    """Rotations done (or planned), keys left out with the reason, and containers that still name an old key."""

    rotations: tuple[Rotation, ...] = ()
    failures: tuple[Failure, ...] = ()
    containers: tuple[ContainerRecord, ...] = ()
    distributions: tuple[KeyDistributionRequest, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class Revoked(ActResult):
    """Revoked keys, their successors where asked for, and the containers that need reencrypt-model."""

    keys: tuple[ManagedKey, ...] = ()
    successors: tuple[Rotation, ...] = ()
    containers: tuple[ContainerRecord, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True)
class Kept:
    """A key that cleanup looked at and left, and why."""

    key: ManagedKey
    reason: str


@dataclass(frozen=True, kw_only=True)
class CleanedUp(ActResult):
    """What cleanup marked for destruction, destroyed, took the mark off, and left alone."""

    marked: tuple[ManagedKey, ...] = ()
    destroyed: tuple[ManagedKey, ...] = ()
    cancelled: tuple[ManagedKey, ...] = ()
    kept: tuple[Kept, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True)
class KeyCheck:
    """What validate found of one key; `error` is None when it may be used for what its status allows."""

    key: ManagedKey
    error: TikTrueKeysError | None
    expected_usable: bool
    notices: tuple[Notice, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with the key."""
        return self.error is None


@dataclass(frozen=True)
class Validation:
    """Checks of keys, of the binding, and with `deep` of every row and audit record."""

    checks: tuple[KeyCheck, ...]
    binding: Binding
    drift: DriftReport
    audit_size: int
    deep: bool
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class OpenedKey:
    """A managed key with its 32 secret bytes; wipe `secret`, or use the object as a context manager."""

    key: ManagedKey
    secret: SecretBuffer
    notices: tuple[Notice, ...] = field(default=())

    def __enter__(self) -> OpenedKey:
        return self

    def __exit__(self, *_: object) -> None:
        self.secret.wipe()
