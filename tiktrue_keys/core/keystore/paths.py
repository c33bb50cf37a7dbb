"""The paths of a keystore: its folder, its host secret, its marks, and the default folder.

Come here for the defaults; settings and options are read by the command line.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KeystorePaths:
    """The folder of a keystore, the file of its host secret, and how long to wait for its lock, in seconds.

    `host_secret` None means the path that the keystore stores, or the default path for a new one. `marks` is the folder
    of its high-water mark; None means the one that the keystore stores, and that of the host secret.
    """

    folder: Path
    host_secret: Path | None = None
    timeout: float = 10.0
    marks: Path | None = None


def default_folder() -> Path:
    """Root: /var/lib/tiktrue-keys; anybody else: the platform's data folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/tiktrue-keys")
    from platformdirs import user_data_path

    return user_data_path("tiktrue-keys")
