"""Seals one plaintext into one container: body, trailer, signature and header, in the order that the output allows.

In a file the header is written last and has the length. In a pipe or an object it is written first, with the length if
the source's is known. The trailer lists no leaves for a pipe, or when the header written first has no length.

Does not handle: temporary names, sync, rename (core/durable.py), uploads (storage/upload.py), keys, intents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import InternalError, UnavailableError
from tiktrue_keys.models.format.body import BodyCipher, BodyHeader, Geometry
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, encode_header
from tiktrue_keys.models.format.trailer import (
    LEAF_LENGTH,
    SIGNATURE_KIND,
    TAIL_LENGTH,
    Leaves,
    Trailer,
    body_root,
    make_signature,
)
from tiktrue_keys.models.pipeline.pipeline import BodySummary, ProgressCallback, seal_body, threads_for
from tiktrue_keys.models.pipeline.sinks import StreamSink, container_sink
from tiktrue_keys.models.pipeline.sources import PlainFile, PlainStream, Source
from tiktrue_keys.models.storage.in_order import Target
from tiktrue_keys.models.storage.readable import Readable, extent_of, pipe_of, size_of


@dataclass(frozen=True)
class ContainerSigner:
    """The signer: its Ed25519 public key (32 bytes), and a function that signs like KeyManager.sign("model", data)."""

    issuer: bytes
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True)
class SealedContainer:
    """The written container. `size` in bytes; `header` as it is in the output."""

    header: Header
    trailer: Trailer
    size: int

    @property
    def root(self) -> bytes:
        return self.trailer.root


def seal_container(
    plain: Readable,
    out: Target,
    header: Header,
    data_key: memoryview,
    *,
    signer: ContainerSigner | None,
    already: bytes = b"",
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> SealedContainer:
    """Seal `plain`, from a descriptor's position on, into `out`; return the container.

    Sets `header.length`. `already` holds the bytes read from a pipe to detect its kind. The caller syncs and names the
    file `out`, or commits the upload. Without a signer the container is unsigned. The data key must be fresh: it may
    seal one body only. Raises UnavailableError when the size of a source file changed meanwhile, OSError from the
    system.
    """
    offset, length = extent_of(plain)
    geometry = Geometry(header.segment_size)
    cipher = BodyCipher(data_key, header.file_id, BodyHeader.fresh())
    source = _source(plain, geometry, offset, length, already)
    sink = container_sink(out, geometry, small=source.only is not None)
    if sink.header_first:
        header = _with_length(header, length)
        sink.write_header(encode_header(header, data_key))
    summary = seal_body(source, sink, cipher, geometry, threads=threads or threads_for(plain), progress=progress)
    _refuse_changed(plain, offset, length)
    # A reader refuses leaves behind a header without a length: it cannot know where they begin.
    listed = not isinstance(out, StreamSink) and (length is not None or not sink.header_first)
    trailer = _trailer(_with_length(header, summary.length), cipher.header, summary, signer, listed=listed)
    body_end = HEADER_SIZE + geometry.body_length(summary.length)
    sink.write_trailer(trailer, body_end)
    if not sink.header_first:
        header = _with_length(header, summary.length)
        sink.write_header(encode_header(header, data_key))
    return SealedContainer(header, trailer, body_end + trailer.encoded_length)


def _source(plain: Readable, geometry: Geometry, offset: int, length: int | None, already: bytes) -> Source:
    if length is not None:
        return PlainFile(plain, geometry, length, offset)
    return PlainStream(pipe_of(plain), geometry, already)


def _refuse_changed(plain: Readable, offset: int, length: int | None) -> None:
    if length is not None and size_of(plain) - offset > length:
        raise UnavailableError("the file grew while it was read", "encrypt it when nothing writes to it")


def _with_length(header: Header, length: int | None) -> Header:
    if header.length not in (None, length):
        raise InternalError("the header has another length than the source")
    return header if length is None else header.with_length(length)


def _trailer(
    header: Header, body: BodyHeader, summary: BodySummary, signer: ContainerSigner | None, *, listed: bool
) -> Trailer:
    geometry = Geometry(header.segment_size)
    root = body_root(header.file_id, body, geometry, summary.length, summary.leaves)
    leaves: Leaves | None = summary.leaves if listed else None
    trailer = Trailer(summary.segments, summary.length, root, leaves)
    if signer is None:
        return trailer
    return trailer.signed(make_signature(header, body, trailer, issuer=signer.issuer, sign=signer.sign))


def keystore_signer(manager: KeyManager, model_id: str) -> ContainerSigner:
    """Return this keystore as the signer of a model. Raises RefusedError unless it is the model's authority."""
    manager.must_be_authority(model_id)
    return ContainerSigner(manager.issuer, manager.signer(SIGNATURE_KIND))


def container_size(length: int) -> int:
    """Return the size in bytes of a container file for `length` bytes of plaintext."""
    geometry = Geometry()
    leaves = geometry.segment_count(length) * LEAF_LENGTH
    return HEADER_SIZE + geometry.body_length(length) + leaves + TAIL_LENGTH
