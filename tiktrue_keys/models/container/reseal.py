"""Re-encrypts a container segment by segment in memory, and reads the new container back to verify it.

Does not handle: keys, file names and records (file/reencrypt.py).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.container.container import Container, ContainerFile, read_container, verify_body
from tiktrue_keys.models.container.data_key import OpenedDataKey
from tiktrue_keys.models.container.seal import keystore_signer
from tiktrue_keys.models.format.body import SEGMENT_SIZE, TAG_LENGTH, BodyCipher, BodyHeader
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, encode_header
from tiktrue_keys.models.format.trailer import Leaves, Trailer, body_leaf, body_root, make_signature
from tiktrue_keys.models.pipeline.buffers import page_buffer
from tiktrue_keys.models.pipeline.pipeline import THREADS, check_leaf, seal_body
from tiktrue_keys.models.pipeline.progress import ProgressReport, byte_report
from tiktrue_keys.models.pipeline.sinks import ContainerFileSink
from tiktrue_keys.models.pipeline.sources import Piece

OPENED_BUFFERS = THREADS * SEGMENT_SIZE
"""Bytes of buffers for opening, in addition to the pipeline's own."""


class OpenedBody:
    """The plaintext of a container as a source for the pipeline. Each segment's leaf and tag are verified."""

    def __init__(self, source: ContainerFile, data_key: memoryview, leaves: Leaves) -> None:
        self._body = source.container.source(source.fd)
        self._cipher = source.container.cipher(data_key)
        self._segment_size = source.container.header.segment_size
        self._leaves = leaves
        self._own = threading.local()
        only = self._body.only
        self.only = None if only is None else only - TAG_LENGTH

    def take(self, view: memoryview, stop: threading.Event) -> Piece | None:
        """Put the next segment's plaintext into `view`. Raises IntegrityError when the segment was changed."""
        if not hasattr(self._own, "buffer"):
            self._own.buffer = page_buffer(self._segment_size)
        piece = self._body.take(self._own.buffer, stop)
        if piece is None:
            return None
        ciphertext = self._own.buffer[: piece.length]
        check_leaf(self._leaves, piece.index, body_leaf(piece.index, ciphertext))
        length = piece.length - TAG_LENGTH
        self._cipher.open(piece.index, piece.last, ciphertext, view[:length])
        return Piece(piece.index, piece.last, length)


@dataclass(frozen=True)
class Reencryption:
    """The re-encryption of one container: the old container with its data key, the new header with its data key."""

    manager: KeyManager
    source: ContainerFile
    old: OpenedDataKey
    header: Header
    data_key: SecretBuffer
    key: ManagedKey
    signed: bool
    leaves: Leaves
    progress: ProgressReport | None

    def seal(self, fd: int) -> Trailer:
        """Write the new container to the new, empty file `fd`. Raises IntegrityError when the old one was changed."""
        container = self.source.container
        geometry, cipher = container.geometry, BodyCipher(self.data_key.view, self.header.file_id, BodyHeader.fresh())
        source = OpenedBody(self.source, self.old.secret.view, self.leaves)
        report = byte_report(self.progress, container.length)
        sink = ContainerFileSink(fd, geometry)
        summary = seal_body(source, sink, cipher, geometry, progress=report)
        if summary.length != container.length:
            raise IntegrityError("the container was cut off")
        header = self.header.with_length(summary.length)
        root = body_root(header.file_id, cipher.header, geometry, summary.length, summary.leaves)
        trailer = Trailer(summary.segments, summary.length, root, summary.leaves)
        if self.signed:
            signer = keystore_signer(self.manager, header.model_id)
            signature = make_signature(header, cipher.header, trailer, issuer=signer.issuer, sign=signer.sign)
            trailer = trailer.signed(signature)
        sink.write_trailer(trailer, HEADER_SIZE + geometry.body_length(summary.length))
        sink.write_header(encode_header(header, self.data_key.view))
        return trailer

    def verify(self, fd: int, trailer: Trailer) -> None:
        """Read the new container back before it replaces the only copy. Raises IntegrityError when it is wrong."""
        written: Container = read_container(fd)
        written.authenticate(self.data_key.view)
        if written.root != trailer.root:
            raise IntegrityError(
                "the new container on disk differs from the one that was written", "check the disk: see dmesg(1)"
            )
        verify_body(fd, written)
