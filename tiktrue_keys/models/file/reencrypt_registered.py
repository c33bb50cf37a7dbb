"""Re-encrypts every registered container of some keys, as after a leak: a container of a folder with its whole folder.

Come here for `reencrypt-model --from KEY --all`. One that fails does not hold up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError, TikTrueKeysError, UnavailableError

PART_OF_FOLDER = "part-of-folder"


@dataclass(frozen=True)
class ReencryptEnding:
    """What became of a container: the path that was encrypted again (the folder's where it lies in one), or why not."""

    record: ContainerRecord
    path: str
    error: TikTrueKeysError | None = None


def containers_under(manager: KeyManager, keys: Iterable[str]) -> list[ContainerRecord]:
    """Return the registered containers that these keys (key ids) open, by path, without those archived."""
    found = {(record.file_id, record.path): record for key_id in keys for record in manager.containers(key_id)}
    return sorted(
        (record for record in found.values() if record.archived_at is None),
        key=lambda record: (record.path, record.file_id),
    )


def reencrypt_registered(
    records: Iterable[ContainerRecord], file: Callable[[Path], object], folder: Callable[[Path], object]
) -> Iterator[ReencryptEnding]:
    """Yield what becomes of each container; `file` encrypts one again, and `folder` an encrypted folder."""
    done: dict[str, TikTrueKeysError | None] = {}
    for record in records:
        if not record.path:
            words = "it was written to a pipe: its location is unknown"
            error: TikTrueKeysError | None = UnavailableError(
                words, "scan the folder where it is now", remedy="scan-for-container"
            )
            yield ReencryptEnding(record, "", error)
            continue
        above = next((each for each in done if Path(record.path).is_relative_to(each)), None)
        if above is not None:
            yield ReencryptEnding(record, above, done[above])
            continue
        error = _error_of(file, Path(record.path))
        if isinstance(error, RefusedError) and error.remedy == PART_OF_FOLDER:
            whole = error.about["folder"]
            done[whole] = _error_of(folder, Path(whole))
            yield ReencryptEnding(record, whole, done[whole])
        else:
            yield ReencryptEnding(record, record.path, error)


def _error_of(call: Callable[[Path], object], path: Path) -> TikTrueKeysError | None:
    try:
        call(path)
    except TikTrueKeysError as error:
        return error
    return None
