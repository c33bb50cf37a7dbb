"""Which devices may have a secret in the host secret's place, from the settings, and where their PINs and tokens are.

Come here for the order in which a PIN or token is looked for: the file that a setting names, a systemd credential, a
hidden prompt. It is read when a device asks for it, and is never an argument.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tiktrue_keys.cli.context.license import credential
from tiktrue_keys.cli.context.prompts import ask_hidden, can_ask
from tiktrue_keys.cli.context.settings import ROOTS, Settings
from tiktrue_keys.cli.context.trusted_files import read_trusted
from tiktrue_keys.core.notices import Notice

if TYPE_CHECKING:
    from tiktrue_keys.core.keystore.device_secrets import DeviceSecrets

_LIMIT = 8 * 1024
_NAMES = {"pkcs11": "PIN", "transit": "token"}


def devices_of(
    settings: Settings, environment: Mapping[str, str], warn: Callable[[Notice], None]
) -> DeviceSecrets | None:
    """Return the devices that are enabled; None when the settings name none, and then their code is not imported."""
    values = device_settings(settings)
    if not values:
        return None
    from tiktrue_keys.roots.ways import EnabledRoots

    if "tpm2" in values:
        os.environ.setdefault("TSS2_LOG", "all+NONE")  # the TPM's library prints lines of its own beside our message
    return EnabledRoots(values, _Secrets(values, environment, warn).read)


def device_settings(settings: Settings) -> dict[str, dict[str, str]]:
    """Return the settings of each way by its name."""
    values: dict[str, dict[str, str]] = {}
    for name, setting in settings.values.items():
        table, _, rest = name.partition(".")
        if table == ROOTS:
            way, _, member = rest.partition(".")
            values.setdefault(way, {})[member] = str(setting.value)
    return values


class _Secrets:
    """PINs and tokens. What was typed is asked for once."""

    def __init__(
        self,
        values: Mapping[str, Mapping[str, str]],
        environment: Mapping[str, str],
        warn: Callable[[Notice], None],
    ) -> None:
        self._values = values
        self._environment = environment
        self._warn = warn
        self._typed: dict[str, bytes] = {}

    def read(self, way: str) -> bytes:
        """Return the PIN or token of a way. Raises UsageError where there is none, InsecureError, NotFoundError."""
        from tiktrue_keys.roots.ways import WAYS, no_secret

        file = self._values[way].get(WAYS[way].secret_file) or credential(self._environment, f"tiktrue-{way}")
        if file:
            return self._from_file(Path(file), f"{way} {_NAMES[way]}")
        if not can_ask():
            raise no_secret(way)
        if way not in self._typed:
            self._typed[way] = ask_hidden(f"{way} {_NAMES[way]}")
        return self._typed[way]

    def _from_file(self, path: Path, what: str) -> bytes:
        found = read_trusted(path, limit=_LIMIT, what=f"file of the {what}")
        if found.read_by_others:
            words = f"the file of the {what}, {path}, can be read by others: run chmod 600 {path}"
            self._warn(Notice("secret-readable", words))
        return found.data.removesuffix(b"\n").removesuffix(b"\r")
