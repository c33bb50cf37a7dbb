"""What of a folder is done while it is encrypted: in memory for one run, or in a file that the next run takes over.

The two have one interface, FolderState. Does not handle: the file (folder/resume_state.py), and whether what it says
of a finished file still holds (folder/resume.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.resume_state import DoneFile, ResumedFolder, ResumeState
from tiktrue_keys.models.folder.swap import FolderPlace, built_folder
from tiktrue_keys.models.folder.tree import SourceFile
from tiktrue_keys.models.format.manifest import ManifestEntry
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.storage.location import recorded_path


class FolderState(Protocol):
    """Which folder is being made, and which of its files an earlier run has finished."""

    @property
    def kept(self) -> bool:
        """Whether finished files outlive a run that fails."""

    @property
    def folder(self) -> ResumedFolder | None:
        """The folder that was begun; None before `begin`."""

    @property
    def done(self) -> Mapping[str, DoneFile]:
        """The files that are known to be finished, by relative path."""

    def begin(self, folder: ResumedFolder) -> None:
        """Begin a folder, or take up the one that was begun; RefusedError when that is another one."""

    def built(self, place: FolderPlace) -> AbstractContextManager[Path]:
        """The temporary folder, to be filled and then swapped in."""

    def finish(self, file: SourceFile, make: Callable[[], ManifestEntry], report: ProgressReport) -> ManifestEntry:
        """Make a file and remember that it is finished; several threads may."""

    def remove(self) -> None:
        """The folder has its name: nothing is left to remember."""


@dataclass
class MemoryState:
    """Ends with the run: after a failure nothing of the folder stays."""

    kept: ClassVar[bool] = False
    done: ClassVar[Mapping[str, DoneFile]] = {}
    folder: ResumedFolder | None = None

    def begin(self, folder: ResumedFolder) -> None:
        self.folder = folder

    def built(self, place: FolderPlace) -> AbstractContextManager[Path]:
        return built_folder(place)

    def finish(self, file: SourceFile, make: Callable[[], ManifestEntry], report: ProgressReport) -> ManifestEntry:
        return make()  # no run will ask later what it was made of, so its source is not read twice

    def remove(self) -> None:
        self.folder = None


@contextmanager
def opened_state(request: FolderRequest, root: Path) -> Iterator[FolderState]:
    """The state of an encryption of the folder `root`; raises as ResumeState.open, RefusedError for a file in it."""
    if request.resume is None:
        yield MemoryState()
        return
    path = Path(recorded_path(request.resume))
    if path.is_relative_to(root):
        raise RefusedError(f"{shown(path)} lies in the folder that is to be encrypted", "choose another place")
    with ResumeState.open(path) as state:
        yield state


def seen_state(request: FolderRequest) -> FolderState:
    """The same, only to look at: no file is made, locked or mended."""
    found = ResumeState.read(Path(request.resume)) if request.resume is not None else None
    return MemoryState() if found is None else found
