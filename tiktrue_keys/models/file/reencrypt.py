"""Re-encrypts a container in place under a new data key and file id. Plaintext is never written to disk.

Use this, not a rewrap, after a compromise: a leaked data key does not open the new file. Old copies stay readable.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.approvals.proposals import Proposal
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.durable import NewFile, read_capped
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.keystore.replay import OperationRequest, arguments_of
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.operations.supersede import AFTER_OVERLAP, AT_ONCE
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import RefusedError, TikTrueKeysError, UsageError
from tiktrue_keys.models.container.container import ContainerFile, known_leaves, read_container
from tiktrue_keys.models.container.data_key import asked_once, held_keys
from tiktrue_keys.models.container.open import opened_container, unlock
from tiktrue_keys.models.container.released import ReleaseCheck
from tiktrue_keys.models.container.reseal import Reencryption
from tiktrue_keys.models.container.seal import container_size
from tiktrue_keys.models.file.decrypt import must_be_a_flag, unsigned_notice
from tiktrue_keys.models.file.output import must_be_a_model
from tiktrue_keys.models.file.target_key import active_key
from tiktrue_keys.models.format.header import Header, Origin, new_file_id
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, MAX_MANIFEST, SignedManifest
from tiktrue_keys.models.format.wraps import wrap_for_key
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.registry.intent import FinishedOperation, file_operation, noted, repeated
from tiktrue_keys.models.registry.plaintext_approval import reencryption
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.files import FileOutput, FileStorage
from tiktrue_keys.models.storage.location import asked_place, recorded_path

OPERATION = "reencrypt"
DROPPED = "dropped-recipients"


@dataclass(frozen=True, kw_only=True)
class Reencrypted(OperationResult):
    """A re-encrypted container; file ids 16 bytes, `root` 32 bytes, `length` in bytes of plaintext.

    `release` is the number of the release that names it, None where none has named the old container.
    """

    path: Path
    old_file_id: bytes
    file_id: bytes
    key: ManagedKey
    length: int
    root: bytes
    signed: bool
    release: int | None = None


@dataclass(frozen=True)
class Request:
    """How to re-encrypt containers; `to` is a KEY argument (default: the active key of the chain).

    `confirmed` is the model whose containers of a removed issuer may be recovered although that had revoked their key.
    """

    license_key: License | None
    to: str | None
    recover_revoked: bool
    allow_unsigned: bool
    confirmed: str | None = None

    def __post_init__(self) -> None:
        must_be_a_flag("recover_revoked", self.recover_revoked)
        must_be_a_flag("allow_unsigned", self.allow_unsigned)

    @property
    def use(self) -> Use:
        """Return the use to open the old key for."""
        return Use.RECOVER_REVOKED if self.recover_revoked else Use.DECRYPT_DEPRECATED

    @property
    def leaves(self) -> str:
        """Return when the old container leaves the release that names it."""
        return AT_ONCE if self.recover_revoked else AFTER_OVERLAP

    def check(self, manager: KeyManager, model_id: str, keys: Iterable[ManagedKey]) -> bool:
        """Return whether a container of the model, which `keys` open, is recovered from a removed issuer.

        Raises RefusedError for a model of a pinned issuer, and for such a recovery of another model than the confirmed.
        """
        manager.must_be_authority(model_id)
        foreign = [key for key in keys if key.origin is not None and key.revoked_at is not None]
        if not self.recover_revoked or not foreign:
            return False
        if self.confirmed != model_id:
            raise RefusedError(
                f"key {foreign[0].key_id} came from an issuer that was removed: recovering its container of model"
                f" {model_id} has to be confirmed",
                "pass confirmed with the model's id",
                key_id=foreign[0].key_id,
                remedy="confirm-model",
                about={"model": model_id},
            )
        return True

    def must_be_unconfirmed(self, *, recovering: bool) -> None:
        """Raise UsageError for a confirmation of a recovery that this is not: the container may be another one."""
        if self.confirmed is not None and not recovering:
            words = f"no recovery from a removed issuer has to be confirmed here, but '{self.confirmed[:96]}' was"
            raise UsageError(words, "omit confirmed", remedy="omit-confirm")

    def target(self, manager: KeyManager, old: ManagedKey) -> ManagedKey:
        """Return the key for the new container, which replaces one that `old` opens."""
        return manager.find(self.to) if self.to is not None else active_key(manager, old, of_any_issuer=True)

    def request_of(self, path: str | PathLike[str], operation: str, operation_id: str | None) -> OperationRequest:
        """Return the request for `operation` on `path`."""
        arguments = arguments_of(self, without=("license_key", *(() if self.confirmed else ("confirmed",))))
        return OperationRequest.of(operation, operation_id, arguments | {"path": asked_place(path)})


def reencrypt_model(
    manager: KeyManager,
    path: str | PathLike[str],
    *,
    license_key: License | None = None,
    to: str | None = None,
    recover_revoked: bool = False,
    allow_unsigned: bool = False,
    confirmed: str | None = None,
    progress: ProgressReport | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
    operation_id: str | None = None,
) -> Reencrypted:
    """Re-encrypt a container for `to` (a KEY argument; default: the active key of the chain that opens it).

    `recover_revoked` allows a revoked key to open it; that use is recorded first. For a key of an issuer that was
    removed it needs `confirmed`, the model's id, and then also counts what that issuer had signed. An unsigned
    container stays unsigned. Raises RefusedError for a model of a pinned issuer, which alone re-encrypts it.
    A failure leaves the old container untouched. Raises RefusedError for a file of an encrypted folder, because the
    manifest would no longer match; otherwise the errors of decrypt_model and encrypt_model.
    """
    request = Request(asked_once(license_key), to, recover_revoked, allow_unsigned, confirmed)
    asked = request.request_of(path, OPERATION, operation_id)
    done = repeated(manager, asked, partial(_again, manager))
    if done is not None:
        return done
    with noted(manager, OPERATION, asked.operation_id, asked.subject):
        must_be_a_model(manager.output_gate(), Path(path))
    with FileStorage(Path(path)).held(lock_timeout) as held, ExitStack() as stack:
        with noted(manager, OPERATION, asked.operation_id, asked.subject):
            with foreign_os_errors("the container", held.place):
                source = ContainerFile(held.fd, held.place, read_container(held.fd))
            _refuse_of_folder(source)
            header = source.container.header
            recovering = request.check(manager, header.model_id, held_keys(manager, header).values())
            request.must_be_unconfirmed(recovering=recovering)
            job = stack.enter_context(begun(manager, source, request, progress))
        return write_reencrypted(job, held.place, asked, leaves=request.leaves)


@contextmanager
def begun(
    manager: KeyManager, source: ContainerFile, request: Request, progress: ProgressReport | None
) -> Iterator[Reencryption]:
    """Open both keys, check the old container's header and signature, and yield the prepared re-encryption."""
    with ExitStack() as stack:
        header = source.container.header
        recovering = request.check(manager, header.model_id, held_keys(manager, header).values())
        old, verdict = unlock(
            manager,
            source,
            request.license_key,
            request.use,
            allow_unsigned=request.allow_unsigned,
            recovering=recovering,
            releases=ReleaseCheck.SKIP,  # its plaintext stays inside, and the new container is named only if it was
        )
        stack.enter_context(old)
        target = request.target(manager, old.key)
        opened = stack.enter_context(manager.open_key(target.key_id, request.license_key, use=Use.ENCRYPT))
        with foreign_os_errors("the container", source.path):
            leaves = known_leaves(source.fd, source.container)
        data_key = stack.enter_context(SecretBuffer.random())
        signed = verdict.signed
        header = _new_header(source.container.header, opened.key, opened.secret, data_key, signed=signed)
        yield Reencryption(manager, source, old, header, data_key, opened.key, signed, leaves, progress)


def _again(manager: KeyManager, done: FinishedOperation) -> Reencrypted:
    """Return the result of an earlier operation, read from its container."""
    operation, path = done.operation_id, Path(done.path)
    with opened_container(path) as found:
        container = found.container
    done.must_be(container.header.file_id)
    records = (record for record in manager.audit_records(backwards=True) if record.operation_id == operation)
    old = next((record.detail["old_file_id"] for record in records if "old_file_id" in record.detail), "")
    return Reencrypted(
        operation_id=operation,
        changed=False,
        path=path,
        old_file_id=bytes.fromhex(old),
        file_id=done.file_id,
        key=manager.find(container.header.wraps[0].key_id),
        length=container.length,
        root=container.root,
        signed=container.trailer.signature is not None,
    )


def _new_header(old: Header, key: ManagedKey, secret: SecretBuffer, data_key: SecretBuffer, *, signed: bool) -> Header:
    file_id = new_file_id()
    wrap = wrap_for_key(
        data_key.view,
        secret.view,
        file_id=file_id,
        model_id=key.model_id,
        key_id=key.key_id,
        generation=key.generation,
    )
    # The origin marks an unsigned container: with origin `keystore` it would have to be signed.
    origin = Origin.KEYSTORE if signed else Origin.RECIPIENT
    return Header(file_id, key.model_id, old.name, old.kind, None, origin, (wrap,), old.segment_size)


def write_reencrypted(job: Reencryption, path: Path, asked: OperationRequest | None, *, leaves: str) -> Reencrypted:
    """Seal and verify the new container and give it the name `path`.

    It replaces the old one, unless `leaves` is empty: then the old one stays, and stays named in any release.
    """
    replaces = bool(leaves)
    old, found, recorded = job.source.container.header, os.fstat(job.source.fd), recorded_path(path)
    output = FileOutput(NewFile(path, stat.S_IMODE(found.st_mode), gate=None, what="the output"), force=replaces)
    intent = FileIntent(
        OPERATION,
        job.header.file_id,
        recorded,
        frozenset(held_keys(job.manager, old)) if replaces else frozenset(),
        frozenset({job.key.key_id}),
        model_id=job.header.model_id,
        name=job.header.name,
        temporary=recorded_path(output.temporary),
        signed=job.signed,
        supersedes=old.file_id.hex(),
        leaves=leaves,
    )
    recovers, detail = job.old.key.revoked_at is not None, {"file_id": old.file_id.hex()}
    detail["path"] = recorded_path(job.source.path)
    # Part of a folder: the folder's own intent has asked.
    proposal = None if asked is None else _proposal(job, detail, recovers=recovers)
    if recovers:
        job.manager.record_use("recover-revoked", key=job.old.key, detail=detail, proposal=proposal)
    with file_operation(job.manager, intent, asked, proposal=None if recovers else proposal) as outcome:
        try:
            with output.begun(container_size(job.source.container.length)) as fd:
                with suppress(OSError):  # only root can give a file away; other users own it or become its owner
                    os.fchown(fd, found.st_uid, found.st_gid)
                trailer = job.seal(fd)
                job.verify(fd, trailer)
                release = job.manager.name_successor(outcome.operation_id, trailer.root) if job.signed else None
                output.commit()
        finally:
            if output.may_exist:
                outcome.made(frozenset({job.key.key_id}), old if replaces else None)
        outcome.detail = {"old_file_id": old.file_id.hex(), "length": trailer.length, "root": trailer.root.hex()}
    return Reencrypted(
        operation_id=outcome.operation_id,
        changed=True,
        warnings=_warnings(job),
        path=path,
        old_file_id=old.file_id,
        file_id=job.header.file_id,
        key=job.key,
        length=trailer.length,
        root=trailer.root,
        signed=job.signed,
        release=release,
    )


def _proposal(job: Reencryption, detail: dict[str, str], *, recovers: bool) -> Proposal | None:
    moves = job.key.model_id != job.source.container.header.model_id
    arguments = detail | {"to": job.key.key_id}
    return reencryption(detail["path"], [job.old.key], arguments, recovers=recovers, moves=moves)


def _refuse_of_folder(source: ContainerFile) -> None:
    for folder in source.path.parents:
        if not os.path.lexists(folder / MANIFEST_NAME):
            continue
        ids: set[bytes] = set()
        with suppress(TikTrueKeysError):  # a broken manifest lists nothing
            listed = SignedManifest.decode(read_capped(folder / MANIFEST_NAME, MAX_MANIFEST, "the manifest"))
            ids = {entry.file_id for entry in listed.manifest.containers}
        if source.container.header.file_id in ids:
            words = f"{shown(source.path)} belongs to the encrypted folder {shown(folder)}"
            raise RefusedError(
                words, "re-encrypt the whole folder", remedy="part-of-folder", about={"folder": str(folder)}
            )


def _warnings(job: Reencryption) -> tuple[Notice, ...]:
    warnings = list(job.old.notices)
    if not job.signed:
        warnings.append(unsigned_notice())
    header = job.source.container.header
    others = header.key_ids - set(held_keys(job.manager, header))
    if others:
        words = f"{plural(len(others), 'key')} of other keystores cannot open the new container"
        warnings.append(Notice(DROPPED, words, remedy="recipients-dropped"))
    return tuple(warnings)
