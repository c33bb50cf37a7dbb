"""Files of this machine as a Storage (protocol.py): opening them, the header in their first 64 KiB, folders.

Does not handle: what is in the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tiktrue_keys.core.durable import opened_regular, read_capped
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.storage.header_file import read_slots

_Result = TypeVar("_Result")
_CONTAINER = "the container"


@dataclass(frozen=True)
class FileStorage:
    """A path; its methods are described in protocol.py."""

    place: Path

    @property
    def group(self) -> str:
        return str(self.place)

    def real(self, what: str) -> FileStorage:
        with foreign_os_errors(what, self.place):
            return FileStorage(Path(os.path.realpath(self.place, strict=True)))

    def opened(self, what: str) -> AbstractContextManager[int]:
        return opened_regular(self.place, what)

    def exists(self) -> bool:
        return self.place.exists()

    def is_folder(self) -> bool:
        return self.place.is_dir()

    def read_capped(self, limit: int, what: str) -> bytes:
        return read_capped(self.place, limit, what)

    def below(self, suffix: str) -> Iterator[Path]:
        with foreign_os_errors("the folder", self.place):
            root = Path(os.path.realpath(self.place, strict=True))
        if not root.is_dir():
            raise UsageError(f"{self.place} is not a folder")
        for folder, folders, files in os.walk(root):
            folders.sort()
            for name in sorted(files):
                path = Path(folder, name)
                if name.endswith(suffix) and not path.is_symlink():
                    yield path

    def slots(self) -> HeaderSlots:
        with opened_regular(self.place, _CONTAINER) as fd, foreign_os_errors(_CONTAINER, self.place):
            return read_slots(fd)

    def detached(self, file_id: bytes) -> None:
        return None

    def promptly(self, work: Callable[[], _Result]) -> _Result:
        return work()
