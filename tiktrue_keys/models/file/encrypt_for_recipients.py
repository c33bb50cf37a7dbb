"""Encrypts one model for the public halves of managed keys: what CI does. No keystore, no license, no record.

Nobody signs such a container: its root, which is printed, is what the holder of the keystore signs it by
(file/sign.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from typing import BinaryIO

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.models.container.seal import SealedContainer, container_size, seal_container
from tiktrue_keys.models.file.encrypt import refuse_itself
from tiktrue_keys.models.file.output import Output, RemoteOutput, preallocate, reserved_place
from tiktrue_keys.models.file.plaintext import PlaintextSource, descriptor, plaintext_source
from tiktrue_keys.models.format.header import Header, Origin, new_file_id, sorted_wraps
from tiktrue_keys.models.format.recipient import Recipient, same_model
from tiktrue_keys.models.format.wraps import wrap_for_recipient
from tiktrue_keys.models.pipeline.progress import ProgressReport, byte_report
from tiktrue_keys.models.pipeline.sinks import StreamSink
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.in_order import Target
from tiktrue_keys.models.storage.location import Place, Url, as_place, default_destination


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
) -> SealedForRecipients:
    """Encrypt `source` so that each of the recipients' keystores opens it; `destination` None is FILE.ttm beside it.

    ExpiredError when a recipient is past its `not_after` at `now`, UsageError for recipients of several models; else
    as encrypt_model. After any failure nothing new is there, and what was there before is.
    """
    model_id = same_model(recipients)
    warnings = tuple(notice for recipient in recipients for notice in recipient.must_be_valid(now))
    given = as_place(source)
    target = default_destination(given) if destination is None else as_place(destination)
    with ExitStack() as stack:
        plaintext = stack.enter_context(plaintext_source(given, name))
        data_key = stack.enter_context(SecretBuffer.random())
        header = _header(plaintext, model_id, recipients, data_key)
        if isinstance(target, Place):
            refuse_itself(plaintext, target)
            output = stack.enter_context(reserved_place(target, force=force, lock_timeout=lock_timeout))
            if isinstance(output, RemoteOutput):
                sealed = _to_object(plaintext, header, data_key, output, progress)
            else:
                sealed = _to_file(plaintext, header, data_key, output, progress)
        else:
            fd = descriptor(target, "the output")
            target.flush()
            with foreign_os_errors("the output", "standard output"):
                sealed = _seal(plaintext, header, data_key, StreamSink(fd), progress)
    return SealedForRecipients(
        operation_id=new_operation_id(),
        changed=True,
        warnings=warnings,
        recipients=tuple(recipients),
        file_id=header.file_id,
        source=plaintext.path,
        destination=_absolute(target) if isinstance(target, Place) else None,
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


def _absolute(place: Place) -> Place:
    return place if isinstance(place, Url) else place.absolute()


def _to_object(
    plaintext: PlaintextSource,
    header: Header,
    data_key: SecretBuffer,
    output: RemoteOutput,
    progress: ProgressReport | None,
) -> SealedContainer:
    with output.upload(None if plaintext.size is None else container_size(plaintext.size)) as upload:
        sealed = _seal(plaintext, header, data_key, upload, progress)
        upload.commit()
    output.remove_detached()
    return sealed


def _to_file(
    plaintext: PlaintextSource,
    header: Header,
    data_key: SecretBuffer,
    output: Output,
    progress: ProgressReport | None,
) -> SealedContainer:
    with output.new as new:
        if plaintext.size is not None:
            preallocate(new.fd, container_size(plaintext.size), new.path)
        with foreign_os_errors("the output", new.path):
            sealed = _seal(plaintext, header, data_key, new.fd, progress)
        output.commit()
    return sealed


def _seal(
    plaintext: PlaintextSource,
    header: Header,
    data_key: SecretBuffer,
    out: Target,
    progress: ProgressReport | None,
) -> SealedContainer:
    sealed = seal_container(
        plaintext.fd,
        out,
        header,
        data_key.view,
        signer=None,
        already=plaintext.already,
        progress=byte_report(progress, plaintext.size),
    )
    plaintext.refuse_changed()
    if progress is not None:
        progress(sealed.trailer.length, sealed.trailer.length)
    return sealed
