"""Seals one plaintext into one container: body, trailer, signature, header, in the order that the output allows.

Into a file the header comes last, with the length in it; into a pipe it comes first, with the length if the source's is
known, and the trailer lists no leaves. Does not handle: temporary names, sync, rename (core/durable.py), keys, intents.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from tiktrue_keys.errors import InternalError, UnavailableError
from tiktrue_keys.models.header import Header
from tiktrue_keys.models.pipeline import THREADS, BodySummary, Progress, seal_body
from tiktrue_keys.models.positioned import pwrite_full
from tiktrue_keys.models.sinks import BodyFileSink, StreamSink
from tiktrue_keys.models.slots import HEADER_SIZE, encode_header, write_header
from tiktrue_keys.models.sources import PlainFile, PlainStream
from tiktrue_keys.models.streaming_aead import BodyCipher, BodyHeader, Geometry
from tiktrue_keys.models.trailer import Leaves, Trailer, make_signature, root_hash


@dataclass(frozen=True)
class Signer:
    """Who signs: Ed25519 public key (32 bytes), and what signs canonical bytes as KeyManager.sign("model", …) does."""

    issuer: bytes
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True)
class SealedContainer:
    """What was written. `size` in bytes; `header` with the length that is in the file."""

    header: Header
    trailer: Trailer
    size: int

    @property
    def root(self) -> bytes:
        return self.trailer.root


def seal_container(
    plain_fd: int,
    out_fd: int,
    header: Header,
    data_key: memoryview,
    *,
    to_stream: bool,
    signer: Signer | None,
    already: bytes = b"",
    threads: int = THREADS,
    progress: Progress | None = None,
) -> SealedContainer:
    """Seal what `plain_fd` holds, from its position on, into `out_fd`.

    `header.length` is set here. `already`: what was read from a pipe to tell its kind. `to_stream`: write in order to
    `out_fd`'s position; else `out_fd` is a new, empty, regular file, which the caller syncs and names. Without a signer
    the container is unsigned. The data key must be fresh: it seals one body in its life. UnavailableError when a source
    file changed its size meanwhile; OSError from the system.
    """
    offset, length = _extent(plain_fd)
    geometry = Geometry(header.segment_size)
    cipher = BodyCipher(data_key, header.file_id, BodyHeader.fresh())
    stream = length is None
    source = PlainStream(plain_fd, geometry, already) if stream else PlainFile(plain_fd, geometry, length or 0, offset)
    sink = StreamSink(out_fd) if to_stream else BodyFileSink(out_fd, geometry)
    if isinstance(sink, StreamSink):
        header = _with_length(header, length)
        sink.preface(encode_header(header, data_key))
    summary = seal_body(source, sink, cipher, geometry, threads=threads, progress=progress)
    _refuse_changed(plain_fd, offset, length)
    trailer = _trailer(_with_length(header, summary.length), cipher.header, summary, signer, listed=not to_stream)
    body_end = HEADER_SIZE + geometry.body_length(summary.length)
    if isinstance(sink, StreamSink):
        sink.preface(trailer.encode())
    else:
        header = _with_length(header, summary.length)
        pwrite_full(out_fd, summary.leaves, body_end)
        pwrite_full(out_fd, trailer.encode_tail(), body_end + len(summary.leaves))
        write_header(out_fd, header, data_key)
    return SealedContainer(header, trailer, body_end + trailer.encoded_length)


def _extent(fd: int) -> tuple[int, int | None]:
    """Position and remaining length of a regular file; the length is None for anything else."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        return 0, None
    offset = os.lseek(fd, 0, os.SEEK_CUR)
    return offset, max(0, found.st_size - offset)


def _refuse_changed(fd: int, offset: int, length: int | None) -> None:
    if length is not None and os.fstat(fd).st_size - offset > length:
        raise UnavailableError("the file became longer while it was read", "encrypt it when nothing writes to it")


def _with_length(header: Header, length: int | None) -> Header:
    if header.length not in (None, length):
        raise InternalError("a header of another length was given")
    return header if length is None else header.with_length(length)


def _trailer(header: Header, body: BodyHeader, summary: BodySummary, signer: Signer | None, *, listed: bool) -> Trailer:
    geometry = Geometry(header.segment_size)
    root = root_hash(header.file_id, body, geometry, summary.length, summary.leaves)
    leaves: Leaves | None = summary.leaves if listed else None
    trailer = Trailer(summary.segments, summary.length, root, leaves)
    if signer is None:
        return trailer
    return trailer.signed(make_signature(header, body, trailer, issuer=signer.issuer, sign=signer.sign))
