"""The default paths of the keystore and of the host secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tiktrue_keys.errors import UsageError

SYSTEM_KEYSTORE = Path("/var/lib/tiktrue-keys")
SYSTEM_HOST_SECRET = Path("/var/lib/tiktrue-keys-host/secret")


def is_root() -> bool:
    """Whether this process runs as root."""
    return os.geteuid() == 0


def default_keystore(environment: Mapping[str, str], *, root: bool) -> Path:
    """Return /var/lib/tiktrue-keys for root and for a service with a state directory, else the user's data folder."""
    if root or environment.get("STATE_DIRECTORY"):
        return SYSTEM_KEYSTORE
    import platformdirs

    try:
        return platformdirs.user_data_path("tiktrue-keys", appauthor=False)
    except RuntimeError:  # no HOME, and the user is in no user database
        raise UsageError("this user has no home folder to keep a keystore in", "use --keystore DIR") from None


def default_host_secret(environment: Mapping[str, str]) -> str | None:
    """Return /var/lib/tiktrue-keys-host/secret for a service with a state directory, else None for core's default."""
    return str(SYSTEM_HOST_SECRET) if environment.get("STATE_DIRECTORY") else None
