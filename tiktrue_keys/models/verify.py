"""Verifies all of a container: header, signature, every leaf, every tag. Writes nothing, records nothing."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.acts.licenses import License
from tiktrue_keys.core.lifecycle import ManagedKey
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.models.container import Authorship, check_root
from tiktrue_keys.models.container_source import OpenedContainer, opened_container, unlock
from tiktrue_keys.models.data_keys import OpenedDataKey, asked_once
from tiktrue_keys.models.decrypt import ReadOptions, unsigned_notice
from tiktrue_keys.models.decrypt_folder import each_once, open_beforehand, real_folder, trusted_manifest
from tiktrue_keys.models.file_acts import ProgressReport, counted
from tiktrue_keys.models.folder_tree import checked_plain, must_be_complete
from tiktrue_keys.models.manifest import Entry, PlainEntry
from tiktrue_keys.models.pipeline import open_body, threads_for
from tiktrue_keys.models.places import Place, Url, object_place
from tiktrue_keys.models.side_by_side import Task, side_by_side

INTERRUPTED = "interrupted-rewrap"


@dataclass(frozen=True)
class Verified:
    """A container in which nothing is wrong; `checks` says in sentences what was held against what."""

    path: Place
    file_id: bytes
    key: ManagedKey
    length: int
    segments: int
    root: bytes
    signed: bool
    checks: tuple[str, ...]
    warnings: tuple[Notice, ...] = ()


def verify_model(
    manager: KeyManager,
    path: str | PathLike[str] | Url,
    *,
    license_key: License | None = None,
    allow_deprecated: bool = False,
    allow_unsigned: bool = False,
    expected_root: bytes | None = None,
    progress: ProgressReport | None = None,
) -> Verified:
    """Check everything that decrypt_model would, without releasing a byte; raises as it for the first thing wrong."""
    options = ReadOptions(allow_deprecated, allow_unsigned)
    with opened_container(object_place(path), expected_root) as found:
        opened, authorship = unlock(manager, found, license_key, options.use, allow_unsigned=allow_unsigned)
        with opened:
            _verify_body(found, opened, progress)
            return _verified(found, opened, authorship)


@dataclass(frozen=True)
class VerifiedFolder:
    """A folder in which nothing is wrong; `plain` are the files in clear, `length` bytes of plaintext of all."""

    path: Path
    files: tuple[Verified, ...]
    plain: tuple[str, ...]
    length: int
    checks: tuple[str, ...]
    warnings: tuple[Notice, ...] = ()


def verify_folder(
    manager: KeyManager,
    path: str | PathLike[str],
    *,
    license_key: License | None = None,
    allow_deprecated: bool = False,
    allow_unsigned: bool = False,
    jobs: int | None = None,
    progress: ProgressReport | None = None,
) -> VerifiedFolder:
    """Check the manifest, that the folder holds what it lists and nothing else, and every container as verify_model.

    `jobs` files at once, as side_by_side.
    """
    license_key, folder = asked_once(license_key), real_folder(path)
    manifest = trusted_manifest(manager, folder)
    must_be_complete(folder, manifest, hashes=False)
    open_beforehand(manager, folder, manifest, license_key, ReadOptions(allow_deprecated, allow_unsigned).use)

    def verify(entry: Entry, report: ProgressReport) -> Verified | None:
        if isinstance(entry, PlainEntry):
            checked_plain(folder, entry, report)
            return None
        return verify_model(
            manager,
            folder / entry.place,
            license_key=license_key,
            allow_deprecated=allow_deprecated,
            allow_unsigned=allow_unsigned,
            expected_root=entry.root,
            progress=report,
        )

    tasks = [Task(entry.length, partial(verify, entry)) for entry in manifest.files]
    files = [found for found in side_by_side(tasks, jobs=jobs, progress=progress) if found is not None]
    return VerifiedFolder(
        path=folder,
        files=tuple(files),
        plain=tuple(entry.path for entry in manifest.plain),
        length=sum(entry.length for entry in manifest.files),
        checks=("this keystore signed the manifest", "every file of it is there, whole, and no other"),
        warnings=each_once(notice for verified in files for notice in verified.warnings),
    )


class _Nowhere:
    """A sink that keeps nothing: the pipeline zeroes its buffers itself."""

    def preface(self, data: bytes) -> None:
        pass

    def put(self, index: int, view: memoryview, stop: threading.Event) -> None:
        pass

    def wake(self) -> None:
        pass


def _verify_body(found: OpenedContainer, opened: OpenedDataKey, progress: ProgressReport | None) -> None:
    container = found.container
    with foreign_os_errors("the container", str(found.path)):
        summary = open_body(
            container.source(found.fd),
            _Nowhere(),
            container.cipher(opened.secret.view),
            container.geometry,
            leaves=container.trailer.leaves,
            threads=threads_for(found.fd),
            progress=counted(progress, container.length),
        )
    check_root(container, container.trailer, summary)
    if progress is not None:
        progress(container.length, container.length)


def _verified(found: OpenedContainer, opened: OpenedDataKey, authorship: Authorship) -> Verified:
    container, signed = found.container, authorship is Authorship.SIGNED
    warnings = list(opened.notices)
    checks = ["the header is authentic under the data key"]
    if signed:
        checks.append("this keystore signed file id, names, length and root")
    else:
        warnings.append(unsigned_notice())
    checks.append(f"every one of {container.trailer.segments} segments has its leaf, its tag and its place in the root")
    if not container.slots.equal:
        words = "the header's two copies differ: a rewrap was interrupted; rewrap-model finishes it"
        warnings.append(Notice(INTERRUPTED, words))
    return Verified(
        path=found.path,
        file_id=container.header.file_id,
        key=opened.key,
        length=container.length,
        segments=container.trailer.segments,
        root=container.root,
        signed=signed,
        checks=tuple(checks),
        warnings=tuple(warnings),
    )
