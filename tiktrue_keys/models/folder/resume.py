"""Decides which finished files a resumed encryption reuses, so that a kill loses only the last batch of files.

A finished file is reused when its source still has the same size, time and content (BLAKE3), and its output is the
container that this keystore wrote for it, under a key that still opens it. Every other file is encrypted again under a
new data key. Encryption never resumes in the middle of a file, so no nonce is used twice.

Does not handle: the state file's format (folder/resume_state.py).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.errors import TikTrueKeysError
from tiktrue_keys.models.container.container import check_authorship, verify_body
from tiktrue_keys.models.container.data_key import held_keys
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.container.open import opened_container
from tiktrue_keys.models.folder.plain import sha256_of
from tiktrue_keys.models.folder.resume_state import DoneFile
from tiktrue_keys.models.folder.state import FolderState
from tiktrue_keys.models.folder.tree import SourceFile, blake3_of, stamp_of, walk
from tiktrue_keys.models.format.manifest import MANIFEST_NAME
from tiktrue_keys.models.pipeline.progress import ProgressReport, byte_report

RESUMABLE = "encrypt-folder-resumable"
_USABLE = (Status.PENDING, Status.ACTIVE, Status.ROTATING)


def seems_finished(file: SourceFile, target: Path, state: FolderState) -> bool:
    """Return whether a run would find a file finished, as far as metadata shows."""
    folder, done = state.folder, state.done.get(file.relative)
    if folder is None or done is None or folder.destination != str(target):
        return False
    same_kind = file.plain == (done.file_id is None)
    there = os.path.lexists(target.with_name(folder.temporary) / file.place)
    return same_kind and there and stamp_of(file) == (done.length, done.mtime_ns)


def is_finished(manager: KeyManager, file: SourceFile, done: DoneFile, place: Path, report: ProgressReport) -> bool:
    """Return whether the output of a file, at `place`, matches its source now. Reads both."""
    if stamp_of(file) != (done.length, done.mtime_ns) or blake3_of(file, report) != done.source_hash:
        return False
    try:
        if file.plain or done.file_id is None:
            return file.plain and done.file_id is None and sha256_of(place, done.length, report) == done.content
        with opened_container(place, done.content) as found:
            container = found.container
            check_authorship(container.header, container.body, container.trailer, issuers=[manager.issuer])
            verify_body(found.fd, container, progress=byte_report(report, None))
    except TikTrueKeysError:
        return False
    keys = held_keys(manager, container.header).values()
    same = container.header.file_id == done.file_id and container.length == done.length
    return same and any(key.status in _USABLE for key in keys)


def remove_strangers(root: Path, wanted: Collection[str]) -> list[bytes]:
    """Remove files below `root` that are not `wanted`; return the ids of the containers among them.

    They are gone from the source, or leftovers of a killed run.
    """
    removed = []
    for relative, path in list(walk(root)):
        if relative in wanted or relative == MANIFEST_NAME:
            continue
        with suppress(TikTrueKeysError):  # no container
            removed.append(slots_at(path).current.header.file_id)
        with foreign_os_errors("the output", path):
            path.unlink()
    for folder, folders, files in os.walk(root, topdown=False):
        if not folders and not files and Path(folder) != root:
            os.rmdir(folder)
    return removed
