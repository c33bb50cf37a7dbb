"""Where a keystore lies: its folder, its host secret, and the default folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KeystorePaths:
    """Where a keystore and its host secret are. `host_secret` None: where the keystore says, or the default."""

    folder: Path
    host_secret: Path | None = None
    timeout: float = 10.0


def default_folder() -> Path:
    """Root: /var/lib/tiktrue-keys; anybody else: the platform's data folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/tiktrue-keys")
    from platformdirs import user_data_path

    return user_data_path("tiktrue-keys")
