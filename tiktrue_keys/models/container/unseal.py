"""Decrypts one container from a file, object or pipe to a file, object or pipe.

The caller has found the data key, authenticated the header and, for a file or object, checked the authorship. From a
pipe the signature arrives after the body, so authorship is checked at the end, before the caller names an output file.
Plaintext written to another pipe until then is authenticated by the data key alone.
"""

from __future__ import annotations

from collections.abc import Callable

from tiktrue_keys.models.container.container import Container, Front, check_root, checked_stream_trailer, known_leaves
from tiktrue_keys.models.format.trailer import LEAF_LENGTH, TAIL_LENGTH, Trailer
from tiktrue_keys.models.pipeline.pipeline import ProgressCallback, open_body, threads_for
from tiktrue_keys.models.pipeline.sinks import StreamSink, plain_sink
from tiktrue_keys.models.pipeline.sources import BodyStream, SizedBodyStream, read_stream
from tiktrue_keys.models.storage.in_order import Target
from tiktrue_keys.models.storage.readable import Readable


def open_container(
    fd: Readable,
    container: Container,
    out: Target,
    data_key: memoryview,
    *,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> None:
    """Write the plaintext of the container at `fd` to `out`.

    A container without listed leaves is read twice when `out` is a stream; otherwise its root is compared at the end,
    before the caller commits the output. Raises IntegrityError when a segment does not match the root.
    """
    threads = threads or threads_for(fd)
    leaves = known_leaves(fd, container, threads=threads) if isinstance(out, StreamSink) else container.trailer.leaves
    summary = open_body(
        container.source(fd),
        plain_sink(out, container.geometry),
        container.cipher(data_key),
        container.geometry,
        leaves=leaves,
        threads=threads,
        progress=progress,
    )
    check_root(container, container.trailer, summary)


def open_stream(
    fd: int,
    front: Front,
    out: Target,
    data_key: memoryview,
    *,
    authorship: Callable[[Trailer], object],
    progress: ProgressCallback | None = None,
) -> Trailer:
    """Write the plaintext of the container on the pipe `fd`, after `read_front` has read its front; return the trailer.

    `authorship` gets the trailer at the end, after the root was compared, and raises to reject it. Raises
    IntegrityError when a segment does not match the root or bytes follow the container's end.
    """
    geometry, length = front.geometry, front.header.length
    unsized = BodyStream(fd, geometry) if length is None else None
    sized = None if length is None else SizedBodyStream(fd, geometry, length)
    source = unsized or sized
    assert source is not None
    sink, cipher = plain_sink(out, geometry), front.cipher(data_key)
    summary = open_body(source, sink, cipher, geometry, leaves=None, progress=progress)
    longest = TAIL_LENGTH + summary.segments * LEAF_LENGTH
    # One byte more than a trailer can have: then what was appended shows, because the footer is not at the end.
    trailer = checked_stream_trailer(front, unsized.tail if unsized else read_stream(fd, longest + 1))
    check_root(front, trailer, summary)
    authorship(trailer)
    return trailer
