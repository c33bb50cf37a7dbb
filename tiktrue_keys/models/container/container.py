"""Reads the parts of a container from a file, an object or a pipe, and checks that they are consistent and authentic.

    file = header 64 KiB (format/header_slots.py) | body (format/body.py) | trailer, footer 32 bytes (format/trailer.py)

Check in this order: `read_container` checks the structure and, where leaves are listed, that the root matches them;
`authenticate` checks the header under the data key; `check_authorship` checks the signature. Only then are the leaves
a valid reference for the body.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Self

from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.models.format.body import BODY_HEADER_LENGTH, TAG_LENGTH, BodyCipher, BodyHeader, Geometry
from tiktrue_keys.models.format.detached_header import Detached, counting_slots
from tiktrue_keys.models.format.header import SEGMENT_SIZES, Header, Origin
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, HeaderSlots, decode_slots
from tiktrue_keys.models.format.manifest import ListedContainer
from tiktrue_keys.models.format.trailer import (
    FOOTER_LENGTH,
    RECORD_LENGTH,
    TAIL_LENGTH,
    Leaves,
    Trailer,
    body_root,
    decode_footer,
    decode_tail,
    decode_trailer,
    verify_signature,
)
from tiktrue_keys.models.pipeline.pipeline import BodySummary, ProgressCallback, hash_body, threads_for
from tiktrue_keys.models.pipeline.sources import BodyFile, read_stream
from tiktrue_keys.models.storage.header_file import read_slots
from tiktrue_keys.models.storage.location import Place
from tiktrue_keys.models.storage.readable import Readable, pread_full, size_of

_LEAST_SIZE = HEADER_SIZE + BODY_HEADER_LENGTH + TAG_LENGTH + TAIL_LENGTH


class Authorship(Enum):
    """The result of checking a container's signature."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Front:
    """The first 64 KiB + 40 bytes of a container: enough to find its data key.

    `slots` holds the header in effect. When that is a detached header (format/detached_header.py), `beneath` holds the
    header before the body.
    """

    slots: HeaderSlots
    body: BodyHeader
    beneath: HeaderSlots | None = field(default=None, kw_only=True)

    @property
    def header(self) -> Header:
        return self.slots.current.header

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.header.segment_size)

    def authenticate(self, data_key: memoryview) -> None:
        """Verify the header, and the one beneath it, under the 32-byte data key. Raises IntegrityError when wrong."""
        self.slots.current.authenticate(data_key)
        if self.beneath is not None:
            self.beneath.current.authenticate(data_key)

    def cipher(self, data_key: memoryview) -> BodyCipher:
        """Return the cipher of the body, given the 32-byte data key."""
        return BodyCipher(data_key, self.header.file_id, self.body)

    def root_of(self, summary: BodySummary) -> bytes:
        """Return the root (32 bytes) of a body that went through the pipeline."""
        return body_root(self.header.file_id, self.body, self.geometry, summary.length, summary.leaves)


@dataclass(frozen=True)
class Outline(Front):
    """A container's parts of constant size; its leaves are neither read nor compared with the root.

    `size` is the size of the file, in bytes.
    """

    trailer: Trailer
    size: int

    @property
    def length(self) -> int:
        """Return the length in bytes of plaintext."""
        return self.trailer.length

    @property
    def root(self) -> bytes:
        return self.trailer.root

    def is_listed(self, listed: ListedContainer) -> bool:
        """Return whether this is the container that a manifest describes."""
        return listed.fits_header(self.header) and (self.length, self.root) == (listed.length, listed.root)

    def with_detached(self, detached: Detached | None) -> Self:
        """Return the container with its detached header applied; unchanged without one.

        Raises IntegrityError when the detached header changes anything except the wraps.
        """
        if detached is None:
            return self
        container, slots = self, counting_slots(self.slots, detached)
        if slots is not self.slots:
            container = replace(container, slots=slots, beneath=self.slots)
        signature = detached.signature(self.root)
        if self.trailer.signature is None and signature is not None:
            container = replace(container, trailer=self.trailer.signed(signature))
        return container


@dataclass(frozen=True)
class Container(Outline):
    """Everything in a container except its body."""

    def source(self, fd: Readable) -> BodyFile:
        """Return the body as a source for the pipeline."""
        return BodyFile(fd, self.geometry, self.length)


def read_container(fd: Readable, *, segment_sizes: frozenset[int] = SEGMENT_SIZES) -> Container:
    """Read everything but the body of the container open at `fd` (a regular file, or an object).

    Nothing in the result is authentic yet. Allocates at most 64 KiB, and 32 bytes for each MiB of the actual file size.
    Raises IntegrityError when it is not a container, or was cut off, extended, or damaged in a part with a checksum.
    """
    slots = read_slots(fd, segment_sizes=segment_sizes)
    front, size = _front_of(fd, slots)
    trailer = _read_trailer(fd, size, front)
    return Container(slots, front.body, _checked_trailer(front, trailer), size)


def read_outline(fd: Readable, slots: HeaderSlots) -> Outline:
    """Read the parts of constant size of the container open at `fd`, whose slots were read before.

    That shows a body or leaves of the wrong length, but nothing that was changed in them. Nothing in the result is
    authentic yet: a valid signature makes lengths and root so. Raises IntegrityError when it was cut off or extended.
    """
    front, size = _front_of(fd, slots)
    tail = pread_full(fd, TAIL_LENGTH, size - TAIL_LENGTH)
    trailer, leaves_length = decode_tail(tail, front.geometry)
    _check_sizes(front, trailer.length, leaves_length, size)
    _check_length(front, trailer.length, listed=leaves_length > 0)
    return Outline(slots, front.body, trailer, size)


def read_front(fd: int, *, segment_sizes: frozenset[int] = SEGMENT_SIZES) -> Front:
    """Read the first 64 KiB + 40 bytes of a container from a pipe. Raises IntegrityError when it is not a container."""
    slots = decode_slots(read_stream(fd, HEADER_SIZE), segment_sizes=segment_sizes)
    return Front(slots, BodyHeader.decode(read_stream(fd, BODY_HEADER_LENGTH)))


def checked_stream_trailer(front: Front, data: bytes) -> Trailer:
    """Decode the trailer of a container from a pipe, given all bytes after the body.

    Raises IntegrityError when it was cut off, is damaged, or does not match `front`.
    """
    if len(data) < TAIL_LENGTH:
        raise IntegrityError("the container was cut off", "restore the container from a copy")
    return _checked_trailer(front, decode_trailer(data[:-TAIL_LENGTH], data[-TAIL_LENGTH:], front.geometry))


def check_authorship(
    header: Header, body: BodyHeader, trailer: Trailer, *, issuers: Collection[bytes], allow_unsigned: bool = False
) -> Authorship:
    """Return whether one of `issuers` (Ed25519 public keys, 32 bytes) signed the container; UNCHECKED without issuers.

    Authenticate the header first, otherwise an attacker chooses the origin. Raises IntegrityError when the signature is
    wrong or by another issuer, or is missing from a container with origin `keystore`, which is always signed. Raises
    RefusedError when a container sealed to a public key is unsigned, unless `allow_unsigned`.
    """
    if not issuers:
        return Authorship.UNCHECKED
    if trailer.signature is None:
        if header.origin is Origin.KEYSTORE:
            raise IntegrityError("the container's signature was removed", "restore the container from a copy")
        if not allow_unsigned:
            raise RefusedError(
                "the container is not signed", "sign it, or pass allow_unsigned=True", remedy="unsigned-container"
            )
        return Authorship.UNSIGNED
    if trailer.signature.issuer not in issuers:
        raise IntegrityError("the container is signed by another keystore", "check where it came from")
    verify_signature(header, body, trailer, trailer.signature.issuer)
    return Authorship.SIGNED


def check_root(front: Front, trailer: Trailer, summary: BodySummary) -> None:
    """Compare a body's root, which covers its length, with the trailer's. Raises IntegrityError when they differ."""
    if not hmac.compare_digest(front.root_of(summary), trailer.root):
        raise IntegrityError("the encrypted body is not the one that was signed", "restore the container from a copy")


def verify_body(
    fd: Readable, container: Container, *, threads: int | None = None, progress: ProgressCallback | None = None
) -> Leaves:
    """Read the whole body and return its leaves, without a key. Raises IntegrityError when the root does not match."""
    summary = hash_body(container.source(fd), container.geometry, threads=threads or threads_for(fd), progress=progress)
    check_root(container, container.trailer, summary)
    return summary.leaves


def known_leaves(fd: Readable, container: Container, *, threads: int | None = None) -> Leaves:
    """Return the listed leaves; when none are listed (made into a pipe), compute them in one pass over the body."""
    if container.trailer.leaves is not None:
        return container.trailer.leaves
    return verify_body(fd, container, threads=threads)


def _front_of(fd: Readable, slots: HeaderSlots) -> tuple[Front, int]:
    """Return the front of an open container, and the size of the file."""
    size = size_of(fd)
    if size < _LEAST_SIZE:
        raise IntegrityError("the container was cut off", "restore the container from a copy")
    return Front(slots, BodyHeader.decode(pread_full(fd, BODY_HEADER_LENGTH, HEADER_SIZE))), size


def _read_trailer(fd: Readable, size: int, front: Front) -> Trailer:
    tail = pread_full(fd, TAIL_LENGTH, size - TAIL_LENGTH)
    leaves_length = decode_footer(tail[-FOOTER_LENGTH:]) - RECORD_LENGTH
    if leaves_length > size - _LEAST_SIZE:
        raise IntegrityError("the container was cut off", "restore the container from a copy")
    leaves = pread_full(fd, leaves_length, size - TAIL_LENGTH - leaves_length)
    trailer = decode_trailer(leaves, tail, front.geometry)
    _check_sizes(front, trailer.length, leaves_length, size)
    return trailer


def _check_sizes(front: Front, length: int, leaves_length: int, size: int) -> None:
    """Compare the sizes that the record and the footer claim with the size of the file."""
    if HEADER_SIZE + front.geometry.body_length(length) + leaves_length + TAIL_LENGTH != size:
        raise IntegrityError("the length of the container's body does not match its trailer")


def _check_length(front: Front, length: int, *, listed: bool) -> None:
    declared = front.header.length
    if declared not in (None, length) or (declared is None and listed):
        raise IntegrityError("the container's header and trailer disagree about its length")


def _checked_trailer(front: Front, trailer: Trailer) -> Trailer:
    _check_length(front, trailer.length, listed=trailer.leaves is not None)
    if trailer.leaves is not None:
        summary = BodySummary(trailer.length, trailer.segments, trailer.leaves)
        check_root(front, trailer, summary)
    return trailer


@dataclass(frozen=True)
class OpenedContainer:
    """A container open for reading at `fd`. Its parts are consistent; nothing is authentic yet."""

    fd: Readable
    path: Place
    container: Container


@dataclass(frozen=True)
class ContainerFile(OpenedContainer):
    """An opened container in a local file."""

    fd: int
    path: Path
