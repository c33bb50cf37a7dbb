"""The progress of a folder's encryption: in memory for one run, or in a file that the next run resumes from.

Both implement FolderState. Does not handle: the file (folder/resume_state.py); whether a finished file is still valid
(folder/resume.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from tiktrue_keys.core.outputs import OutputGate
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.resume_state import DoneFile, ResumedFolder, ResumeState, SourceSeen
from tiktrue_keys.models.folder.swap import FolderPlace, built_folder
from tiktrue_keys.models.folder.tree import SourceFile
from tiktrue_keys.models.format.manifest import ManifestEntry
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.storage.location import recorded_path


class FolderState(Protocol):
    """The folder being made, and the files of it that an earlier run has finished."""

    @property
    def kept(self) -> bool:
        """Return whether finished files survive a run that fails."""

    @property
    def folder(self) -> ResumedFolder | None:
        """Return the folder that was begun; None before `begin`."""

    @property
    def done(self) -> Mapping[str, DoneFile]:
        """Return the files recorded as finished, by relative path."""

    def begin(self, folder: ResumedFolder) -> None:
        """Begin a folder, or resume the one that was begun. Raises RefusedError when that is another folder."""

    def built(self, place: FolderPlace) -> AbstractContextManager[Path]:
        """Yield the temporary folder, to be filled and then swapped in."""

    def look(self, file: SourceFile, report: ProgressReport) -> SourceSeen | None:
        """Return what a source is before it is read, for `finished`; None where nothing is recorded of it."""

    def finished(self, entry: ManifestEntry, file: SourceFile, seen: SourceSeen | None) -> DoneFile | None:
        """Return what to record of a finished file. Raises UnavailableError when the source changed meanwhile."""

    def add(self, done: Sequence[DoneFile]) -> None:
        """Record files as finished, whose outputs are on stable storage."""

    def remove(self) -> None:
        """Discard the state after the folder has its name."""


@dataclass
class MemoryState:
    """A state for one run. A failure leaves nothing of the folder."""

    kept: ClassVar[bool] = False
    done: ClassVar[Mapping[str, DoneFile]] = {}
    folder: ResumedFolder | None = None

    def begin(self, folder: ResumedFolder) -> None:
        self.folder = folder

    def built(self, place: FolderPlace) -> AbstractContextManager[Path]:
        return built_folder(place)

    def look(self, file: SourceFile, report: ProgressReport) -> None:
        return None  # no run will ask later what it was made of, so its source is not read twice

    def finished(self, entry: ManifestEntry, file: SourceFile, seen: SourceSeen | None) -> None:
        return None

    def add(self, done: Sequence[DoneFile]) -> None:
        pass

    def remove(self) -> None:
        self.folder = None


@contextmanager
def opened_state(request: FolderRequest, gate: OutputGate) -> Iterator[FolderState]:
    """Yield the state of a folder's encryption. Raises RefusedError for a state file that the gate refuses."""
    if request.resume is None:
        yield MemoryState()
        return
    path = Path(recorded_path(request.resume))
    gate.check(path)
    with ResumeState.open(path) as state:
        yield state


def seen_state(request: FolderRequest) -> FolderState:
    """Return the state for reading: does not create, lock or repair the file."""
    found = ResumeState.read(Path(request.resume)) if request.resume is not None else None
    return MemoryState() if found is None else found
