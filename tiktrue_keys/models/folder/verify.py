"""Verifies an encrypted folder: its manifest, its completeness, and every container in it. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.keys.authority import Signer
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice, each_once
from tiktrue_keys.models.container.data_key import asked_once
from tiktrue_keys.models.container.released import check_folder
from tiktrue_keys.models.file.decrypt import ReadOptions
from tiktrue_keys.models.file.verify import Verified, verify_expected
from tiktrue_keys.models.folder.compare import must_be_complete
from tiktrue_keys.models.folder.job import open_beforehand
from tiktrue_keys.models.folder.manifest_file import signed_by
from tiktrue_keys.models.folder.plain import checked_plain
from tiktrue_keys.models.folder.tree import real_folder
from tiktrue_keys.models.format.manifest import ManifestEntry, PlainEntry
from tiktrue_keys.models.pipeline.parallel import Task, side_by_side
from tiktrue_keys.models.pipeline.progress import ProgressReport


@dataclass(frozen=True)
class VerifiedFolder:
    """A valid folder; `plain` are the files in clear, `length` the bytes of plaintext of all files."""

    path: Path
    files: tuple[Verified, ...]
    plain: tuple[str, ...]
    length: int
    checks: tuple[str, ...]
    signer: Signer
    warnings: tuple[Notice, ...] = ()


def verify_folder(
    manager: KeyManager,
    path: str | PathLike[str],
    *,
    license_key: License | None = None,
    allow_deprecated: bool = False,
    allow_unsigned: bool = False,
    allow_superseded: bool = False,
    jobs: int | None = None,
    progress: ProgressReport | None = None,
) -> VerifiedFolder:
    """Check the manifest, that the folder holds what it lists and nothing else, and every container as verify_model.

    `jobs` files at once, as side_by_side.
    """
    license_key, folder = asked_once(license_key), real_folder(path)
    options = ReadOptions(allow_deprecated, allow_unsigned, allow_superseded)
    manifest, signer = signed_by(manager, folder)
    warned = check_folder(manager, manifest, folder, options.releases())
    must_be_complete(folder, manifest, hashes=False)
    open_beforehand(manager, folder, manifest, license_key, options.use)

    def verify(entry: ManifestEntry, report: ProgressReport) -> Verified | None:
        if isinstance(entry, PlainEntry):
            checked_plain(folder, entry, report)
            return None
        place, listed = folder / entry.place, manifest.listed(entry)
        return verify_expected(manager, place, listed, license_key, options, report)

    tasks = [Task(entry.length, partial(verify, entry)) for entry in manifest.files]
    files = [found for found in side_by_side(tasks, jobs=jobs, progress=progress) if found is not None]
    return VerifiedFolder(
        path=folder,
        files=tuple(files),
        plain=tuple(entry.path for entry in manifest.plain),
        length=manifest.length,
        checks=(f"{signer} signed the manifest", "the folder holds every listed file, intact, and no other"),
        warnings=(*each_once(notice for verified in files for notice in verified.warnings), *warned),
        signer=signer,
    )
