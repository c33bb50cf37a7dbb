"""Reads the header of the container at a location, file or object alike, without authenticating it."""

from __future__ import annotations

from tiktrue_keys.core.durable import opened_regular
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.errors import TikTrueKeysError
from tiktrue_keys.models.container.header_file import read_slots
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.storage.location import Url, parse_place


def lies_at(path: str, file_id: bytes) -> bool:
    """Whether the container `file_id` can be read at `path`."""
    try:
        return slots_at(path).current.header.file_id == file_id
    except TikTrueKeysError:
        return False


def slots_at(path: str) -> HeaderSlots:
    """The header of the container at `path`, which may be a URL, not authenticated.

    IntegrityError, NotFoundError, as opened_regular; UnavailableError when the storage cannot be reached.
    """
    place = parse_place(path)
    if isinstance(place, Url):
        from tiktrue_keys.models.container.object import remote_slots

        return remote_slots(place)
    with opened_regular(path, "the container") as fd, foreign_os_errors("the container", path):
        return read_slots(fd)
