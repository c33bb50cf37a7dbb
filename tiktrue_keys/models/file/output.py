"""Reserves what an operation on a model is about to make: a file, an object, or standard output.

Does not handle: the bytes; writing, syncing and naming are its storage's (storage/protocol.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tiktrue_keys.models.storage.location import Location, Stream
from tiktrue_keys.models.storage.protocol import Output, storage_of


@contextmanager
def reserved_output(location: Location, *, force: bool, lock_timeout: float) -> Iterator[Output | Stream]:
    """The output at a path or URL, as Storage.reserved; a stream is what it is."""
    if isinstance(location, Stream):
        yield location
        return
    with storage_of(location).reserved(force=force, lock_timeout=lock_timeout) as output:
        yield output
