"""The default places of the keystore and the host secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tiktrue_keys.errors import UsageError

SYSTEM_KEYSTORE = Path("/var/lib/tiktrue-keys")
SYSTEM_HOST_SECRET = Path("/var/lib/tiktrue-keys-host/secret")


def is_root() -> bool:
    """Whether this process runs as root."""
    return os.name == "posix" and os.geteuid() == 0


def default_keystore(environment: Mapping[str, str], *, root: bool) -> Path:
    """`root`, or a service with a state directory: /var/lib/tiktrue-keys; else the user's data folder."""
    if os.name == "posix" and (root or environment.get("STATE_DIRECTORY")):
        return SYSTEM_KEYSTORE
    import platformdirs

    try:
        return platformdirs.user_data_path("tiktrue-keys", appauthor=False)
    except RuntimeError:  # no HOME, and the user is in no user database
        raise UsageError("this user has no home folder to keep a keystore in", "use --keystore DIR") from None


def default_host_secret(environment: Mapping[str, str]) -> str | None:
    """A service with a state directory: /var/lib/tiktrue-keys-host/secret; else None, which leaves it to the core."""
    return str(SYSTEM_HOST_SECRET) if os.name == "posix" and environment.get("STATE_DIRECTORY") else None
