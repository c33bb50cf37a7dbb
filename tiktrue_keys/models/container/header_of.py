"""Reads the header of the container at a location, file or object alike, without authenticating it."""

from __future__ import annotations

from tiktrue_keys.errors import TikTrueKeysError
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.storage.location import Place, parse_place
from tiktrue_keys.models.storage.protocol import storage_of


def lies_at(path: str, file_id: bytes) -> bool:
    """Whether the container `file_id` can be read at `path`."""
    try:
        return slots_at(path).current.header.file_id == file_id
    except TikTrueKeysError:
        return False


def slots_at(path: str | Place) -> HeaderSlots:
    """The header of the container at `path`, which may be a URL, not authenticated.

    IntegrityError, NotFoundError, as opened_regular; UnavailableError when the storage cannot be reached.
    """
    return storage_of(parse_place(path)).slots()
