"""Results of the rules about keys: a rotation, a failure, a kept key, a check, an opened key.

Operations pass them on in their own results; rendering is the caller's job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import TikTrueKeysError


@dataclass(frozen=True)
class Failure:
    """One item of a batch that was left unchanged, and the reason."""

    key_id: str
    error: TikTrueKeysError


@dataclass(frozen=True)
class Rotation:
    """One rotation: the old key as it is now, and its successor (None in a dry run)."""

    old: ManagedKey
    new: ManagedKey | None


@dataclass(frozen=True)
class Kept:
    """A key that cleanup considered and kept, and the reason."""

    key: ManagedKey
    reason: str
    remedy: str = ""
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KeyCheck:
    """The result of checking one key.

    `error` is None when the key may be used for everything that its status allows. `expected_usable` says that its
    status or a registered container requires it to open.
    """

    key: ManagedKey
    error: TikTrueKeysError | None
    expected_usable: bool
    notices: tuple[Notice, ...] = ()

    @property
    def ok(self) -> bool:
        """Return whether the check found no error."""
        return self.error is None


@dataclass(frozen=True)
class OpenedKey:
    """A managed key with its 32 secret bytes. Wipe `secret`, or use the object as a context manager."""

    key: ManagedKey
    secret: SecretBuffer
    notices: tuple[Notice, ...] = field(default=())

    def __enter__(self) -> OpenedKey:
        return self

    def __exit__(self, *_: object) -> None:
        self.secret.wipe()
