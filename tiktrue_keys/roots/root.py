"""What a way of sealing a secret has to do, and what its errors are called.

Come here to add a way: one module with a class that satisfies Root, and a line in ways.WAYS. A way is made from the
operator's settings alone. The blob is what it gave out itself, but it comes back from a file that is not authenticated
yet: a way checks it, and treats every answer of its device or service as hostile.
"""

from __future__ import annotations

from typing import Protocol

from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import WrongMachineError

SECRET_LENGTH = 32
MAX_BLOB = 4096


class Root(Protocol):
    """A device or service that seals 32 bytes. Every method raises the same errors.

    UnavailableError: it cannot be reached, is locked, or answers nonsense. WrongMachineError: the blob is another
    device's. RefusedError: it does not let this machine or user. UsageError: a PIN or a token is missing.
    InsecureError: another user could change what a setting names.
    """

    def seal(self, secret: memoryview) -> bytes:
        """Return the blob, at most 4096 bytes, from which unseal returns the 32 bytes again."""

    def unseal(self, blob: bytes) -> SecretBuffer:
        """Return the 32 bytes that were sealed."""

    def discard(self, blob: bytes) -> None:
        """Remove what the device keeps for a blob that no slot has any more. A way that keeps nothing returns."""


def secret_of(way: str, data: bytes) -> SecretBuffer:
    """Return an unsealed secret. Raises WrongMachineError when it does not have 32 bytes."""
    if len(data) != SECRET_LENGTH:
        raise foreign(way, f"what it unsealed has {len(data)} bytes instead of {SECRET_LENGTH}")
    return SecretBuffer.copy_of(data)


def foreign(way: str, why: str) -> WrongMachineError:
    """Return the error about a blob that this device did not make."""
    return WrongMachineError(
        f"{way}: {why}", "use the device that the keystore was bound to", remedy="another-device", about={"way": way}
    )
