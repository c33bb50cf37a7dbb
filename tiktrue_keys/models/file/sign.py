"""Signs a container that was sealed for this keystore without one, for example on a CI server.

Reads the whole body once to verify the root, then writes the signature: in place, or for an object into the detached
header beside it. The signer vouches for the root, which must come from the CI server through another channel.

Does not handle: containers that a keystore sealed. They are always signed; a missing signature means tampering.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os import PathLike

from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import IntegrityError, UsageError
from tiktrue_keys.models.container.container import (
    Authorship,
    Container,
    OpenedContainer,
    read_container,
    verify_body,
)
from tiktrue_keys.models.container.data_key import held_keys, open_data_key
from tiktrue_keys.models.container.open import judge, opened_container
from tiktrue_keys.models.container.seal import keystore_signer
from tiktrue_keys.models.container.signers import Verdict
from tiktrue_keys.models.file.decrypt import ReadOptions
from tiktrue_keys.models.file.output import must_be_a_model
from tiktrue_keys.models.format.trailer import ROOT_LENGTH, make_signature, signature_place
from tiktrue_keys.models.pipeline.progress import ProgressReport, byte_report
from tiktrue_keys.models.registry.intent import FinishedOperation, file_operation, noted, repeated
from tiktrue_keys.models.registry.tracking import track, tracked_place
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.location import Place, Url, asked_place, object_place, parse_place, recorded_path
from tiktrue_keys.models.storage.protocol import HeldContainer, storage_of

OPERATION = "sign"


@dataclass(frozen=True, kw_only=True)
class Signed(OperationResult):
    """A signed container; `changed` is False when it was signed already. `root` is 32 bytes."""

    path: Place
    file_id: bytes
    key: ManagedKey
    length: int
    root: bytes


def parse_root(text: str) -> bytes:
    """Return the 32 bytes of a printed root. Raises UsageError unless it is 64 hex digits."""
    try:
        root = bytes.fromhex(text)
    except ValueError:
        root = b""
    if len(root) != ROOT_LENGTH or not text.isalnum():
        raise UsageError(
            "a root has 64 hex digits", "copy it from the output of the encryption", remedy="expected-root"
        )
    return root


def sign_model(
    manager: KeyManager,
    path: str | PathLike[str] | Url,
    *,
    expected_root: bytes,
    license_key: License | None = None,
    allow_deprecated: bool = False,
    progress: ProgressReport | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
    operation_id: str | None = None,
) -> Signed:
    """Sign the container at `path` when its root is `expected_root` (32 bytes) and its whole body has that root.

    Reads the body once, and writes 112 bytes, synced, or one small object. Raises IntegrityError when the root or the
    body differs, or a container sealed by a keystore has lost its signature, and the errors of opening the data key.
    """
    arguments = {"path": asked_place(path), "root": expected_root.hex(), "allow_deprecated": allow_deprecated}
    request = OperationRequest.of(OPERATION, operation_id, arguments)
    done = repeated(manager, request, partial(_again, manager))
    if done is not None:
        return done
    with noted(manager, OPERATION, request.operation_id, request.subject):
        must_be_a_model(manager.output_gate(), object_place(path))
    with storage_of(object_place(path)).held(lock_timeout) as held, ExitStack() as stack:
        recorded = recorded_path(held.place)
        with noted(manager, OPERATION, request.operation_id, request.subject):
            found = _read(held)
            container = found.container
            if container.root != expected_root:
                raise IntegrityError(
                    f"{shown(str(path))} does not have the expected root",
                    "compare it with the root in the log of the run that made the container; do not sign it before",
                )
            use = ReadOptions(allow_deprecated).use
            opened = stack.enter_context(open_data_key(manager, container.header, license_key, use))
            container.authenticate(opened.secret.view)
            manager.must_be_authority(container.header.model_id)
            verdict = judge(manager, container, container.trailer, allow_unsigned=True)
            if verdict.unsigned:
                with foreign_os_errors("the container", recorded):
                    verify_body(found.fd, container, progress=byte_report(progress, container.length))
                if progress is not None:
                    progress(container.length, container.length)
        changed, notices = verdict.unsigned, opened.notices
        if changed:
            _sign(manager, held, found.container, recorded, request)
            verdict = Verdict(Authorship.SIGNED, manager.authority(container.header.model_id))
        track(manager, container.header, recorded, held_keys(manager, container.header), verdict)
        return Signed(
            operation_id=request.operation_id,
            changed=changed,
            warnings=notices,
            path=held.place,
            file_id=container.header.file_id,
            key=opened.key,
            length=container.length,
            root=container.root,
        )


def _again(manager: KeyManager, done: FinishedOperation) -> Signed:
    """Return the container that an earlier operation signed, in its current state."""
    place = parse_place(done.path)
    with opened_container(place) as found:
        container = found.container
    done.must_be(container.header.file_id)
    return Signed(
        operation_id=done.operation_id,
        changed=False,
        path=place,
        file_id=done.file_id,
        key=next(iter(held_keys(manager, container.header).values())),
        length=container.length,
        root=container.root,
    )


def _read(held: HeldContainer) -> OpenedContainer:
    readable = held.readable()
    with foreign_os_errors("the container", str(held.place)):
        own = read_container(readable)
        container = own.with_detached(held.detached(own.header.file_id))
    return OpenedContainer(readable, held.place, container)


def _sign(manager: KeyManager, held: HeldContainer, container: Container, path: str, request: OperationRequest) -> None:
    """Record and sign. The registry records the signature only after it is written."""
    header = container.header
    keys = frozenset(held_keys(manager, header))
    tracked_place(manager, header, path)
    intent = FileIntent(OPERATION, header.file_id, path, keys, keys, model_id=header.model_id, name=header.name)
    signer = keystore_signer(manager, header.model_id)
    with file_operation(manager, intent, request, keys=keys) as outcome:
        outcome.detail = {"root": container.root.hex(), "length": container.length}
        signature = make_signature(header, container.body, container.trailer, issuer=signer.issuer, sign=signer.sign)
        held.sign(container.slots, signature_place(container.root, signature), container.size)
