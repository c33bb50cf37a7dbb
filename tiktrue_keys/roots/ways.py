"""The ways of sealing a secret that this process may use: those that its caller gave settings for.

Come here to add a way, or its settings. A way without settings loads no code and opens no connection, whatever a
keystore's slots name. The caller reads the settings where only the operator can write: /etc, environment, options.

    devices = EnabledRoots({"tpm2": {"tcti": "device:/dev/tpmrm0"}})
    with KeyManager(folder, devices=devices) as manager: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiktrue_keys.core.keystore.device_secrets import must_know
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import InternalError, UsageError
from tiktrue_keys.roots.fresh import unsealed_id
from tiktrue_keys.roots.loader import root_of
from tiktrue_keys.roots.root import MAX_BLOB

if TYPE_CHECKING:
    from tiktrue_keys.roots.root import Root


@dataclass(frozen=True)
class Way:
    """The settings of a way: all of them, the one that enables it, and the one that names a file with a PIN or token.

    `takes_facts`: whether the machine's facts open its slots together with the secret. A TPM is part of the machine.
    """

    settings: tuple[str, ...]
    enabled_by: str
    secret_file: str = ""
    takes_facts: bool = True


WAYS: Mapping[str, Way] = {
    "tpm2": Way(("tcti", "pcrs"), "tcti", takes_facts=False),
    "pkcs11": Way(("module", "token", "pin_file"), "module", "pin_file"),
    "transit": Way(("url", "ca", "mount", "key", "token_file"), "url", "token_file"),
}

ReadSecret = Callable[[str], bytes]
"""Returns the PIN or token for a way's name. Raises UsageError where there is none."""


def _no_secret(way: str) -> bytes:
    raise no_secret(way)


def no_secret(way: str) -> UsageError:
    """Return the error about a PIN or token that was not given."""
    file = WAYS[way].secret_file
    return UsageError(f"{way}: there is no {file}", remedy="name-secret-file", about={"way": way, "file": file})


class EnabledRoots:
    """The enabled ways by name, each with its settings. `read_secret` is called when a PIN or a token is needed."""

    def __init__(self, settings: Mapping[str, Mapping[str, str]], read_secret: ReadSecret = _no_secret) -> None:
        for way, values in settings.items():
            known = WAYS.get(way)
            if known is None:
                raise UsageError(f"'{way}' is not a way of sealing", "the ways are: " + ", ".join(WAYS))
            unknown = sorted(set(values) - set(known.settings))
            if unknown:
                raise UsageError(f"'{unknown[0]}' is not a setting of {way}", "use " + ", ".join(known.settings))
        self._settings = {way: dict(values) for way, values in settings.items() if values.get(WAYS[way].enabled_by)}
        self._read_secret = read_secret

    def is_enabled(self, way: str) -> bool:
        """Return whether the way has settings."""
        return way in self._settings

    def takes_facts(self, way: str) -> bool:
        """Return whether the machine's facts go into the slots of a way."""
        return WAYS[way].takes_facts

    def seal(self, way: str, secret: memoryview) -> bytes:
        """Return the blob in which the device seals the secret."""
        blob = self._root(way).seal(secret)
        if not 0 < len(blob) <= MAX_BLOB:
            raise InternalError(f"{way} sealed a secret to {len(blob)} bytes")
        return blob

    def unseal(self, way: str, blob: bytes) -> SecretBuffer:
        """Return the secret of a blob."""
        return self._root(way).unseal(blob)

    def discard(self, way: str, blob: bytes) -> None:
        """Remove what the device keeps for a blob."""
        self._root(way).discard(blob)

    def prove(self, way: str, blob: bytes) -> bytes:
        """Return the id of the secret that a new process unsealed: what is held in this one counts for nothing."""
        secret = self._read_secret(way) if WAYS[way].secret_file else b""
        return unsealed_id(way, self._settings[way], secret, blob)

    def _root(self, way: str) -> Root:
        must_know(way, self._settings, WAYS)
        return root_of(way, self._settings[way], lambda: self._read_secret(way))
