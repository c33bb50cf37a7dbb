"""What an operation on a folder looks at before it begins, and what the registry is told afterwards.

Does not handle: in which order and under which name a folder is built (folder/encrypt.py, folder/target.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.core.containers.intents import FileIntent, Settlement
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import TikTrueKeysError
from tiktrue_keys.models.container.data_key import asked_once, open_data_key
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.folder.manifest_file import lies_there, read_manifest, trusted_manifest
from tiktrue_keys.models.folder.new_folder import folder_intent
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.tree import SourceTree, entries_of, source_tree
from tiktrue_keys.models.format.header import safe_name
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, Manifest, ManifestEntry
from tiktrue_keys.models.registry.intent import FinishedAct
from tiktrue_keys.models.storage.location import Place, parse_place

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Replaced:
    """The encrypted folder that --force replaces: its places, and the ids of its containers."""

    places: tuple[str, ...]
    file_ids: tuple[bytes, ...]


@dataclass(frozen=True)
class FolderJob:
    """What is to be encrypted, under which key, in place of which containers (`replaced`, by file id).

    `license_key` is asked for once at most, unlike the request's.
    """

    manager: KeyManager
    request: FolderRequest
    root: Path
    tree: SourceTree
    key: ManagedKey
    license_key: License | None
    replaced: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """The folder's name as a manifest may have it."""
        return safe_name(self.root.name)

    def intent(self, operation: str, folder_id: bytes, destination: Place, temporary: Path | None) -> FileIntent:
        """The intent to make the encrypted folder at `destination`."""
        name, model_id = self.name, self.key.model_id
        return folder_intent(operation, folder_id, destination, temporary, model_id=model_id, name=name)

    def manifest(self, folder_id: bytes, entries: Sequence[ManifestEntry]) -> Manifest:
        """What the folder will hold."""
        return Manifest(folder_id, self.key.model_id, self.name, entries_of(entries))


def settlement(folder: Path, folder_id: bytes, replaced: Iterable[bytes], made: Iterable[bytes]) -> Settlement:
    """What the registry is told once a folder has its name: where its containers lie, and which ones it replaced.

    Where another folder, or none, lies there, the containers `made` for it are gone. All by file id.
    """
    if not lies_there(folder, folder_id):
        return Settlement(gone=list(made))
    moved = followed_folder(folder, read_manifest(folder).manifest)
    return Settlement(moved, [file_id for file_id in replaced if file_id not in moved])


def folder_made(manager: KeyManager, done: FinishedAct) -> tuple[Place, Manifest]:
    """Where the folder lies that an operation made before, and its manifest.

    RefusedError when another folder lies there now.
    """
    place = parse_place(done.path)
    manifest = trusted_manifest(manager, place)
    done.must_be(manifest.folder_id, "folder")
    return place, manifest


def planned_folder(
    manager: KeyManager, request: FolderRequest, root: Path, must_be_free: Callable[[], tuple[bytes, ...]]
) -> FolderJob:
    """What would be done with the folder `root`, with everything looked at that could refuse it.

    `must_be_free` looks at the place for the result and gives the file ids of the containers that go with it.
    """
    license_key, replaced = asked_once(request.license_key), must_be_free()
    tree = source_tree(root, request.selection)
    with manager.open_key(request.key, license_key, use=Use.ENCRYPT) as opened:
        return FolderJob(manager, request, root, tree, opened.key, license_key, replaced)


def followed_folder(folder: Path, manifest: Manifest) -> dict[bytes, str]:
    """Where the containers of a folder lie, by file id, for the registry."""
    return {entry.file_id: str(folder / entry.place) for entry in manifest.containers}


def forget_all(manager: KeyManager, file_ids: Iterable[bytes]) -> None:
    """Take containers that are gone out of the registry; one that cannot be keeps its key, no more."""
    for file_id in file_ids:
        with suppress(TikTrueKeysError):
            manager.forget(file_id)


def replaceable(target: Path) -> Replaced:
    """What may be replaced: nothing where there is no encrypted folder."""
    try:
        manifest = read_manifest(target).manifest
    except TikTrueKeysError:
        return Replaced((), ())
    places = (MANIFEST_NAME, *(entry.place for entry in manifest.files))
    return Replaced(places, tuple(entry.file_id for entry in manifest.containers))


def open_beforehand(
    manager: KeyManager, folder: Place, manifest: Manifest, license_key: License | None, use: Use
) -> ManagedKey:
    """Open the data key of the folder's first container, and say by which key; with none, the key of its model.

    So a license is asked for on this thread, and what refuses the key does so before anything is made.
    """
    for entry in manifest.containers:
        header = slots_at(str(folder / entry.place)).current.header
        with open_data_key(manager, header, license_key, use) as opened:
            return opened.key
    return manager.find(manifest.model_id)
