"""Passes models to a program as files in memory: decrypted to memfds and fully verified before the program starts.

A memfd has no name in any file system. Its content is sealed against changes (memfd_create(2), F_ADD_SEALS) and freed
when the last holder closes it. Linux only. It uses as much memory as the model is large, and can be swapped out.

A container says itself how large its model is. Lengths are compared with the memory that is free before any is taken,
and then it is taken segment by segment, as each one is verified: a sparse file of zeros takes none.

Does not handle: starting the program (serving/child.py).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any

from tiktrue_keys.core.approvals.proposals import Proposal
from tiktrue_keys.core.keys.authority import Signer
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.machine.free_memory import free_memory
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.errors import UnavailableError, UsageError
from tiktrue_keys.models.container.container import OpenedContainer
from tiktrue_keys.models.container.data_key import OpenedDataKey, asked_once, held_keys
from tiktrue_keys.models.container.open import opened_container, unlock
from tiktrue_keys.models.container.signers import Verdict
from tiktrue_keys.models.container.unseal import open_container
from tiktrue_keys.models.file.decrypt import ReadOptions, unsigned_notice
from tiktrue_keys.models.pipeline.progress import ProgressReport, byte_report, within
from tiktrue_keys.models.registry.intent import noted
from tiktrue_keys.models.registry.plaintext_approval import release
from tiktrue_keys.models.registry.tracking import track
from tiktrue_keys.models.storage.location import Place, Url, asked_place, object_place, recorded_path

EVENT = "exec"
PLACE = "{}"
"""The placeholder for the path of a model in the program's arguments."""
_KEPT_FREE = 16
"""The part of the free memory that is not taken: a sixteenth."""
_ADD_SEALS, _SEALS = 1033, 1 | 2 | 4 | 8
"""F_ADD_SEALS; no more seals, no shrinking, no growing, no writing. Python names them where the system's headers do."""


@dataclass(frozen=True)
class HeldModel:
    """A decrypted model in memory: `fd` is its memfd, `path` the path for a program that inherits it."""

    fd: int
    source: Place
    key: ManagedKey
    file_id: bytes
    length: int
    signed: bool
    warnings: tuple[Notice, ...]
    signer: Signer | None = None

    @property
    def path(self) -> str:
        """Return a path that is valid in every process that inherits the descriptor under its number."""
        return f"/proc/self/fd/{self.fd}"


def filled_in(words: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Return the program's arguments with the models' paths in place of `{}`.

    `{}` must occur at least once for one model, and exactly once for each of several models, in their order. Raises
    UsageError otherwise, or without a program.
    """
    if not words:
        raise UsageError("there is no program to run", remedy="name-program")
    places = sum(word.count(PLACE) for word in words)
    if places == 0 or (len(paths) > 1 and places != len(paths)):
        raise UsageError(
            f"the program's arguments contain {PLACE} {plural(places, 'time')} for {plural(len(paths), 'model')}",
            f"write {PLACE} in place of each model's path, once for each, in their order",
        )
    following = iter(paths if len(paths) > 1 else [paths[0]] * places)
    return [_replaced(word, following) for word in words]


@contextmanager
def held_models(
    manager: KeyManager,
    sources: Sequence[str | PathLike[str] | Url],
    *,
    program: str,
    words: Sequence[str] = (),
    license_key: License | None = None,
    allow_deprecated: bool = False,
    allow_unsigned: bool = False,
    allow_superseded: bool = False,
    progress: ProgressReport | None = None,
    operation_id: str | None = None,
    free: Callable[[], int | None] = free_memory,
) -> Iterator[tuple[HeldModel, ...]]:
    """Decrypt containers to memory for `program`, which each audit record names; close them after the block.

    `words` are the program with its arguments, which approvers of the policy see.

    Opens every key and records every use before it decrypts any model. Raises UnavailableError when there is not enough
    memory or the system has no memfd, and the errors of decrypt_model. `free` returns the bytes of free memory.
    """
    if not hasattr(os, "memfd_create"):
        raise UnavailableError(
            "this system does not support files in memory", "decrypt the model into a file", remedy="decrypt-instead"
        )
    options = ReadOptions(allow_deprecated, allow_unsigned, allow_superseded)
    license_key = asked_once(license_key)
    arguments = {"sources": [asked_place(source) for source in sources], "program": program, **vars(options)}
    request = OperationRequest.of(EVENT, operation_id, arguments)
    with ExitStack() as stack, noted(manager, EVENT, request.operation_id, request.subject):
        opened = [_open(manager, object_place(source), options, license_key, stack) for source in sources]
        total = sum(found.container.length for found, _, _ in opened)
        _must_fit(total, free())
        uses = [_tracked_use(manager, found, key, verdict, program, options) for found, key, verdict in opened]
        manager.record_uses(EVENT, uses, request=request, proposal=_proposal(uses, words or [program], options))
        held, done = [], 0
        for found, key, verdict in opened:
            held.append(_hold(found, key, verdict, within(progress, done, total), stack))
            key.secret.wipe()
            done += found.container.length
        if progress is not None:
            progress(total, total)
        yield tuple(held)


_Use = tuple[ManagedKey, dict[str, Any]]
_Opened = tuple[OpenedContainer, OpenedDataKey, Verdict]


def _open(
    manager: KeyManager, source: Place, options: ReadOptions, license_key: License | None, stack: ExitStack
) -> _Opened:
    found = stack.enter_context(opened_container(source))
    key, verdict = unlock(
        manager,
        found,
        license_key,
        options.use,
        allow_unsigned=options.allow_unsigned,
        releases=options.releases(),
    )
    stack.enter_context(key)
    return found, key, verdict


def _must_fit(total: int, free: int | None) -> None:
    """Raise UnavailableError unless the models fit into free memory, with some left for the machine itself."""
    if free is not None and total > free - free // _KEPT_FREE:
        raise UnavailableError(
            f"the models need {total} bytes of memory, and {free} are free",
            "decrypt them into files, or raise the memory limit of this process",
            remedy="decrypt-instead",
        )


def _tracked_use(
    manager: KeyManager,
    found: OpenedContainer,
    key: OpenedDataKey,
    verdict: Verdict,
    program: str,
    options: ReadOptions,
) -> _Use:
    header, path = found.container.header, recorded_path(found.path)
    track(manager, header, path, held_keys(manager, header), verdict)
    detail = {"file_id": header.file_id.hex(), "path": path, "program": program[:256], **options.detail}
    return key.key, detail


def _proposal(uses: Sequence[_Use], words: Sequence[str], options: ReadOptions) -> Proposal:
    """Return the release of all models to the program, whose whole command line approvers see."""
    files = [detail["file_id"] for _, detail in uses]
    paths = ", ".join(detail["path"] for _, detail in uses)
    arguments = {"program": list(words), "files": files, **options.detail}
    return release(paths, words[0], [key for key, _ in uses], arguments)


def _hold(
    found: OpenedContainer,
    key: OpenedDataKey,
    verdict: Verdict,
    progress: ProgressReport | None,
    stack: ExitStack,
) -> HeldModel:
    container = found.container
    name = container.header.name.encode()[:200].decode("utf-8", "ignore")
    with foreign_os_errors("the memory for", str(found.path)):
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        stack.callback(os.close, fd)
        os.fchmod(fd, 0o400)
    with foreign_os_errors("the container", str(found.path)):
        report = byte_report(progress, container.length)
        open_container(found.fd, container, fd, key.secret.view, progress=report)
        fcntl.fcntl(fd, _ADD_SEALS, _SEALS)
        os.lseek(fd, 0, os.SEEK_SET)
    return HeldModel(
        fd,
        found.path,
        key.key,
        container.header.file_id,
        container.length,
        verdict.signed,
        key.notices if verdict.signed else (*key.notices, unsigned_notice()),
        verdict.signer,
    )


def _replaced(word: str, following: Iterator[str]) -> str:
    """Return `word` with each `{}` replaced by the next path."""
    first, *rest = word.split(PLACE)
    return first + "".join(next(following) + part for part in rest)
