"""Gives a container a new data key, a new body and a new file id, in place of the old file; plaintext touches no disk.

After a compromise this, and not a rewrap, makes what has leaked useless for the new file; old copies stay as they are.
are.
"""

from __future__ import annotations

import os
import stat
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.acts.files import FileAct
from tiktrue_keys.core.acts.licenses import License
from tiktrue_keys.core.acts.results import ActResult
from tiktrue_keys.core.durable import NewFile, foreign_os_errors, shown
from tiktrue_keys.core.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, RefusedError, TikTrueKeysError
from tiktrue_keys.models.buffers import page_buffer
from tiktrue_keys.models.claims import claim
from tiktrue_keys.models.container import Authorship, Container, known_leaves, read_container, verify_body
from tiktrue_keys.models.container_source import ContainerFile, container_file, unlock
from tiktrue_keys.models.data_keys import OpenedDataKey, asked_once, held_keys
from tiktrue_keys.models.decrypt import unsigned_notice
from tiktrue_keys.models.encrypt import container_size, keystore_signer
from tiktrue_keys.models.file_acts import LOCK_TIMEOUT, ProgressReport, counted, file_act, noted, recorded_path
from tiktrue_keys.models.folder_tree import read_manifest
from tiktrue_keys.models.header import Header, Origin, new_file_id
from tiktrue_keys.models.locking import locked_container
from tiktrue_keys.models.manifest import MANIFEST_NAME
from tiktrue_keys.models.output import let_go, preallocate
from tiktrue_keys.models.pipeline import check_leaf, seal_body
from tiktrue_keys.models.positioned import pwrite_full
from tiktrue_keys.models.rewrap import active_key
from tiktrue_keys.models.sinks import BodyFileSink
from tiktrue_keys.models.slots import HEADER_SIZE, write_header
from tiktrue_keys.models.sources import Piece
from tiktrue_keys.models.streaming_aead import TAG_LENGTH, BodyCipher, BodyHeader
from tiktrue_keys.models.trailer import Leaves, Trailer, leaf_hash, make_signature, root_hash
from tiktrue_keys.models.wraps import wrap_for_key

ACT = "reencrypt"
DROPPED = "dropped-recipients"


@dataclass(frozen=True, kw_only=True)
class Reencrypted(ActResult):
    """A container in place of another one; ids 16 bytes, `root` 32, `length` bytes of plaintext."""

    path: Path
    old_file_id: bytes
    file_id: bytes
    key: ManagedKey
    length: int
    root: bytes
    signed: bool


@dataclass(frozen=True)
class _Job:
    """One container on its way to another: what opens the old one and what the new one will be."""

    manager: KeyManager
    source: ContainerFile
    old: OpenedDataKey
    header: Header
    data_key: SecretBuffer
    key: ManagedKey
    signed: bool
    leaves: Leaves
    progress: ProgressReport | None


def reencrypt_model(
    manager: KeyManager,
    path: str | PathLike[str],
    *,
    license_key: License | None = None,
    to: str | None = None,
    recover_revoked: bool = False,
    allow_unsigned: bool = False,
    progress: ProgressReport | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
    operation_id: str | None = None,
) -> Reencrypted:
    """Encrypt a container anew for `to` (a KEY argument), or for the active key of the chain that opens it.

    `recover_revoked` opens one whose key is revoked, recorded before. An unsigned container stays unsigned.
    RefusedError for a file of an encrypted folder, whose manifest would not fit any more; else as decrypt_model and
    encrypt_model. After any failure the old container is there, untouched.
    """
    done = _done_before(manager, operation_id)
    if done is not None:
        return done
    license_key = asked_once(license_key)
    with foreign_os_errors("the container", path):
        real = Path(os.path.realpath(path, strict=True))
    with ExitStack() as stack:
        fd = stack.enter_context(locked_container(real, lock_timeout))
        with noted(manager, ACT, operation_id):
            with foreign_os_errors("the container", real):
                source = ContainerFile(fd, real, read_container(fd))
            _refuse_of_folder(source)
            use = Use.RECOVER_REVOKED if recover_revoked else Use.DECRYPT_DEPRECATED
            old, authorship = unlock(manager, source, license_key, use, allow_unsigned=allow_unsigned)
            stack.enter_context(old)
            target = manager.find(to) if to is not None else active_key(manager, old.key)
            opened = stack.enter_context(manager.open_key(target.key_id, license_key, use=Use.ENCRYPT))
        with foreign_os_errors("the container", real):
            leaves = known_leaves(fd, source.container)
        data_key = stack.enter_context(SecretBuffer.random())
        signed = authorship is Authorship.SIGNED
        header = _new_header(source.container.header, opened.key, opened.secret, data_key, signed=signed)
        job = _Job(manager, source, old, header, data_key, opened.key, signed, leaves, progress)
        return _replace(job, operation_id)


class OpenedBody:
    """The plaintext of a container as a source for the pipeline: opened in memory, each leaf and tag verified."""

    def __init__(self, source: ContainerFile, data_key: memoryview, leaves: Leaves) -> None:
        self._body = source.container.source(source.fd)
        self._cipher = source.container.cipher(data_key)
        self._segment_size = source.container.header.segment_size
        self._leaves = leaves
        self._own = threading.local()

    def take(self, view: memoryview, stop: threading.Event) -> Piece | None:
        """Put the next segment's plaintext into `view`; IntegrityError when it was changed."""
        if not hasattr(self._own, "buffer"):
            self._own.buffer = page_buffer(self._segment_size)
        piece = self._body.take(self._own.buffer, stop)
        if piece is None:
            return None
        ciphertext = self._own.buffer[: piece.length]
        check_leaf(self._leaves, piece.index, leaf_hash(piece.index, ciphertext))
        length = piece.length - TAG_LENGTH
        self._cipher.open(piece.index, piece.last, ciphertext, view[:length])
        return Piece(piece.index, piece.last, length)


def _done_before(manager: KeyManager, operation_id: str | None) -> Reencrypted | None:
    """What the act of this operation id made, read from its container; None when it was not done."""
    first = manager.finished_file_act(operation_id, ACT) if operation_id and manager.exists() else None
    if operation_id is None or first is None:
        return None
    file_id, path = first
    with container_file(Path(path)) as found:
        container = found.container
    if container.header.file_id != file_id:
        raise RefusedError(f"operation {operation_id} was done already; another container is at {shown(path)} now")
    records = (record for record in manager.audit_records(backwards=True) if record.operation_id == operation_id)
    old = next((record.detail["old_file_id"] for record in records if "old_file_id" in record.detail), "")
    return Reencrypted(
        operation_id=operation_id,
        changed=False,
        path=Path(path),
        old_file_id=bytes.fromhex(old),
        file_id=file_id,
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
    # The mark of an unsigned container is its origin: sealed here it would have to be signed.
    origin = Origin.KEYSTORE if signed else Origin.RECIPIENT
    return Header(file_id, key.model_id, old.name, old.kind, None, origin, (wrap,), old.segment_size)


def _replace(job: _Job, operation_id: str | None) -> Reencrypted:
    path, container = job.source.path, job.source.container
    recorded, old = recorded_path(path), container.header
    found = os.fstat(job.source.fd)
    new = NewFile(path, stat.S_IMODE(found.st_mode), what="the output")
    act = FileAct(
        ACT,
        job.header.file_id,
        recorded,
        frozenset(held_keys(job.manager, old)),
        frozenset({job.key.key_id}),
        model_id=job.header.model_id,
        name=job.header.name,
        temporary=recorded_path(new.temporary),
        signed=job.signed,
    )
    if job.old.key.revoked_at is not None:
        detail = {"file_id": old.file_id.hex(), "path": recorded}
        job.manager.record_use("recover-revoked", key=job.old.key, detail=detail)
    with file_act(job.manager, act, operation_id) as outcome, new:
        claim(new.fd)
        try:
            preallocate(new.fd, container_size(container.length), path)
            with suppress(OSError):  # only root may give a file away; everybody else owns it already or makes it theirs
                os.fchown(new.fd, found.st_uid, found.st_gid)
            with foreign_os_errors("the output", path):
                trailer = _seal(job, new.fd)
                _verify(job, new.fd, trailer)
            new.commit(replace=True)
        finally:
            if new.committed:
                outcome.keys = frozenset({job.key.key_id})
        let_go(job.manager, old, recorded)
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
    )


def _seal(job: _Job, fd: int) -> Trailer:
    container = job.source.container
    geometry, cipher = container.geometry, BodyCipher(job.data_key.view, job.header.file_id, BodyHeader.fresh())
    source = OpenedBody(job.source, job.old.secret.view, job.leaves)
    report = counted(job.progress, container.length)
    summary = seal_body(source, BodyFileSink(fd, geometry), cipher, geometry, progress=report)
    if summary.length != container.length:
        raise IntegrityError("the container was cut off")
    header = job.header.with_length(summary.length)
    root = root_hash(header.file_id, cipher.header, geometry, summary.length, summary.leaves)
    trailer = Trailer(summary.segments, summary.length, root, summary.leaves)
    if job.signed:
        signer = keystore_signer(job.manager)
        signature = make_signature(header, cipher.header, trailer, issuer=signer.issuer, sign=signer.sign)
        trailer = trailer.signed(signature)
    pwrite_full(fd, trailer.encode(), HEADER_SIZE + geometry.body_length(summary.length))
    write_header(fd, header, job.data_key.view)
    return trailer


def _verify(job: _Job, fd: int, trailer: Trailer) -> None:
    """Read back what is about to replace the only copy."""
    written: Container = read_container(fd)
    written.authenticate(job.data_key.view)
    if written.root != trailer.root:
        raise IntegrityError("the new container was not written as it was made", "look at the kernel's log")
    verify_body(fd, written)


def _refuse_of_folder(source: ContainerFile) -> None:
    for folder in source.path.parents:
        if not os.path.lexists(folder / MANIFEST_NAME):
            continue
        ids: set[bytes] = set()
        with suppress(TikTrueKeysError):  # a broken manifest lists nothing
            ids = {entry.file_id for entry in read_manifest(folder).manifest.containers}
        if source.container.header.file_id in ids:
            words = f"{shown(source.path)} belongs to the encrypted folder {shown(folder)}"
            raise RefusedError(words, "decrypt the folder and encrypt it again")


def _warnings(job: _Job) -> tuple[Notice, ...]:
    warnings = list(job.old.notices)
    if not job.signed:
        warnings.append(unsigned_notice())
    header = job.source.container.header
    others = header.key_ids - set(held_keys(job.manager, header))
    if others:
        words = f"{len(others)} keys of other keystores do not open the new container: encrypt-model --recipient"
        warnings.append(Notice(DROPPED, words))
    return tuple(warnings)
