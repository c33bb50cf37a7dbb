"""Removes what a killed process left beside a keystore. The caller holds the writers' lock.

Come here when a new kind of temporary file is added: the next writer has to find and remove it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import time
from collections.abc import Iterable
from pathlib import Path

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import canonical_json, parse_canonical
from tiktrue_keys.core.derivation import host_secret_id
from tiktrue_keys.core.durable import read_capped, replace_bytes
from tiktrue_keys.core.keystore import host_secret
from tiktrue_keys.core.keystore.database import FILE_NAME
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.high_water import mark_path, pending_path
from tiktrue_keys.core.keystore.reserve import FILE_NAME as RESERVE
from tiktrue_keys.core.keystore.secret_place import own_secret_path
from tiktrue_keys.errors import NotFoundError, TikTrueKeysError

CREATING = "keystore.creating"
"""Holds the id and the marks folder of a keystore that is being created, because its mark is written first."""

RESTORING = ".keystore.db.restoring"
"""The copy of a backup while it is verified and moved to a new epoch."""

REKEYING = ".keystore.db.rekeying"
"""The keystore under its new root secret, before it takes the place of the one under the old root.

It exists before the note of a rekey: where there is the note alone, the keystore has changed over.
"""

RENEWAL = "keystore.rekeying"
"""Names the host secret that a rekey has created, in case it is killed before the keystore changes over.

The old root authenticates it: a file in this folder must not decide which secret is removed.
"""

_NOTE = "the note of a rekey"
_LIMIT = 16 * 1024
_OLD = 600.0  # seconds; a host secret is created in milliseconds, and several keystores may be creating theirs at once


def begin_creation(folder: Path, document: Document) -> None:
    """Record which mark belongs to a creation, in case it is killed."""
    note = f"{document.keystore_id.hex()}\n{document.marks_path}"
    replace_bytes(folder / CREATING, note.encode(), gate=None)


def end_creation(folder: Path) -> None:
    """Remove that record: the creation is finished or undone."""
    (folder / CREATING).unlink(missing_ok=True)


def begin_renewal(folder: Path, secret: Path, secret_id: bytes, root: memoryview) -> None:
    """Record the path and the id of a host secret that is about to be created, in case the rekey is killed."""
    body: dict[str, object] = {"path": os.fsencode(secret).hex(), "secret": secret_id.hex()}
    replace_bytes(folder / RENEWAL, canonical_json({**body, "mac": _mac(root, body)}), gate=None)


def end_renewal(folder: Path) -> None:
    """Remove that record: the keystore has changed over, or the secret was removed."""
    (folder / RENEWAL).unlink(missing_ok=True)


def _forget_renewal(folder: Path, document: Document, root: memoryview) -> None:
    """Remove the host secret of a rekey that was killed before the keystore changed over.

    The new keystore may have been set aside since by a restore: without REKEYING the secret is the only one for it.
    """
    with contextlib.suppress(TikTrueKeysError, OSError, ValueError, KeyError, TypeError):
        note = parse_canonical(read_capped(folder / RENEWAL, _LIMIT, _NOTE), limit=_LIMIT, what=_NOTE)
        mac = str(note.pop("mac"))
        if (folder / REKEYING).exists() and hmac.compare_digest(mac.encode(), _mac(root, note).encode()):
            _remove_secret(Path(os.fsdecode(bytes.fromhex(note["path"]))), bytes.fromhex(note["secret"]), document)
    with contextlib.suppress(OSError):
        end_renewal(folder)


def _remove_secret(path: Path, secret_id: bytes, document: Document) -> None:
    """Remove the file if it holds the secret with the id, and the keystore is bound to another."""
    _remove(path.parent, f".{path.name}.????????.tmp")
    with contextlib.suppress(NotFoundError), host_secret.read(path) as secret:
        if host_secret_id(secret.view) == secret_id != document.host_secret_id:
            path.unlink()


def _mac(root: memoryview, body: dict[str, object]) -> str:
    with derivation.subkey(root, derivation.RENEWAL) as key:
        return hmac.digest(key.view, canonical_json(body), hashlib.sha256).hex()


def sweep(folder: Path, secret: Path) -> None:
    """Remove what a killed creation left: temporary files, and the mark of the keystore that was not created."""
    _forget_creation(folder)
    for name in (CREATING,):
        _remove(folder, f".{name}.????????.tmp")
    _remove(secret.parent, f".{secret.name}.????????.tmp", older_than=_OLD)


def sweep_opened(folder: Path, document: Document, marks: Iterable[Path], root: memoryview) -> None:
    """Remove what killed writers left beside an existing keystore.

    The temporary files of its marks belong to no other keystore. `root` is H.
    """
    end_creation(folder)
    for mark in marks:
        for path in (mark, pending_path(mark)):
            _remove(mark.parent, f".{path.name}.????????.tmp")
        _remove(mark.parent, f".{mark.stem}.reserve.????????.tmp")
    _remove(folder, f".{CREATING}.????????.tmp")
    _forget_renewal(folder, document, root)
    _remove(folder, f".{RENEWAL}.????????.tmp")
    for name in (RESTORING, f"{RESTORING}-journal", REKEYING, f"{REKEYING}-journal"):
        (folder / name).unlink(missing_ok=True)
    _remove(folder, f".{RESERVE}.????????.tmp")
    sweep_replaced(folder)
    secret = Path(document.host_secret_path)
    for path in (secret, own_secret_path(secret.parent, document.keystore_id)):
        _remove(path.parent, f".{path.name}.????????.tmp", older_than=_OLD)


def sweep_replaced(folder: Path) -> None:
    """Remove the second name of a keystore whose restore was killed before it replaced anything."""
    for kept in folder.glob("keystore-*.replaced.db"):
        with contextlib.suppress(OSError):
            if kept.samefile(folder / FILE_NAME):
                kept.unlink()


def sweep_backup(destination: Path) -> None:
    """Remove the temporary file of a killed backup. The keystore remembers the path of its last backup."""
    _remove(destination.parent, f".{destination.name}.????????.tmp")


def _forget_creation(folder: Path) -> None:
    with contextlib.suppress(TikTrueKeysError, OSError, ValueError):
        text = read_capped(folder / CREATING, _LIMIT, "the note of a creation").decode()
        keystore_id, _, marks = text.partition("\n")
        mark = mark_path(Path(marks), bytes.fromhex(keystore_id))
        mark.unlink(missing_ok=True)
        _remove(mark.parent, f".{mark.name}.????????.tmp")


def _remove(folder: Path, pattern: str, *, older_than: float = 0.0) -> None:
    with contextlib.suppress(OSError, ValueError):
        for leftover in folder.glob(_literal(pattern)):
            if time.time() - leftover.lstat().st_mtime >= older_than:
                leftover.unlink(missing_ok=True)


def _literal(pattern: str) -> str:
    """Return the pattern with the question marks as its only wildcards."""
    return pattern.replace("[", "[[]").replace("*", "[*]")
