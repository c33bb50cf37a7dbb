"""Reports what encrypting a folder would do, and what a resumed run would take over, without reading file contents."""

from __future__ import annotations

from pathlib import Path

from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.models.file.plan import COPY, DONE, ENCRYPT, EncryptionPlan, PlannedFile
from tiktrue_keys.models.folder.job import planned_folder
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.resume import seems_finished
from tiktrue_keys.models.folder.resume_state import ResumeState


def plan_folder(manager: KeyManager, request: FolderRequest) -> EncryptionPlan:
    """What encrypt_folder would do, or a run that resumes; raises as they."""
    job = planned_folder(manager, request)
    state = ResumeState.read(Path(request.resume)) if request.resume is not None else None
    files = []
    for file in job.tree.files:
        action = COPY if file.plain else ENCRYPT
        if state is not None and seems_finished(file, job.target, state):
            action = DONE
        files.append(PlannedFile(file.relative, file.size, action))
    return EncryptionPlan(job.root, job.target, job.key, tuple(files), job.tree.left_out)
