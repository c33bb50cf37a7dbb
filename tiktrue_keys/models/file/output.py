"""Reserves the output of an operation on a model: a file, an object, or standard output.

Does not handle: writing, syncing and naming (storage/protocol.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tiktrue_keys.models.storage.location import Location, Stream
from tiktrue_keys.models.storage.protocol import Output, storage_of


@contextmanager
def reserved_output(location: Location, *, force: bool, lock_timeout: float) -> Iterator[Output | Stream]:
    """Reserve the output at a path or URL; a stream is yielded as it is. Raises RefusedError when it exists."""
    if isinstance(location, Stream):
        yield location
        return
    with storage_of(location).reserved(force=force, lock_timeout=lock_timeout) as output:
        yield output
