"""Reserves the output of an operation on a model: a file, an object, or standard output; checks what its source may be.

Does not handle: writing, syncing and naming (storage/protocol.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiktrue_keys.core.outputs import FileKind, OutputGate
from tiktrue_keys.models.storage.location import Location, Stream
from tiktrue_keys.models.storage.protocol import Output, storage_of


def gate_with(gate: OutputGate, source: Location, name: str) -> OutputGate:
    """Return a gate that protects the source of an operation too, by a name for messages."""
    return gate.also(name, source) if isinstance(source, Path) else gate


def must_be_a_model(gate: OutputGate, source: Location) -> None:
    """Raise RefusedError when the source is what the program lives on, and not a model or container."""
    if isinstance(source, Stream):
        gate.check_sources([source.descriptor("the source")])
    elif isinstance(source, Path):
        gate.check_sources([source])


@contextmanager
def reserved_output(
    location: Location, *, force: bool, lock_timeout: float, gate: OutputGate, kind: FileKind
) -> Iterator[Output | Stream]:
    """Reserve the output at a path or URL; a stream is yielded as it is.

    Raises RefusedError when the gate refuses it, or it exists, unless `force`.
    """
    if isinstance(location, Stream):
        yield location
        return
    with storage_of(location).reserved(force=force, lock_timeout=lock_timeout, gate=gate, kind=kind) as output:
        yield output
