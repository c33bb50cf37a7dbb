"""Rewraps many containers: a batch of them is locked, recorded, rewritten and recorded again.

Each container goes through the two slots of its header as a single one does (storage/header_file.py); only the waits
for the disk overlap. A kill leaves the old or the new wrap in each of them, and the intents of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.settlement import FAILED, OK, Ending
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.subject import Subject
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.outputs import OutputGate
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import BusyError, NotFoundError, TikTrueKeysError
from tiktrue_keys.models.container.container import read_outline
from tiktrue_keys.models.container.data_key import OpenedDataKey
from tiktrue_keys.models.container.open import judge
from tiktrue_keys.models.container.signers import Signers
from tiktrue_keys.models.file.output import must_be_a_model
from tiktrue_keys.models.file.target_key import TargetKeys
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.header_slots import HeaderSlots
from tiktrue_keys.models.format.manifest import ListedContainer
from tiktrue_keys.models.registry.intent import failure_detail, noted
from tiktrue_keys.models.registry.tracking import SeenContainer, track_all, tracked_places
from tiktrue_keys.models.storage.container_lock import LOCK_TIMEOUT
from tiktrue_keys.models.storage.descriptors import allowed_descriptors
from tiktrue_keys.models.storage.location import Place, recorded_path
from tiktrue_keys.models.storage.overlap import THREADS, overlapped
from tiktrue_keys.models.storage.protocol import HeldContainer, storage_of

OPERATION = "rewrap"
FILES_AT_ONCE = 250
"""How many containers are locked at the same time. Each takes a descriptor, and 64 KiB for its header."""


@dataclass(frozen=True, kw_only=True)
class Rewrapped(OperationResult):
    """A container with the ids of this keystore's keys that opened it before and that open it now."""

    path: Place
    file_id: bytes
    model_id: str
    keys_before: frozenset[str]
    keys_after: frozenset[str]


@dataclass(frozen=True, slots=True)
class WantedRewrap:
    """A container to rewrap: where it is, its id, None for whichever is there, and what a manifest says of it."""

    place: Place
    file_id: bytes | None = None
    listed: ListedContainer | None = None


def another_container(wanted: WantedRewrap) -> TikTrueKeysError:
    """Return the error of a place where another container lies than the registry says."""
    return NotFoundError(
        f"another container is at {shown(str(wanted.place))}",
        "scan the folder where it is now, or forget it",
        remedy="moved-container",
        about={"file_id": (wanted.file_id or b"").hex()},
    )


@dataclass(frozen=True)
class RewrapOptions:
    """To which key containers are moved, and how.

    `to` is a KEY argument (default: the active key of each one's chain), `another` the error of a container that is not
    the wanted one, `request` that of a single container (default: each one is an operation of its own).
    """

    license_key: License | None
    to: str | None = None
    lock_timeout: float = LOCK_TIMEOUT
    threads: int = THREADS
    another: Callable[[WantedRewrap], TikTrueKeysError] = another_container
    request: OperationRequest | None = None

    def asked(self) -> OperationRequest:
        """Return the request of the next container."""
        return self.request or OperationRequest.of(OPERATION, None, {})


RewrapEnding = Rewrapped | TikTrueKeysError


def rewrap_all(manager: KeyManager, wanted: Sequence[WantedRewrap], options: RewrapOptions) -> list[RewrapEnding]:
    """Rewrap containers, and go on after failures.

    Returns the result or the error of each, in order; the errors are those of rewrap_model. A container that another
    process has locked, or that is a copy of another one of its batch, waits for a batch of its own: no other container
    is locked while this one is waited for.
    """
    if len(wanted) == 1:
        return list(_run(manager, wanted, options).values())
    endings: dict[int, RewrapEnding] = {}
    numbers, size = range(len(wanted)), allowed_descriptors(FILES_AT_ONCE)
    for at in range(0, len(wanted), size):
        part = numbers[at : at + size]
        made = _run(manager, [wanted[number] for number in part], replace(options, lock_timeout=0.0))
        endings |= {part[index]: ending for index, ending in made.items() if not isinstance(ending, BusyError)}
    for number in numbers:
        if number not in endings:
            endings[number] = _run(manager, [wanted[number]], options)[0]
    return [endings[number] for number in numbers]


def _run(manager: KeyManager, wanted: Sequence[WantedRewrap], options: RewrapOptions) -> dict[int, RewrapEnding]:
    """Rewrap one batch; return the endings by number. One without an ending has to wait for another batch."""
    # Lock order: file, then keystore. Everything is decided under the locks, so that of two rewraps the second one sees
    # what the first one left; in object storage the second one's write is refused.
    with ExitStack() as stack:
        keys = stack.enter_context(TargetKeys(manager, options.license_key, options.to))
        batch = _Batch(manager, keys, stack, options, manager.output_gate())
        for number, each in enumerate(wanted):
            try:
                batch.take(number, each)
            except TikTrueKeysError as error:
                batch.endings[number] = error
        batch.rewrite()
        return batch.endings


@dataclass
class _Locked:
    """A container that is locked and about to be rewritten; `error` says why it is not done."""

    number: int
    held: HeldContainer
    new: Header
    opened: OpenedDataKey
    result: Rewrapped
    request: OperationRequest
    intent: FileIntent
    error: BaseException | None = None
    done: bool = False

    def write(self) -> None:
        """Rewrite both slots. An error of the storage is this container's alone."""
        try:
            self.held.rewrite(self.new, self.opened.secret.view)
            self.done = True
        except TikTrueKeysError as error:
            self.error = error
        except BaseException as error:
            self.error = error
            raise

    def ending(self) -> Ending:
        """Return the outcome. Until both slots are whole and equal, either key may be the one that opens it."""
        if self.done:
            return Ending(OK, self.result.keys_after)
        return Ending(FAILED, self.intent.needs, failure_detail(self.error or InterruptedError()))


@dataclass
class _Batch:
    """The containers of one batch; `endings` are by number."""

    manager: KeyManager
    keys: TargetKeys
    stack: ExitStack
    options: RewrapOptions
    gate: OutputGate
    endings: dict[int, RewrapEnding] = field(default_factory=dict)
    changing: list[_Locked] = field(default_factory=list)
    seen: dict[int, SeenContainer] = field(default_factory=dict)
    ids: set[bytes] = field(default_factory=set)

    @cached_property
    def signers(self) -> Signers:
        """The keystores whose signatures count, read once for the batch."""
        return Signers(self.manager)

    def take(self, number: int, wanted: WantedRewrap) -> None:
        """Lock a container and decide what becomes of it. Raises the errors of rewrap_model."""
        request, subject = self.options.asked(), Subject(paths=(str(wanted.place),))
        with noted(self.manager, OPERATION, request.operation_id, subject):
            must_be_a_model(self.gate, wanted.place)
        held = self.stack.enter_context(storage_of(wanted.place).held(self.options.lock_timeout))
        with noted(self.manager, OPERATION, request.operation_id, subject):
            slots = held.slots()
        header = slots.current.header
        if wanted.file_id not in (None, header.file_id):
            raise self.options.another(wanted)
        with noted(self.manager, OPERATION, request.operation_id, subject):
            opened = self.stack.enter_context(self.keys.data_key(header))
            held.authenticate(opened.secret.view)
            self.must_be_ours(held, slots, wanted)
            ours = self.keys.held_for(header)
            new, target = self.keys.new_header(header, ours, opened)
        if header.file_id in self.ids:
            return  # a copy of another one of this batch: what its row says depends on the other one
        self.ids.add(header.file_id)
        before, after = self.keys.shared(frozenset(ours)), self.keys.shared(new.key_ids & {*ours, target})
        result = Rewrapped(
            operation_id=request.operation_id,
            changed=False,
            warnings=opened.notices if new == header else (),
            path=held.place,
            file_id=header.file_id,
            model_id=header.model_id,
            keys_before=before,
            keys_after=after,
        )
        path = recorded_path(held.place)
        if new == header and slots.equal:
            self.endings[number] = result
            self.seen[number] = SeenContainer(header, path, after)
            return
        intent = FileIntent(OPERATION, header.file_id, path, before, after, model_id=header.model_id, name=header.name)
        self.changing.append(_Locked(number, held, new, opened, result, request, intent))

    def must_be_ours(self, held: HeldContainer, slots: HeaderSlots, wanted: WantedRewrap) -> None:
        """Raise IntegrityError unless lengths, root and signature are right; the body's bytes are not read.

        A container that nothing opens would else be reported as moved to the new key, and the old key be destroyed.
        """
        with foreign_os_errors("the container", str(held.place)):
            outline = read_outline(held.readable(), slots).with_detached(held.found)
        if wanted.listed is not None and not outline.is_listed(wanted.listed):
            raise self.options.another(wanted)
        judge(self.manager, outline, outline.trailer, allow_unsigned=True, signers=self.signers)

    def rewrite(self) -> None:
        """Rewrite the headers between two records of all of them."""
        track_all(self.manager, list(self.seen.values()))
        if not self.changing:
            return
        tracked_places(self.manager, [(each.new, each.intent.path) for each in self.changing])
        self.manager.begin_file_operations([(each.intent, each.request) for each in self.changing])
        try:
            overlapped(_Locked.write, self.changing, threads=self.options.threads)
        except BaseException:
            # What went wrong first is what the caller must hear; an open intent is settled by the next command.
            with suppress(TikTrueKeysError):
                self._finish()
            raise
        self._finish()
        for each in self.changing:
            self.endings[each.number] = replace(each.result, changed=True) if each.done else _error_of(each)

    def _finish(self) -> None:
        self.manager.finish_file_operations({str(each.request.operation_id): each.ending() for each in self.changing})


def _error_of(failed: _Locked) -> TikTrueKeysError:
    assert isinstance(failed.error, TikTrueKeysError), "any other error has stopped the batch"
    return failed.error
