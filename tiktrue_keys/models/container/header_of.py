"""Reads the header of a container in a file or object, without authenticating it."""

from __future__ import annotations

from tiktrue_keys.errors import TikTrueKeysError
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.storage.location import Place, parse_place
from tiktrue_keys.models.storage.protocol import storage_of


def lies_at(path: str, file_id: bytes) -> bool:
    """Return whether the container `file_id` (16 bytes) can be read at `path`."""
    try:
        return slots_at(path).current.header.file_id == file_id
    except TikTrueKeysError:
        return False


def slots_at(path: str | Place) -> HeaderSlots:
    """Return the header of the container at `path`, which may be a URL, not authenticated.

    Raises NotFoundError, IntegrityError when it is not a container, RefusedError when it is not a regular file,
    UnavailableError when the storage cannot be reached.
    """
    return storage_of(parse_place(path)).slots()
