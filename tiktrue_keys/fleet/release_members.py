"""A release as a member of a revocation list: packed, because 256 entries in hex would not fit an envelope.

Come here for its format. These functions read and write nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tiktrue_keys.core.canonical import MAX_INTEGER
from tiktrue_keys.core.dispatch.releases import MAX_ENTRIES, MAX_WITHDRAWN, Release, ReleaseEntry
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.members import Members, encoded
from tiktrue_keys.models.format.header import is_model_id

_ID, _ROOT, _UNTIL = 16, 32, 8
_ENTRY = _ID + _ROOT + _UNTIL
_MODEL_ID_LENGTH = 96


def release_json(release: Release) -> dict[str, Any]:
    """Return the members of a release: each entry is its id, its root or digest, and until when it is named."""
    packed = (each.file_id + each.root + each.until.to_bytes(_UNTIL, "big") for each in release.entries)
    return {
        "model_id": release.model_id,
        "entries": encoded(b"".join(packed)),
        "withdrawn": encoded(b"".join(release.withdrawn)),
    }


def read_release(members: Members) -> Release:
    """Return the release that an object of a list describes. Raises IntegrityError when it is malformed."""
    model_id = members.text("model_id", _MODEL_ID_LENGTH)
    packed = members.octets("entries", limit=MAX_ENTRIES * _ENTRY)
    withdrawn = _parts(members, "withdrawn", members.octets("withdrawn", limit=MAX_WITHDRAWN * _ID), _ID)
    entries = tuple(_entry(members, part) for part in _parts(members, "entries", packed, _ENTRY))
    members.done()
    if not is_model_id(model_id):
        raise members.malformed("model_id")
    ids = [entry.file_id for entry in entries]
    _must_ascend(members, "entries", ids)
    _must_ascend(members, "withdrawn", withdrawn)
    if not set(ids).isdisjoint(withdrawn):
        raise members.malformed("withdrawn")
    return Release(model_id, entries=entries, withdrawn=tuple(withdrawn))


def _parts(members: Members, name: str, packed: bytes, size: int) -> list[bytes]:
    if len(packed) % size:
        raise members.malformed(name)
    return [packed[at : at + size] for at in range(0, len(packed), size)]


def _entry(members: Members, packed: bytes) -> ReleaseEntry:
    until = int.from_bytes(packed[_ID + _ROOT :], "big")
    if until > MAX_INTEGER:
        raise members.malformed("entries")
    return ReleaseEntry(packed[:_ID], packed[_ID : _ID + _ROOT], Instant(until))


def _must_ascend(members: Members, name: str, ids: Sequence[bytes]) -> None:
    if any(first >= second for first, second in pairwise(ids)):
        raise members.malformed(name)
