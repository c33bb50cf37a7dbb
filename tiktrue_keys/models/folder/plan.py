"""Reports what encrypting a folder would do, and what a resumed run would take over, without reading file contents."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.models.file.plan import COPY, DONE, ENCRYPT, EncryptionPlan, PlannedFile
from tiktrue_keys.models.folder.job import planned_folder
from tiktrue_keys.models.folder.resume import seems_finished
from tiktrue_keys.models.folder.resume_state import ResumeState
from tiktrue_keys.models.folder.tree import Selection


def plan_folder(
    manager: KeyManager,
    source: str | PathLike[str],
    destination: str | PathLike[str] | None = None,
    *,
    key: str,
    license_key: License | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    plain: Sequence[str] = (),
    resume: str | PathLike[str] | None = None,
    force: bool = False,
) -> EncryptionPlan:
    """What encrypt_folder would do, or a run that resumes; raises as they."""
    selection = Selection(include, exclude, plain)
    job = planned_folder(manager, source, destination, key, license_key, selection, force=force, progress=None)
    state = ResumeState.read(Path(resume)) if resume is not None else None
    files = []
    for file in job.tree.files:
        action = COPY if file.plain else ENCRYPT
        if state is not None and seems_finished(file, job.target, state):
            action = DONE
        files.append(PlannedFile(file.relative, file.size, action))
    return EncryptionPlan(job.root, job.target, job.key, tuple(files), job.tree.left_out)
