"""Plans the encryption of a folder, with the files that a resumed run would reuse, without reading file contents."""

from __future__ import annotations

from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.models.file.plan import COPY, DONE, ENCRYPT, EncryptionPlan, PlannedFile
from tiktrue_keys.models.folder.job import planned_folder
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.resume import seems_finished
from tiktrue_keys.models.folder.state import FolderState, seen_state
from tiktrue_keys.models.folder.target import DiskTarget, checked_gate
from tiktrue_keys.models.folder.tree import SourceFile, real_folder


def plan_folder(manager: KeyManager, request: FolderRequest) -> EncryptionPlan:
    """Return the plan of encrypt_folder. Raises the same errors."""
    root, state = real_folder(request.source), seen_state(request)
    checked_gate(manager, request, root)
    target = DiskTarget.of(manager, request, root, state)
    job = planned_folder(manager, request, root, target.must_be_free)
    files = tuple(PlannedFile(file.relative, file.size, _action(file, target, state)) for file in job.tree.files)
    return EncryptionPlan(root, target.destination, job.key, files, job.tree.left_out)


def _action(file: SourceFile, target: DiskTarget, state: FolderState) -> str:
    if seems_finished(file, target.destination, state):
        return DONE
    return COPY if file.plain else ENCRYPT
