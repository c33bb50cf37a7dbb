"""What of a keystore does not outlive its container, or the next restart of its machine.

Come here for the question that is asked before a keystore is created on such storage, and for the finding as long as it
lies there. The rule is Surroundings.storage_that_vanishes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tiktrue_keys.core.keystore import host_secret
from tiktrue_keys.core.keystore.document import VOLATILE, Document
from tiktrue_keys.core.keystore.paths import KeystorePaths
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.machine.surroundings import Surroundings, read_surroundings

HOST_SECRET, KEYSTORE, MARKS = VOLATILE
_NAMES = {KEYSTORE: "the database", HOST_SECRET: "the host secret", MARKS: "the marks"}


@dataclass(frozen=True)
class VolatilePart:
    """A part of a keystore, its path, and the storage that it is on: "overlay", "tmpfs", "emptyDir", ..."""

    part: str
    path: Path
    storage: str


@dataclass(frozen=True)
class VolatileParts:
    """The parts that do not last, and the container that they do not outlive. Empty where every part lasts."""

    parts: tuple[VolatilePart, ...] = ()
    container: str = ""

    def __bool__(self) -> bool:
        return bool(self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts as the header has them."""
        return tuple(sorted(each.part for each in self.parts))

    @property
    def words(self) -> str:
        """What vanishes, where it lies, and when."""
        listed = [_NAMES[name] for name in (KEYSTORE, HOST_SECRET, MARKS) if name in self.names]
        what = listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
        verb = "is" if len(listed) == 1 and MARKS not in self.names else "are"
        where = " and ".join(sorted({each.storage for each in self.parts} - {""})) or "storage that does not last"
        fate = self.container.replace("a ", "this ", 1) or "a restart of this machine"
        return f"this keystore will not outlive {fate}: {what} {verb} on {where}"


def volatile_parts(places: Mapping[str, Path], surroundings: Surroundings) -> VolatileParts:
    """Return the parts of `places` (by their name) that are on storage that vanishes."""
    found = []
    for part, path in places.items():
        storage = surroundings.storage_that_vanishes(os.path.realpath(path))
        if storage is not None:
            found.append(VolatilePart(part, path, storage))
    return VolatileParts(tuple(found), surroundings.name)


def volatile_now(folder: Path, secret: Path, marks: Path) -> VolatileParts:
    """Return which of the three places are on storage that vanishes, as the mount table is now."""
    return volatile_parts({KEYSTORE: folder, HOST_SECRET: secret, MARKS: marks}, read_surroundings())


def volatile_when_created(place: KeystorePaths) -> VolatileParts:
    """Return what a keystore that would be created at `place` would lose."""
    secret = (place.host_secret or host_secret.default_path()).absolute()
    given = secret.exists() and not os.access(secret.parent, os.W_OK)
    marks = place.marks or (host_secret.default_path().parent if given else secret.parent)
    return volatile_now(place.folder, secret, marks)


def volatile_of(document: Document, place: KeystorePaths, surroundings: Surroundings | None = None) -> VolatileParts:
    """Return what the keystore would lose. Where the mount table cannot be read, its header tells how it was created.

    The place of the host secret that was given wins over the one in the header.
    """
    around = surroundings or read_surroundings()
    if not around.mounts:
        return VolatileParts(tuple(VolatilePart(part, Path(), "") for part in document.volatile))
    secret = place.host_secret or Path(document.host_secret_path)
    marks = place.marks or Path(document.marks_path)
    return volatile_parts({KEYSTORE: place.folder, HOST_SECRET: secret, MARKS: marks}, around)


def note_volatile(transaction: Transaction, place: KeystorePaths) -> None:
    """Note in the header of a keystore that came to this place what it would lose here."""
    document = transaction.document
    names = volatile_of(document, place).names
    if names != document.volatile and document.version > 1:
        transaction.replace_document(replace(document, volatile=names))
