"""Finds out how an interrupted operation on a folder ended; completes a swap that was cut off between two renames."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.settlement import FAILED, OK, Ending, Settlement
from tiktrue_keys.core.durable import sync_folder
from tiktrue_keys.core.folder_removal import remove_folder
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.errors import IntegrityError, NotFoundError
from tiktrue_keys.models.folder import decrypt
from tiktrue_keys.models.folder.job import followed_folder
from tiktrue_keys.models.folder.manifest_file import lies_there, read_manifest
from tiktrue_keys.models.folder.resume import RESUMABLE
from tiktrue_keys.models.folder.sealer import sealed_containers
from tiktrue_keys.models.folder.swap import FolderPlace
from tiktrue_keys.models.storage.claim import must_be_unclaimed
from tiktrue_keys.models.storage.files import FileStorage, must_be_reachable
from tiktrue_keys.models.storage.location import Place, parse_place
from tiktrue_keys.models.storage.protocol import storage_of


def folder_ending(manager: KeyManager, intent: FileIntent) -> Ending:
    """Return how an operation on a folder ended. An uploaded folder has no temporary name."""
    if intent.temporary is None:
        return _uploaded(parse_place(intent.path), intent.file_id)
    return _built(manager, intent, FolderPlace(Path(intent.path), Path(intent.temporary)))


def _uploaded(folder: Place, folder_id: bytes) -> Ending:
    """The upload is complete if the manifest exists. Otherwise uploaded containers stay, with their rows."""

    def look() -> bool:
        try:
            return read_manifest(folder).manifest.folder_id == folder_id
        except (NotFoundError, IntegrityError):
            return False

    return Ending(OK if storage_of(folder).promptly(look) else FAILED, None)


def _built(manager: KeyManager, intent: FileIntent, place: FolderPlace) -> Ending:
    must_be_reachable(place.destination)
    must_be_unclaimed(place.temporary)
    if place.aside.is_dir() and not os.path.lexists(place.destination):
        # The manifest is written before the old folder goes aside, so a built folder that is still there is complete.
        with foreign_os_errors("the folder", place.destination):
            os.rename(place.temporary if place.temporary.is_dir() else place.aside, place.destination)
            sync_folder(place.destination.parent)
    built, replaced = place.temporary.is_dir(), place.aside.is_dir()
    if intent.operation != RESUMABLE:
        remove_folder(place.temporary)
    remove_folder(place.aside)
    if intent.operation == decrypt.OPERATION:
        new = FileStorage(place.destination).is_new(intent)
        return Ending(OK if not built and (replaced or new) else FAILED, None)
    if lies_there(place.destination, intent.file_id):
        return Ending(OK, None, others=_whole(manager, intent, place))
    # The finished files of an encryption stay in the temporary folder for the run that resumes it.
    gone = () if intent.operation == RESUMABLE else _registered_below(manager, place.temporary)
    return Ending(FAILED, None, others=Settlement(gone=gone))


def _whole(manager: KeyManager, intent: FileIntent, place: FolderPlace) -> Settlement:
    """Return the effect of a folder that has its name: the containers of its manifest lie in it, others are gone."""
    manifest = read_manifest(place.destination).manifest
    moved = followed_folder(place.destination, manifest)
    gone = _registered(manager, place, besides=moved)
    if not intent.keys_after:  # each of its containers had an intent of its own, and has its row
        return Settlement(moved, gone)
    return Settlement(
        made=sealed_containers(manifest, place.destination, intent.keys_after, manager.now(), manager.node_id),
        gone=gone,
    )


def _registered_below(manager: KeyManager, folder: Path) -> list[bytes]:
    records = [record for record in manager.containers() if record.path]
    return [record.file_id for record in records if Path(record.path).is_relative_to(folder)]


def _registered(manager: KeyManager, place: FolderPlace, *, besides: Collection[bytes]) -> list[bytes]:
    """Return the registered containers of the temporary and the replaced folder, except `besides`."""
    found = _registered_below(manager, place.temporary) + _registered_below(manager, place.destination)
    return [file_id for file_id in found if file_id not in besides]
