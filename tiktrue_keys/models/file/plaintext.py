"""Opens the plaintext to encrypt, a file, object or pipe, and detects a change while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tiktrue_keys.core.outputs import FileKind, OutputGate
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import RefusedError, UnavailableError
from tiktrue_keys.models.container.seal import ContainerSigner, SealedContainer, container_size, seal_container
from tiktrue_keys.models.file.output import reserved_output
from tiktrue_keys.models.format.header import Header, safe_name
from tiktrue_keys.models.format.header_slots import MAGIC
from tiktrue_keys.models.format.kind import SNIFF_LENGTH, Kind, detect_kind
from tiktrue_keys.models.pipeline.progress import ProgressReport, byte_report
from tiktrue_keys.models.pipeline.sources import read_stream
from tiktrue_keys.models.storage.files import must_be_readable
from tiktrue_keys.models.storage.in_order import Target
from tiktrue_keys.models.storage.location import Location, Place, Stream
from tiktrue_keys.models.storage.protocol import Output, storage_of
from tiktrue_keys.models.storage.readable import Readable, extent_of, pipe_of, pread_full, stamp_of


@dataclass(frozen=True)
class PlaintextSource:
    """An opened source. `already` holds the bytes read from a pipe to detect its kind; `size` is None when unknown."""

    fd: Readable
    path: Place | None
    name: str
    kind: Kind
    already: bytes
    size: int | None
    stamp: object

    @property
    def sealed_size(self) -> int | None:
        """Return the size of its container in bytes, None when unknown."""
        return None if self.size is None else container_size(self.size)

    def reserved_for(
        self, target: Location, gate: OutputGate, *, force: bool, lock_timeout: float
    ) -> AbstractContextManager[Output | Stream]:
        """Reserve the container of this plaintext. Raises RefusedError when it would replace the plaintext, too."""
        if not isinstance(target, Stream) and storage_of(target).is_open(self.fd):
            raise RefusedError(f"{shown(str(target))} is the model itself", "choose another output")
        kind = FileKind.CONTAINER
        return reserved_output(target, force=force, lock_timeout=lock_timeout, gate=gate, kind=kind)

    def seal(
        self,
        out: Target,
        header: Header,
        data_key: SecretBuffer,
        *,
        signer: ContainerSigner | None,
        progress: ProgressReport | None,
    ) -> SealedContainer:
        """Seal it into `out`; return the container. Raises UnavailableError when the source changed meanwhile."""
        report = byte_report(progress, self.size)
        sealed = seal_container(
            self.fd, out, header, data_key.view, signer=signer, already=self.already, progress=report
        )
        if self.size is not None and stamp_of(self.fd) != self.stamp:
            raise UnavailableError("the file changed while it was read", "encrypt it when nothing writes to it")
        if progress is not None:
            progress(sealed.trailer.length, sealed.trailer.length)
        return sealed


@contextmanager
def plaintext_source(source: Location, name: str | None = None) -> Iterator[PlaintextSource]:
    """Open `source`. Raises UsageError for a folder, RefusedError for a device or a container."""
    if isinstance(source, Stream):
        fd = source.descriptor("the source")
        must_be_readable(fd, None)
        yield _looked_at(fd, None, name)
        return
    with storage_of(source).source("the model") as readable:
        yield _looked_at(readable, source, name)


def _looked_at(readable: Readable, place: Place | None, name: str | None) -> PlaintextSource:
    stamp, (position, size) = stamp_of(readable), extent_of(readable)
    with foreign_os_errors("the model", str(place or "standard input")):
        if size is None:
            first = already = read_stream(pipe_of(readable), SNIFF_LENGTH)
        else:
            first, already = pread_full(readable, SNIFF_LENGTH, position), b""
    if first.startswith(MAGIC):
        raise RefusedError(
            f"{shown(str(place or 'the source'))} is a model container already",
            "rewrap or re-encrypt it",
            remedy="container-already",
        )
    chosen = safe_name(name if name is not None else place.name if place else "model")
    return PlaintextSource(readable, place, chosen, detect_kind(first, chosen), already, size, stamp)
