"""Small containers for the tests of this folder: segments of 64 bytes, so that a few hundred bytes have many."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tiktrue_keys.core.derivation import signed_message
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.models.container.container import Container, check_authorship, read_container
from tiktrue_keys.models.container.seal import ContainerSigner, SealedContainer, seal_container
from tiktrue_keys.models.container.unseal import open_container
from tiktrue_keys.models.format.header import Header, Origin, Wrap, WrapType, new_file_id
from tiktrue_keys.models.format.kind import Kind
from tiktrue_keys.models.format.trailer import Trailer, make_signature, signature_place
from tiktrue_keys.models.pipeline.sinks import StreamSink
from tiktrue_keys.models.storage.files import HeldFile

SEGMENT = 64
SMALL = frozenset({SEGMENT})
FIRST = SEGMENT - 40 - 16
"""Plaintext bytes in the first segment of 64."""
NEXT = SEGMENT - 16
"""Plaintext bytes in every later one."""
EDGES = (0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + NEXT - 1, FIRST + NEXT, FIRST + NEXT + 1, 1000)


class Issuer:
    """A made-up keystore: an Ed25519 pair."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()
        self.signer = ContainerSigner(
            self.public, lambda canonical: self._private.sign(signed_message("model", canonical))
        )


ISSUER = Issuer()
STRANGER = Issuer()


def pattern(length: int) -> bytes:
    """`length` bytes that look random and are the same each time."""
    return hashlib.shake_128(b"plaintext").digest(length)


def wrap(key: str = "0123456789abcdef", *, generation: int = 1, filler: int = 0) -> Wrap:
    return Wrap(WrapType.MANAGED_KEY, f"model_{key}", generation, bytes([filler]) * 60)


def header(*, origin: Origin = Origin.KEYSTORE, segment_size: int = SEGMENT, length: int | None = None) -> Header:
    return Header(new_file_id(), "model", "weights.bin", Kind.OTHER, length, origin, (wrap(),), segment_size)


@dataclass(frozen=True)
class Sample:
    """A container in a file, with all that is needed to open it."""

    path: Path
    data_key: SecretBuffer
    plaintext: bytes
    sealed: SealedContainer

    def bytes(self) -> bytes:
        return self.path.read_bytes()

    def container(self) -> Container:
        return container_at(self.path)

    def segment_range(self, index: int) -> slice:
        segment = self.container().geometry.segment(index, len(self.plaintext))
        start = 65536 + segment.body_offset
        return slice(start, start + segment.body_length)


def make_sample(
    folder: Path,
    plaintext: bytes = pattern(200),
    *,
    origin: Origin = Origin.KEYSTORE,
    issuer: Issuer | None = ISSUER,
    segment_size: int = SEGMENT,
    through_pipe: bool = False,
) -> Sample:
    """Seal `plaintext`; `through_pipe`: as a pipe's reader would store what came out of it."""
    plain, path = folder / "plain", folder / "sample.ttm"
    plain.write_bytes(plaintext)
    data_key = SecretBuffer.random()
    source, target = os.open(plain, os.O_RDONLY), os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        sealed = seal_container(
            source,
            StreamSink(target) if through_pipe else target,
            header(origin=origin, segment_size=segment_size),
            data_key.view,
            signer=issuer.signer if issuer else None,
        )
    finally:
        os.close(source)
        os.close(target)
    return Sample(path, data_key, plaintext, sealed)


def container_at(path: Path) -> Container:
    fd = os.open(path, os.O_RDONLY)
    try:
        return read_container(fd, segment_sizes=SMALL)
    finally:
        os.close(fd)


def add_signature(fd: int, container: Container, signer: ContainerSigner) -> Trailer:
    """Sign a container in its file as somebody who needs not be a keystore."""
    signature = make_signature(
        container.header, container.body, container.trailer, issuer=signer.issuer, sign=signer.sign
    )
    HeldFile(Path(), fd).sign(container.slots, signature_place(container.root, signature), container.size)
    return container.trailer.signed(signature)


def open_file(
    path: Path,
    data_key: SecretBuffer,
    *,
    issuers: Collection[bytes] = (ISSUER.public,),
    allow_unsigned: bool = False,
    segment_sizes: frozenset[int] = SMALL,
) -> bytes:
    """Everything that a command does to open a container, in the right order; the plaintext."""
    fd = os.open(path, os.O_RDONLY)
    try:
        container = read_container(fd, segment_sizes=segment_sizes)
        container.authenticate(data_key.view)
        check_authorship(
            container.header, container.body, container.trailer, issuers=issuers, allow_unsigned=allow_unsigned
        )
        with tempfile.TemporaryFile() as out:
            open_container(fd, container, out.fileno(), data_key.view)
            out.seek(0)
            return out.read()
    finally:
        os.close(fd)
