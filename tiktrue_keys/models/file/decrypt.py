"""Decrypts a container from a file, object or pipe to a file, object or pipe. The use is recorded before any output."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from typing import Any, BinaryIO

from tiktrue_keys.core.approvals.proposals import Proposal
from tiktrue_keys.core.containers.intents import ABSENT, FileIntent
from tiktrue_keys.core.keys.authority import Signer
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.outputs import FileKind
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.errors import RefusedError, UsageError
from tiktrue_keys.models.container.container import Front, OpenedContainer, read_front
from tiktrue_keys.models.container.data_key import OpenedDataKey, held_keys, open_data_key
from tiktrue_keys.models.container.open import Expected, judge, opened_container, unlock
from tiktrue_keys.models.container.released import ReleaseCheck, check_container
from tiktrue_keys.models.container.signers import NOT_CHECKED, Verdict
from tiktrue_keys.models.container.unseal import open_container, open_stream
from tiktrue_keys.models.file.output import gate_with, reserved_output
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.manifest import ListedContainer
from tiktrue_keys.models.format.trailer import Trailer
from tiktrue_keys.models.pipeline.progress import ProgressReport, byte_report
from tiktrue_keys.models.pipeline.sinks import StreamSink
from tiktrue_keys.models.registry.intent import FinishedOperation, file_operation, noted, repeated
from tiktrue_keys.models.registry.plaintext_approval import release
from tiktrue_keys.models.registry.tracking import Tracked, track
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.in_order import Target
from tiktrue_keys.models.storage.location import (
    Location,
    Place,
    Stream,
    Url,
    asked_place,
    parse_location,
    parse_place,
    plaintext_destination,
    recorded_path,
)
from tiktrue_keys.models.storage.protocol import Output, storage_of

OPERATION = "decrypt"
UNSIGNED = "unsigned"


def must_be_a_flag(name: str, given: object) -> None:
    """Raise UsageError unless `given` is True or False: the text "false" of a settings file would count as true."""
    if not isinstance(given, bool):
        raise UsageError(f"{name} must be True or False, not {given!r}")


def unsigned_notice() -> Notice:
    """Return the notice about an unsigned container."""
    return Notice(UNSIGNED, "the container is not signed: any holder of its data key may have made it")


@dataclass(frozen=True, kw_only=True)
class Decrypted(OperationResult):
    """A decrypted container. `source` and `destination` are None for a pipe; `changed`: an output was stored."""

    key: ManagedKey
    file_id: bytes
    source: Place | None
    destination: Place | None
    name: str
    kind: str
    length: int
    signed: bool
    signer: Signer | None = None


@dataclass(frozen=True)
class ReadOptions:
    """The deprecated keys, and the unsigned and superseded containers, that a reader accepts."""

    allow_deprecated: bool = False
    allow_unsigned: bool = False
    allow_superseded: bool = False

    def __post_init__(self) -> None:
        for name, given in vars(self).items():
            must_be_a_flag(name, given)

    @property
    def use(self) -> Use:
        """Return the use to open the key for."""
        return Use.DECRYPT_DEPRECATED if self.allow_deprecated else Use.DECRYPT

    def releases(self, expected: Expected = None) -> ReleaseCheck:
        """Return what becomes of a container that the release of its model does not name.

        Nothing is checked for one of a folder, whose caller has checked the folder.
        """
        if isinstance(expected, ListedContainer):
            return ReleaseCheck.SKIP
        return ReleaseCheck.WARN if self.allow_superseded else ReleaseCheck.REFUSE

    @property
    def detail(self) -> dict[str, bool]:
        """Return what was allowed, as the audit log has it."""
        return {name: True for name, given in vars(self).items() if given}


@dataclass
class Decryption:
    """The decryption of one container. For a pipe, `verdict` is known only at the end."""

    manager: KeyManager
    front: Front
    opened: OpenedDataKey
    source: OpenedContainer | None
    source_fd: int
    options: ReadOptions
    progress: ProgressReport | None
    request: OperationRequest
    verdict: Verdict = NOT_CHECKED
    length: int = 0

    @property
    def header(self) -> Header:
        return self.front.header

    @property
    def expected(self) -> int | None:
        """Return the plaintext's length in bytes, None when it is not known beforehand."""
        return self.source.container.length if self.source else self.header.length

    @property
    def path(self) -> str:
        return recorded_path(self.source.path) if self.source else ""

    def keys(self) -> frozenset[str]:
        return frozenset(held_keys(self.manager, self.header))

    def write(self, out: Target) -> None:
        """Write the plaintext to `out`. Call it after every possible check and record."""
        report = byte_report(self.progress, self.expected)
        key = self.opened.secret.view
        if self.source is not None:
            container = self.source.container
            open_container(self.source.fd, container, out, key, progress=report)
            self.length = container.length
        else:
            trailer = open_stream(self.source_fd, self.front, out, key, authorship=self._judge, progress=report)
            self.length = trailer.length
        if self.progress is not None:
            self.progress(self.length, self.length)

    def detail(self, destination: str) -> dict[str, Any]:
        """Return the audit detail, without file id and path."""
        return {"destination": destination, **self.options.detail}

    def result(self, destination: Place | None, operation_id: str) -> Decrypted:
        """Return the result."""
        warnings = [*self.opened.notices]
        if self.verdict.unsigned:
            warnings.append(unsigned_notice())
        return Decrypted(
            operation_id=operation_id,
            changed=destination is not None,
            warnings=tuple(warnings),
            key=self.opened.key,
            file_id=self.header.file_id,
            source=self.source.path if self.source else None,
            destination=destination,
            name=self.header.name,
            kind=self.header.kind.value,
            length=self.length,
            signed=self.verdict.signed,
            signer=self.verdict.signer,
        )

    def proposal(self, destination: str) -> Proposal:
        """Return what the approval policy is asked about; `destination` is empty for a pipe."""
        arguments = {"file_id": self.header.file_id.hex(), **self.options.detail}
        return release(self.path, destination, [self.opened.key], arguments)

    def track(self) -> Tracked:
        """Update the container's row in the registry."""
        return track(self.manager, self.header, self.path, self.keys(), self.verdict)

    def _judge(self, trailer: Trailer) -> None:
        allow = self.options.allow_unsigned
        self.verdict = judge(self.manager, self.front, trailer, allow_unsigned=allow)
        check_container(self.manager, self.header, trailer.root, None, self.options.releases())


def decrypt_model(
    manager: KeyManager,
    source: str | PathLike[str] | Url | BinaryIO,
    destination: str | PathLike[str] | Url | BinaryIO | None = None,
    *,
    license_key: License | None = None,
    allow_deprecated: bool = False,
    allow_unsigned: bool = False,
    allow_superseded: bool = False,
    force: bool = False,
    expected_root: bytes | None = None,
    progress: ProgressReport | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
    operation_id: str | None = None,
) -> Decrypted:
    """Decrypt the container `source`. The default destination of FILE.ttm is FILE beside it.

    `expected_root` (32 bytes, for files) is the root that the container must have. A failure leaves no new output file.
    From a pipe the signature arrives last: when the output is a pipe too, the plaintext written before that is
    authenticated by the data key alone.

    Raises NotFoundError when this keystore holds no key for it; RevokedError, ExpiredError or WrongLicenseError when
    the key may not be used; IntegrityError when it was changed, cut off, stripped of its signature or signed by another
    keystore; RefusedError when it was never signed (unless `allow_unsigned`), its model's release does not name it
    (unless `allow_superseded`), or the destination exists (unless `force`).
    """
    options = ReadOptions(allow_deprecated, allow_unsigned, allow_superseded)
    given = parse_location(source)
    target = plaintext_destination(given) if destination is None else parse_location(destination)
    arguments = {"source": asked_place(given), "destination": asked_place(target), "force": force, **vars(options)}
    request = OperationRequest.of(OPERATION, operation_id, arguments | {"root": (expected_root or b"").hex()})
    done = repeated(manager, request, partial(_again, manager, given, target))
    if done is not None:
        return done
    with ExitStack() as stack:
        with noted(manager, OPERATION, request.operation_id, request.subject):
            found = None if isinstance(given, Stream) else stack.enter_context(opened_container(given, expected_root))
            gate = gate_with(manager.output_gate(), given, "the container itself")
            output = stack.enter_context(
                reserved_output(target, force=force, lock_timeout=lock_timeout, gate=gate, kind=FileKind.OTHER)
            )
            front: Front
            if found is not None:
                fd, front = -1, found.container
                opened, verdict = unlock(
                    manager,
                    found,
                    license_key,
                    options.use,
                    allow_unsigned=allow_unsigned,
                    releases=options.releases(),
                )
            else:
                assert isinstance(given, Stream), "a path or URL was opened"
                fd, verdict = given.descriptor("the container"), NOT_CHECKED
                front, opened = _unlock_pipe(manager, fd, license_key, options)
            stack.enter_context(opened)
        job = Decryption(manager, front, opened, found, fd, options, progress, request, verdict)
        return _to_stream(job, output) if isinstance(output, Stream) else _to_storage(job, output)


def _again(manager: KeyManager, source: Location, target: Location, done: FinishedOperation) -> Decrypted:
    """Return the result of an earlier operation. Raises RefusedError when its output is gone or cannot be told."""
    operation = f"operation {done.operation_id}"
    if isinstance(source, Stream) or isinstance(target, Stream) or not storage_of(target).exists():
        raise RefusedError(f"{operation} was done already", "choose another id", remedy="operation-id-taken")
    with opened_container(source) as found:
        container, header = found.container, found.container.header
    if header.file_id != done.file_id:
        raise RefusedError(f"{operation} decrypted another container", "choose another id", remedy="operation-id-taken")
    return Decrypted(
        operation_id=done.operation_id,
        changed=False,
        key=manager.find(header.wraps[0].key_id),
        file_id=header.file_id,
        source=found.path,
        destination=target,
        name=header.name,
        kind=header.kind.value,
        length=container.length,
        signed=container.trailer.signature is not None,
    )


def _unlock_pipe(
    manager: KeyManager, fd: int, license_key: License | None, options: ReadOptions
) -> tuple[Front, OpenedDataKey]:
    """Open the data key and check what is known before the body: the header, and whether its id is released."""
    with foreign_os_errors("the container", "standard input"):
        front = read_front(fd)
    opened = open_data_key(manager, front.header, license_key, options.use)
    try:
        front.authenticate(opened.secret.view)
        warned = check_container(manager, front.header, None, None, options.releases())
        opened = replace(opened, notices=(*opened.notices, *warned))
    except BaseException:
        opened.secret.wipe()
        raise
    return front, opened


def _intent(job: Decryption, place: Tracked, temporary: str, before: str) -> FileIntent:
    """Return the intent. Its path is the container's; only `temporary` names the output."""
    return FileIntent(
        OPERATION,
        job.header.file_id,
        place.path,
        frozenset({job.opened.key.key_id}),
        frozenset({job.opened.key.key_id}),
        model_id=job.header.model_id,
        name=job.header.name,
        temporary=temporary,
        piped=place.piped,
        replaces=before != ABSENT,
        before=before,
    )


def _to_storage(job: Decryption, output: Output) -> Decrypted:
    destination, place = recorded_path(output.place), job.track()
    intent = _intent(job, place, recorded_path(output.temporary or output.place), output.before)
    proposal = job.proposal(destination)
    with file_operation(job.manager, intent, job.request, keys=job.keys(), proposal=proposal) as outcome:
        outcome.detail = job.detail(destination)
        with output.begun(job.expected) as out:
            job.write(out)
            output.commit()
        outcome.detail["length"] = job.length
    return job.result(parse_place(destination), outcome.operation_id)


def _to_stream(job: Decryption, stream: Stream) -> Decrypted:
    fd = stream.flushed("the output")
    place = job.track()
    detail = {"file_id": job.header.file_id.hex(), "path": place.path, **job.detail("")}
    job.manager.record_use(OPERATION, key=job.opened.key, detail=detail, request=job.request, proposal=job.proposal(""))
    with (
        noted(job.manager, OPERATION, job.request.operation_id, job.request.subject),
        foreign_os_errors("the output", "standard output"),
    ):
        job.write(StreamSink(fd))
    return job.result(None, job.request.operation_id)
