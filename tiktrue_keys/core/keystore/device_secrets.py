"""Secrets that a device or a service seals for a keystore, in the host secret's place, as the opener sees them.

Come here for what the caller of a session hands in. The core knows a way of sealing by its name alone, the type of a
slot: which device that means, and whether its code may be loaded, is for the caller to say and not for the keystore.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Protocol

from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, UnavailableError

KNOWN_WAYS = frozenset(("tpm2", "pkcs11", "transit"))
"""The ways of sealing that this version has, whether or not they are enabled."""


class DeviceSecrets(Protocol):
    """The ways of sealing that a process may use. Every method raises UnavailableError for another way.

    They also raise what the device says: UnavailableError when it is gone or locked, WrongMachineError for a blob of
    another device, RefusedError where it does not let this user, UsageError without a PIN, InsecureError.
    """

    def is_enabled(self, way: str) -> bool:
        """Return whether the operator has enabled a way."""

    def takes_facts(self, way: str) -> bool:
        """Return whether the machine's facts go into the slots of a way beside the secret."""

    def seal(self, way: str, secret: memoryview) -> bytes:
        """Return the blob, at most 4096 bytes, in which the device seals a secret of 32 bytes."""

    def unseal(self, way: str, blob: bytes) -> SecretBuffer:
        """Return the secret of a blob, which need not be authenticated."""

    def prove(self, way: str, blob: bytes) -> bytes:
        """Return the id of the secret (derivation.host_secret_id) that another process unsealed."""

    def discard(self, way: str, blob: bytes) -> None:
        """Remove what the device keeps for a blob that no slot has any more."""


@dataclass(frozen=True)
class DeviceSecret:
    """A secret that a device unsealed: 32 bytes, the way's name, and the blob of its slots."""

    buffer: SecretBuffer
    way: str
    blob: bytes

    @property
    def view(self) -> memoryview:
        """The 32 bytes."""
        return self.buffer.view

    def wipe(self) -> None:
        """Zero the bytes."""
        self.buffer.wipe()


class NoDevices:
    """The ways of a process to whose caller no device matters."""

    def is_enabled(self, way: str) -> bool:
        """Return False."""
        return False

    def takes_facts(self, way: str) -> bool:
        """Raise UnavailableError."""
        raise not_enabled(way)

    def seal(self, way: str, secret: memoryview) -> bytes:
        """Raise UnavailableError."""
        raise not_enabled(way)

    def unseal(self, way: str, blob: bytes) -> SecretBuffer:
        """Raise UnavailableError."""
        raise not_enabled(way)

    def prove(self, way: str, blob: bytes) -> bytes:
        """Raise UnavailableError."""
        raise not_enabled(way)

    def discard(self, way: str, blob: bytes) -> None:
        """Raise UnavailableError."""
        raise not_enabled(way)


def must_know(way: str, enabled: Container[str], known: Container[str]) -> None:
    """Raise UnavailableError for a way that is not enabled, or that this program does not have."""
    if way not in known:
        raise UnavailableError(f"this program has no way of sealing named '{way}'", "upgrade tiktrue-keys")
    if way not in enabled:
        raise not_enabled(way)


def must_be_known(way: str) -> None:
    """Raise IntegrityError for the type of a slot, not authenticated yet, that this version does not have."""
    if way not in KNOWN_WAYS:
        raise IntegrityError(
            f"the keystore has a slot of the unknown type '{way}'", "upgrade this program if a newer one wrote it"
        )


def not_enabled(way: str) -> UnavailableError:
    """Return the error about a way that the operator has not enabled."""
    return UnavailableError(
        f"{way} is not enabled on this machine", "give its settings", remedy="enable-way", about={"way": way}
    )
