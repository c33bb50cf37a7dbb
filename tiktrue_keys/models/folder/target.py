"""The target of a new encrypted folder, filled file by file with the manifest last: on a disk, or in object storage.

Both implement FolderTarget; the target in object storage is in folder/upload.py. On a disk the folder has no name until
everything in it is on stable storage, so its files need neither intents nor syncs of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from tiktrue_keys.core.containers.settlement import NO_OTHERS, NewContainer, NewContainers, Settlement
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.outputs import OutputGate
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.errors import TikTrueKeysError
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.file.encrypt import Encrypted
from tiktrue_keys.models.folder.job import FolderJob, replaceable
from tiktrue_keys.models.folder.manifest_file import lies_there, write_manifest
from tiktrue_keys.models.folder.new_folder import new_folder
from tiktrue_keys.models.folder.plain import copy_through
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.resume import remove_strangers
from tiktrue_keys.models.folder.resume_state import DoneFile, ResumedFolder
from tiktrue_keys.models.folder.sealer import FileSealer, new_container
from tiktrue_keys.models.folder.state import FolderState
from tiktrue_keys.models.folder.swap import FolderPlace, make_parents, must_be_free, swap_in
from tiktrue_keys.models.folder.tree import SourceFile
from tiktrue_keys.models.format.header import SUFFIX, new_file_id
from tiktrue_keys.models.format.manifest import ContainerEntry, Manifest, ManifestEntry, PlainEntry
from tiktrue_keys.models.pipeline.parallel import Task, side_by_side
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.registry.intent import FileOutcome
from tiktrue_keys.models.storage.location import Url, local_path, recorded_path
from tiktrue_keys.models.storage.unsynced import NewUnsynced, UnsyncedFiles

_Made = TypeVar("_Made", Encrypted, PlainEntry)
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

    def encrypt(self, job: FolderJob, file: SourceFile, report: ProgressReport) -> Encrypted:
        """Encrypt a file; return its container."""

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
class Finished:
    """A file that waits for its sync: what it is, the container at its place before, its line of the state."""

    made: Encrypted | PlainEntry
    before: bytes | None
    done: DoneFile | None


@dataclass(frozen=True)
class _Filling:
    """What a folder on a disk is filled with while its operation is recorded."""

    files: UnsyncedFiles[Finished]
    sealer: FileSealer


@dataclass
class DiskTarget:
    """A folder on a disk, built under a temporary name beside its destination."""

    manager: KeyManager
    root: Path
    place: FolderPlace
    folder_id: bytes
    state: FolderState
    force: bool
    _filling: _Filling | None = None
    _named: bool = False

    @classmethod
    def of(cls, manager: KeyManager, request: FolderRequest, root: Path, state: FolderState) -> DiskTarget:
        """Return the target for the source folder `root`. A resumed run keeps its temporary name and folder id."""
        destination, begun = destination_of(request, root), state.folder
        if begun is None:
            return cls(manager, root, FolderPlace.beside(destination), new_file_id(), state, request.force)
        place = FolderPlace(destination, destination.with_name(begun.temporary))
        return cls(manager, root, place, begun.folder_id, state, request.force)

    @property
    def destination(self) -> Path:
        return self.place.destination

    def must_be_free(self) -> tuple[bytes, ...]:
        gate = self.manager.output_gate()
        if not self.force:
            must_be_free(self.destination, None, gate)
            return ()
        replaced = replaceable(self.manager, self.destination)
        must_be_free(self.destination, replaced.kinds, gate)
        return replaced.file_ids

    def begin(self, model_id: str) -> None:
        source, destination, temporary = str(self.root), str(self.destination), self.place.temporary.name
        self.state.begin(ResumedFolder(source, destination, temporary, self.folder_id, model_id))

    @contextmanager
    def recorded(self, job: FolderJob, asked: OperationRequest, files: Sequence[Encrypted]) -> Iterator[FileOutcome]:
        intent = job.intent(asked.operation, self.folder_id, self.destination, self.place.temporary)
        settle, built = partial(self._settlement, job, files), self.state.built
        with new_folder(job.manager, intent, self.place, asked, settle=settle, built=built) as outcome:
            gone = remove_strangers(self.place.temporary, {file.place for file in job.tree.files})
            job.manager.settle_part(outcome.operation_id, Settlement(gone=gone))
            with self._filled(job, outcome.operation_id):
                yield outcome

    def place_of(self, file: SourceFile) -> Path:
        return self.place.temporary / file.place

    def encrypt(self, job: FolderJob, file: SourceFile, report: ProgressReport) -> Encrypted:
        sealer, named = self._filling_now.sealer, self.destination / file.place
        return self._make(file, report, lambda new: sealer.seal(file, new.fd, named, report))

    def copy(self, file: SourceFile, report: ProgressReport) -> PlainEntry:
        return self._make(file, report, lambda new: copy_through(file, new.write, report))

    def each(self, tasks: Sequence[Task[ManifestEntry]], request: FolderRequest) -> list[ManifestEntry]:
        entries = side_by_side(tasks, jobs=request.jobs, progress=request.progress)
        self._filling_now.files.sync()
        return entries

    def complete(self, manager: KeyManager, manifest: Manifest) -> None:
        write_manifest(manager, self.place.temporary, manifest, again=self.state.kept)
        self.must_be_free()  # once more: encrypting may have taken hours
        swap_in(self.place)
        self._named = True

    @property
    def _filling_now(self) -> _Filling:
        assert self._filling is not None, "the folder is filled while it is recorded"
        return self._filling

    @contextmanager
    def _filled(self, job: FolderJob, operation_id: str) -> Iterator[None]:
        files = UnsyncedFiles(partial(self._synced, job.manager, operation_id))
        sealer = FileSealer(job, operation_id)
        self._filling = _Filling(files, sealer)
        try:
            yield
        except BaseException:
            if self.state.kept:
                with suppress(TikTrueKeysError):  # what went wrong first is what the caller must hear
                    files.sync()
            raise
        finally:
            files.close()
            sealer.close()
            self._filling = None

    def _make(self, file: SourceFile, report: ProgressReport, write: Callable[[NewUnsynced[Finished]], _Made]) -> _Made:
        """Make a file with `write`, and let it wait for the next sync."""
        seen, path = self.state.look(file, report), make_parents(self.place.temporary, file.place)
        before = _removed(path) if self.state.kept else None
        with self._filling_now.files.new(path, file.size) as new:
            made = write(new)
            new.keep(Finished(made, before, self.state.finished(entry_of(file, made), file, seen)))
        return made

    def _synced(self, manager: KeyManager, operation_id: str, batch: Sequence[Finished]) -> None:
        """Record a batch of files whose bytes are on stable storage, for a run that may have to be resumed."""
        if self.state.kept:
            now, sealed = manager.now(), [each.made for each in batch if isinstance(each.made, Encrypted)]
            rows = [new_container(made, self._unnamed(made), now, self.manager.node_id) for made in sealed]
            before = [each.before for each in batch if each.before is not None]
            manager.settle_part(operation_id, Settlement(made=rows, gone=before))
            self.state.add([each.done for each in batch if each.done is not None])
        self._filling_now.sealer.renew()

    def _settlement(self, job: FolderJob, files: Sequence[Encrypted]) -> Settlement:
        """Return the registry's changes after the folder was named; none when it was not."""
        # After a failure only the manifest that lies there tells; that of 20,000 files takes 20 MB to read.
        if not self._named and not lies_there(self.destination, self.folder_id):
            return NO_OTHERS
        now, ids, here = job.manager.now(), {made.file_id for made in files}, job.manager.node_id

        def row(made: Encrypted) -> NewContainer:
            return new_container(made, made.destination, now, here)

        gone = [file_id for file_id in job.replaced if file_id not in ids]
        return Settlement(made=NewContainers(files, row), gone=gone)

    def _unnamed(self, made: Encrypted) -> Path:
        """Return where a container lies until the folder has its name."""
        return self.place.temporary / Path(str(made.destination)).relative_to(self.destination)


def entry_of(file: SourceFile, made: Encrypted | PlainEntry) -> ManifestEntry:
    """Return the manifest's entry of a file that was made."""
    if isinstance(made, PlainEntry):
        return made
    return ContainerEntry(file.relative, made.length, made.file_id, made.root)


def _removed(path: Path) -> bytes | None:
    """Remove what an earlier run left at `path`; return the file id of a container."""
    if not os.path.lexists(path):
        return None
    file_id = None
    with suppress(TikTrueKeysError):  # no container
        file_id = slots_at(path).current.header.file_id
    with foreign_os_errors("the output", path):
        path.unlink()
    return file_id
