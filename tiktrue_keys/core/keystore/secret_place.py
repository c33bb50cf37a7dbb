"""Which host secret a keystore is opened with, and from which file.

Come here for the order of the places. The place that is given now (an option, the environment, the configuration or a
credential) wins over the one that the keystore records. In either, the keystore's own `KEYSTORE_ID.secret` goes before
the named file, which several keystores may share. What counts is the first file that holds the secret of the header.
host_secret.py reads and creates the files.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.derivation import host_secret_id
from tiktrue_keys.core.file_identity import listed
from tiktrue_keys.core.keystore import host_secret
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.paths import KeystorePaths
from tiktrue_keys.core.keystore.permissions import must_lie_outside
from tiktrue_keys.core.keystore.slots import MACHINE
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import NotFoundError, RefusedError, TikTrueKeysError, WrongMachineError

_MOST_OWN = 100


@dataclass(frozen=True)
class HostSecret:
    """The host secret in use: 32 bytes, and the absolute path of the file that they were read from."""

    buffer: SecretBuffer
    path: Path

    @property
    def view(self) -> memoryview:
        """The 32 bytes."""
        return self.buffer.view

    @property
    def way(self) -> str:
        """The type of the slots that the secret opens."""
        return MACHINE

    @property
    def blob(self) -> bytes:
        """What the slots hold beside the sealed root: nothing."""
        return b""

    def wipe(self) -> None:
        """Zero the bytes."""
        self.buffer.wipe()


def own_secret_path(folder: Path, keystore_id: bytes) -> Path:
    """Return the path in `folder` of a host secret that belongs to one keystore alone."""
    return folder / f"{keystore_id.hex()}{host_secret.OWN_SUFFIX}"


def free_secret_path(folder: Path, keystore_id: bytes) -> Path:
    """Return a path in `folder` for a new host secret of one keystore alone, at which there is no file yet."""
    first = own_secret_path(folder, keystore_id)
    names = (first, *(first.with_stem(f"{first.stem}-{number}") for number in range(2, _MOST_OWN)))
    free = next((path for path in names if not os.path.lexists(path)), None)
    if free is None:
        raise RefusedError(f"{shown(folder)} holds {_MOST_OWN - 1} host secrets of this keystore", "remove old ones")
    return free


def _own_secrets(folder: Path, keystore_id: bytes) -> list[Path]:
    """Return the first own path and those that exist beside it: one for each rekey, of which one is in use."""
    first = own_secret_path(folder, keystore_id)
    later = re.compile(rf"{first.stem}-[0-9]{{1,2}}{re.escape(first.suffix)}")
    return [first, *(folder / name for name in listed(folder) if later.fullmatch(name))]


def secret_paths(place: KeystorePaths, document: Document) -> tuple[Path, ...]:
    """Return the paths at which the keystore's host secret is looked for, in their order."""
    named = (place.host_secret or Path(document.host_secret_path)).absolute()
    return tuple(dict.fromkeys((*_own_secrets(named.parent, document.keystore_id), named)))


def find_secret(place: KeystorePaths, document: Document) -> HostSecret:
    """Return the host secret that the header names. The header need not be authenticated.

    A file that cannot be used does not hide a later one that holds the secret. Raises WrongMachineError when the secret
    is in none of the places, and the error of the first file that cannot be used: InsecureError, IntegrityError.
    """
    trouble: TikTrueKeysError | None = None
    another = False
    for path in secret_paths(place, document):
        try:
            must_lie_outside(path, place.folder)
            secret = host_secret.read(path)
        except NotFoundError:
            continue
        except TikTrueKeysError as error:
            trouble = trouble or error
            continue
        if host_secret_id(secret.view) == document.host_secret_id:
            return HostSecret(secret, path)
        secret.wipe()
        another = True
    raise trouble or _not_found(place, document, another)


def _not_found(place: KeystorePaths, document: Document, another: bool) -> WrongMachineError:
    stored = document.host_secret_path
    looked = "" if place.host_secret in (None, Path(stored)) else f"; looked at {place.host_secret}"
    what = "on this machine is not the keystore's" if another else "of this keystore is not on this machine"
    return WrongMachineError(f"the host secret {what}", f"the keystore's host secret was made at {stored}{looked}")
