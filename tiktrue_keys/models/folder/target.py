"""The target of a new encrypted folder, filled file by file with the manifest last: on a disk, or in object storage.

Both implement FolderTarget; the target in object storage is in folder/upload.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from tiktrue_keys.core.containers.settlement import Settlement
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.outputs import OutputGate
from tiktrue_keys.models.file.encrypt import Encrypted
from tiktrue_keys.models.folder.job import FolderJob, replaceable, settlement
from tiktrue_keys.models.folder.manifest_file import write_manifest
from tiktrue_keys.models.folder.new_folder import new_folder
from tiktrue_keys.models.folder.plain import copy_into
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.resume import remove_strangers
from tiktrue_keys.models.folder.resume_state import ResumedFolder
from tiktrue_keys.models.folder.state import FolderState
from tiktrue_keys.models.folder.swap import FolderPlace, make_parents, must_be_free, swap_in
from tiktrue_keys.models.folder.tree import SourceFile
from tiktrue_keys.models.format.header import SUFFIX, new_file_id
from tiktrue_keys.models.format.manifest import Manifest, ManifestEntry, PlainEntry
from tiktrue_keys.models.pipeline.parallel import Task, side_by_side
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.registry.intent import FileOutcome
from tiktrue_keys.models.storage.location import Url, local_path, recorded_path

AnyPlace_co = TypeVar("AnyPlace_co", bound=Path | Url, covariant=True)


class FolderTarget(Protocol[AnyPlace_co]):
    """A destination for an encrypted folder that is being made. `folder_id` is 16 bytes."""

    @property
    def destination(self) -> AnyPlace_co:
        """Return the path or URL of the new folder."""

    @property
    def folder_id(self) -> bytes: ...

    @property
    def state(self) -> FolderState:
        """Return the progress."""

    def must_be_free(self) -> tuple[bytes, ...]:
        """Return the file ids of the containers to replace. Raises RefusedError when the destination is taken."""

    def begin(self, model_id: str) -> None:
        """Record which folder is being made. Raises RefusedError when an earlier run made another one."""

    def recorded(
        self, job: FolderJob, asked: OperationRequest, files: Sequence[Encrypted]
    ) -> AbstractContextManager[FileOutcome]:
        """Record the folder; the block fills and completes it, and appends to `files`."""

    def place_of(self, file: SourceFile) -> AnyPlace_co:
        """Return the path or URL that a file's container is written to."""

    def copy(self, file: SourceFile, report: ProgressReport) -> PlainEntry:
        """Copy a file in clear; return its entry."""

    def each(self, tasks: Sequence[Task[ManifestEntry]], request: FolderRequest) -> list[ManifestEntry]:
        """Process every file; return the entries."""

    def complete(self, manager: KeyManager, manifest: Manifest) -> None:
        """Write the manifest and give the folder its name."""


def destination_of(request: FolderRequest, root: Path) -> Path:
    """Return the path of the encrypted form of the folder `root`. Raises UsageError for a URL."""
    given = request.destination
    named = root.with_name(root.name + SUFFIX) if given is None else local_path(given, "an encrypted folder")
    return Path(recorded_path(named))


def checked_gate(manager: KeyManager, request: FolderRequest, root: Path) -> OutputGate:
    """Return the gate for what encrypting the folder `root` writes. Raises RefusedError when it refuses the folder."""
    gate = manager.output_gate().also("the folder to encrypt", root)
    gate.check(destination_of(request, root))
    return gate


@dataclass(frozen=True)
class DiskTarget:
    """A folder on a disk, built under a temporary name beside its destination."""

    root: Path
    place: FolderPlace
    folder_id: bytes
    state: FolderState
    force: bool

    @classmethod
    def of(cls, request: FolderRequest, root: Path, state: FolderState) -> DiskTarget:
        """Return the target for the source folder `root`. A resumed run keeps its temporary name and folder id."""
        destination, begun = destination_of(request, root), state.folder
        if begun is None:
            return cls(root, FolderPlace.beside(destination), new_file_id(), state, request.force)
        place = FolderPlace(destination, destination.with_name(begun.temporary))
        return cls(root, place, begun.folder_id, state, request.force)

    @property
    def destination(self) -> Path:
        return self.place.destination

    def must_be_free(self) -> tuple[bytes, ...]:
        if not self.force:
            must_be_free(self.destination, None)
            return ()
        replaced = replaceable(self.destination)
        must_be_free(self.destination, frozenset(replaced.places))
        return replaced.file_ids

    def begin(self, model_id: str) -> None:
        source, destination, temporary = str(self.root), str(self.destination), self.place.temporary.name
        self.state.begin(ResumedFolder(source, destination, temporary, self.folder_id, model_id))

    @contextmanager
    def recorded(self, job: FolderJob, asked: OperationRequest, files: Sequence[Encrypted]) -> Iterator[FileOutcome]:
        intent = job.intent(asked.operation, self.folder_id, self.destination, self.place.temporary)

        def settle() -> Settlement:
            made = () if self.state.kept else [made.file_id for made in files]
            return settlement(self.destination, self.folder_id, job.replaced, made)

        built = self.state.built
        with new_folder(job.manager, intent, self.place, asked, settle=settle, built=built) as outcome:
            remove_strangers(job.manager, self.place.temporary, {file.place for file in job.tree.files})
            yield outcome

    def place_of(self, file: SourceFile) -> Path:
        return make_parents(self.place.temporary, file.place)

    def copy(self, file: SourceFile, report: ProgressReport) -> PlainEntry:
        return copy_into(file, self.place.temporary, report, again=self.state.kept)

    def each(self, tasks: Sequence[Task[ManifestEntry]], request: FolderRequest) -> list[ManifestEntry]:
        return side_by_side(tasks, jobs=request.jobs, progress=request.progress)

    def complete(self, manager: KeyManager, manifest: Manifest) -> None:
        write_manifest(manager, self.place.temporary, manifest, again=self.state.kept)
        swap_in(self.place)
