"""Encrypts one model for the public halves of managed keys, for example on a CI server: no keystore, license or record.

The container is not signed. Its root is printed; the holder of the keystore signs the container by that root
(file/sign.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import BinaryIO

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.outputs import KEYSTORES_ONLY, OutputGate
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.models.container.seal import SealedContainer
from tiktrue_keys.models.file.output import must_be_a_model
from tiktrue_keys.models.file.plaintext import PlaintextSource, plaintext_source
from tiktrue_keys.models.format.header import Header, Origin, new_file_id, sorted_wraps
from tiktrue_keys.models.format.recipient import Recipient, same_model
from tiktrue_keys.models.format.wraps import wrap_for_recipient
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.pipeline.sinks import StreamSink
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.in_order import Target
from tiktrue_keys.models.storage.location import Place, Stream, Url, default_destination, parse_location
from tiktrue_keys.models.storage.protocol import Output

_Seal = Callable[[Target], SealedContainer]


@dataclass(frozen=True, kw_only=True)
class SealedForRecipients(OperationResult):
    """A new, unsigned container. `source` and `destination` are None for a pipe; `root` is 32 bytes."""

    recipients: tuple[Recipient, ...]
    file_id: bytes
    source: Place | None
    destination: Place | None
    name: str
    kind: str
    length: int
    size: int
    root: bytes


def encrypt_for_recipients(
    source: str | PathLike[str] | Url | BinaryIO,
    destination: str | PathLike[str] | Url | BinaryIO | None = None,
    *,
    recipients: Sequence[Recipient],
    now: Instant,
    name: str | None = None,
    force: bool = False,
    progress: ProgressReport | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
    gate: OutputGate = KEYSTORES_ONLY,
) -> SealedForRecipients:
    """Encrypt `source` so that the keystore of each recipient opens it. The default destination is FILE.ttm beside it.

    `gate` protects files that the output must not replace; keystores are protected anyway. A failure leaves no new
    output and the old output untouched. Raises ExpiredError when a recipient is past its
    `not_after` at `now`, UsageError for recipients of several models or a folder, RefusedError when the destination
    exists (unless `force`) or the source is a container, UnavailableError when the source changes meanwhile.
    """
    model_id = same_model(recipients)
    warnings = tuple(notice for recipient in recipients for notice in recipient.must_be_valid(now))
    given = parse_location(source)
    target = default_destination(given) if destination is None else parse_location(destination)
    must_be_a_model(gate, given)
    with ExitStack() as stack:
        plaintext = stack.enter_context(plaintext_source(given, name))
        data_key = stack.enter_context(SecretBuffer.random())
        header = _header(plaintext, model_id, recipients, data_key)
        output = stack.enter_context(plaintext.reserved_for(target, gate, force=force, lock_timeout=lock_timeout))
        seal = partial(plaintext.seal, header=header, data_key=data_key, signer=None, progress=progress)
        sealed = _to_stream(output, seal) if isinstance(output, Stream) else _to_storage(output, plaintext, seal)
    return SealedForRecipients(
        operation_id=new_operation_id(),
        changed=True,
        warnings=warnings,
        recipients=tuple(recipients),
        file_id=header.file_id,
        source=plaintext.path,
        destination=None if isinstance(target, Stream) else target.absolute(),
        name=header.name,
        kind=header.kind.value,
        length=sealed.trailer.length,
        size=sealed.size,
        root=sealed.root,
    )


def _header(
    plaintext: PlaintextSource, model_id: str, recipients: Sequence[Recipient], data_key: SecretBuffer
) -> Header:
    file_id = new_file_id()
    wraps = tuple(
        wrap_for_recipient(
            data_key.view,
            recipient.public,
            file_id=file_id,
            model_id=model_id,
            key_id=recipient.key_id,
            generation=recipient.generation,
        )
        for recipient in recipients
    )
    return Header(file_id, model_id, plaintext.name, plaintext.kind, None, Origin.RECIPIENT, sorted_wraps(wraps))


def _to_storage(output: Output, plaintext: PlaintextSource, seal: _Seal) -> SealedContainer:
    with output.begun(plaintext.sealed_size) as out:
        sealed = seal(out)
        output.commit()
    output.remove_detached()
    return sealed


def _to_stream(stream: Stream, seal: _Seal) -> SealedContainer:
    fd = stream.flushed("the output")
    with foreign_os_errors("the output", "standard output"):
        return seal(StreamSink(fd))
