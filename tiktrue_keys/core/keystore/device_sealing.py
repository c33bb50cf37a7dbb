"""A new secret that a device seals, tried out before a keystore relies on it.

Come here for what happens when the keystore does not get to hold it: the device forgets it again.
"""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Callable, Iterator

from tiktrue_keys.core.derivation import host_secret_id
from tiktrue_keys.core.keystore.device_secrets import DeviceSecret, DeviceSecrets
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import TikTrueKeysError, UnavailableError

SECRET_LENGTH = 32


@contextlib.contextmanager
def newly_sealed(devices: DeviceSecrets, way: str, *, is_held: Callable[[bytes], bool]) -> Iterator[DeviceSecret]:
    """Yield a new secret that the device has sealed, and that another process has unsealed.

    When the block raises, the device forgets it, unless `is_held` says of its blob that a keystore may hold it. Raises
    what the device raises.
    """
    secret = SecretBuffer.random(SECRET_LENGTH)
    blob = devices.seal(way, secret.view)
    try:
        if not hmac.compare_digest(devices.prove(way, blob), host_secret_id(secret.view)):
            raise UnavailableError(f"{way}: another process did not unseal what was sealed")
        yield DeviceSecret(secret, way, blob)
    except BaseException:
        if not is_held(blob):
            with contextlib.suppress(TikTrueKeysError):  # the error that is under way says more
                devices.discard(way, blob)
        raise
