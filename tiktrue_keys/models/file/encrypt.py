"""Encrypts one model from a file, object or pipe to a container in a file, object or pipe, under its active key."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import BinaryIO

from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.keys.key_results import OpenedKey
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.container.open import opened_container
from tiktrue_keys.models.container.seal import SealedContainer, keystore_signer
from tiktrue_keys.models.file.output import must_be_a_model
from tiktrue_keys.models.file.plaintext import PlaintextSource, plaintext_source
from tiktrue_keys.models.format.header import Header, Origin, new_file_id
from tiktrue_keys.models.format.wraps import wrap_for_key
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.pipeline.sinks import StreamSink
from tiktrue_keys.models.registry.intent import FileOutcome, FinishedOperation, file_operation, noted, repeated
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.in_order import Target
from tiktrue_keys.models.storage.location import (
    Place,
    Stream,
    Url,
    asked_place,
    default_destination,
    parse_location,
    parse_place,
    recorded_path,
)
from tiktrue_keys.models.storage.protocol import Output

OPERATION = "encrypt"


@dataclass(frozen=True, kw_only=True)
class Encrypted(OperationResult):
    """A new container. `source` and `destination` are None for a pipe; `root` is the 32-byte root of its tree."""

    key: ManagedKey
    file_id: bytes
    source: Place | None
    destination: Place | None
    name: str
    kind: str
    length: int
    size: int
    root: bytes


@dataclass(frozen=True)
class _Job:
    """The inputs for sealing one container."""

    manager: KeyManager
    key: ManagedKey
    header: Header
    data_key: SecretBuffer
    source: PlaintextSource
    progress: ProgressReport | None
    request: OperationRequest

    def intent(self, path: str, temporary: str | None, *, piped: bool = False) -> FileIntent:
        """Return the intent: no key opens the file before, the key opens it after."""
        return FileIntent(
            OPERATION,
            self.header.file_id,
            path,
            frozenset(),
            self.header.key_ids,
            model_id=self.header.model_id,
            name=self.header.name,
            temporary=temporary,
            piped=piped,
            signed=True,
        )

    def seal(self, out: Target) -> SealedContainer:
        """Write the container. Raises UnavailableError when the source changed meanwhile."""
        signer = keystore_signer(self.manager, self.key.model_id)
        return self.source.seal(out, self.header, self.data_key, signer=signer, progress=self.progress)

    def result(self, sealed: SealedContainer, destination: Place | None, outcome: FileOutcome) -> Encrypted:
        return encrypted(outcome.operation_id, self.key, self.source.path, destination, sealed)


def encrypted(
    operation_id: str, key: ManagedKey, source: Place | None, destination: Place | None, sealed: SealedContainer
) -> Encrypted:
    """Return the result of sealing `source` into `destination` under `key`."""
    header = sealed.header
    return Encrypted(
        operation_id=operation_id,
        changed=True,
        key=key,
        file_id=header.file_id,
        source=source,
        destination=destination,
        name=header.name,
        kind=header.kind.value,
        length=sealed.trailer.length,
        size=sealed.size,
        root=sealed.root,
    )


def encrypt_model(
    manager: KeyManager,
    source: str | PathLike[str] | Url | BinaryIO,
    destination: str | PathLike[str] | Url | BinaryIO | None = None,
    *,
    key: str,
    license_key: License | None = None,
    name: str | None = None,
    force: bool = False,
    progress: ProgressReport | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
    operation_id: str | None = None,
) -> Encrypted:
    """Encrypt `source` under the key that `key` names. The default destination is FILE.ttm beside the source.

    Source and destination may be URLs of objects. A failure leaves no new output and the old output untouched.
    Repeating an `operation_id` returns its container again, with `changed` False. Raises RefusedError when the
    destination exists (unless `force`) or the source is a container, UsageError for a folder, UnavailableError when the
    source changes meanwhile, the disk is full or a storage cannot be reached, and the errors of opening the key.
    """
    given = parse_location(source)
    target = default_destination(given) if destination is None else parse_location(destination)
    arguments = {"source": asked_place(given), "destination": asked_place(target), "key": key, "name": name}
    request = OperationRequest.of(OPERATION, operation_id, arguments | {"force": force})
    done = repeated(manager, request, partial(_again, manager))
    if done is not None:
        return done
    with ExitStack() as stack:
        with noted(manager, OPERATION, request.operation_id, request.subject):
            gate = manager.output_gate()
            must_be_a_model(gate, given)
        plaintext = stack.enter_context(plaintext_source(given, name))
        with noted(manager, OPERATION, request.operation_id, request.subject):
            output = stack.enter_context(plaintext.reserved_for(target, gate, force=force, lock_timeout=lock_timeout))
            opened = stack.enter_context(manager.open_key(key, license_key, use=Use.ENCRYPT))
            manager.must_be_authority(opened.key.model_id)
        data_key = stack.enter_context(SecretBuffer.random())
        header = new_header(opened, data_key, plaintext)
        job = _Job(manager, opened.key, header, data_key, plaintext, progress, request)
        return _to_stream(job, output) if isinstance(output, Stream) else _to_storage(job, output)


def new_header(opened: OpenedKey, data_key: SecretBuffer, source: PlaintextSource) -> Header:
    """Return the header of a new container, with the data key wrapped for the opened key."""
    file_id, key = new_file_id(), opened.key
    wrap = wrap_for_key(
        data_key.view,
        opened.secret.view,
        file_id=file_id,
        model_id=key.model_id,
        key_id=key.key_id,
        generation=key.generation,
    )
    return Header(file_id, key.model_id, source.name, source.kind, None, Origin.KEYSTORE, (wrap,))


def _again(manager: KeyManager, done: FinishedOperation) -> Encrypted:
    """Return the result of an earlier operation. Raises RefusedError when it wrote to a pipe."""
    if not done.path:
        words = f"operation {done.operation_id} was done already, and wrote to a pipe"
        raise RefusedError(words, "choose another id", remedy="operation-id-taken")
    made = encrypted_at(manager, parse_place(done.path), done.operation_id)
    done.must_be(made.file_id)
    return made


def encrypted_at(manager: KeyManager, path: Place, operation_id: str) -> Encrypted:
    """Return the result of an earlier operation, read from its container. Raises IntegrityError, NotFoundError."""
    with opened_container(path) as found:
        container, header = found.container, found.container.header
    return Encrypted(
        operation_id=operation_id,
        changed=False,
        key=manager.find(header.wraps[0].key_id),
        file_id=header.file_id,
        source=None,
        destination=path,
        name=header.name,
        kind=header.kind.value,
        length=container.length,
        size=container.size,
        root=container.root,
    )


def _to_storage(job: _Job, output: Output) -> Encrypted:
    path, temporary = recorded_path(output.place), output.temporary
    intent = job.intent(path, None if temporary is None else recorded_path(temporary))
    with file_operation(job.manager, intent, job.request) as outcome:
        try:
            with output.begun(job.source.sealed_size) as out:
                sealed = job.seal(out)
                output.commit()
        finally:
            if output.may_exist:  # also when only the folder's sync failed, or the storage's last answer was lost
                outcome.made(job.header.key_ids, output.replaced)
        output.remove_detached()
        _tell(outcome, sealed)
    return job.result(sealed, parse_place(path), outcome)


def _to_stream(job: _Job, stream: Stream) -> Encrypted:
    fd = stream.flushed("the output")
    with file_operation(job.manager, job.intent("", None, piped=True), job.request) as outcome:
        with foreign_os_errors("the output", "standard output"):
            sealed = job.seal(StreamSink(fd))
        outcome.keys = job.header.key_ids
        _tell(outcome, sealed)
    return job.result(sealed, None, outcome)


def _tell(outcome: FileOutcome, sealed: SealedContainer) -> None:
    outcome.detail = {"length": sealed.trailer.length, "root": sealed.root.hex()}
