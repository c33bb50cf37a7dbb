"""The operation `binding add`, and what is bound how: a secret that a device seals in the host secret's place.

Come here for the order that keeps a keystore open: the device seals a new secret, another process unseals it, and only
then do slots of that secret take the place of the slots that were there, in one transaction. The root secret stays the
same: a copy from before opens with what opened it, until the root is renewed. Devices are handed in by the caller.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace

from tiktrue_keys.core.approvals.policy import BINDING as APPROVAL
from tiktrue_keys.core.approvals.proposals import Proposal, must_be_approved
from tiktrue_keys.core.fingerprint import Binding, choose_anchors
from tiktrue_keys.core.keystore.bind import BINDING, read_binding, read_replacing, store_binding
from tiktrue_keys.core.keystore.device_sealing import newly_sealed
from tiktrue_keys.core.keystore.device_secrets import DeviceSecret
from tiktrue_keys.core.keystore.document import MAX_SLOTS, Document
from tiktrue_keys.core.keystore.former_ways import forget_former, named_way, note_former
from tiktrue_keys.core.keystore.machine_secrets import read_secret
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.slots import (
    ESCROW,
    MACHINE,
    escrow_slots,
    has_escrow,
    open_on_machine,
    seal_to_machine,
    slots_of,
    takes_facts,
    ways_of,
)
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.operations.standing_notices import ESCROW_RECORD
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import NotFoundError, RefusedError, TikTrueKeysError, UnavailableError

OPERATION = "binding-add"


@dataclass(frozen=True, kw_only=True)
class DeviceBound(OperationResult):
    """The way that was added, and every way in which the keystore opens afterwards."""

    way: str
    ways: tuple[str, ...]
    alternative: bool


@dataclass(frozen=True)
class BoundWay:
    """A way in which the keystore opens: its slots, whether facts go into them, and whether it is enabled here.

    `way` is `machine` for the host secret. `blob` is the size of what the device sealed, in bytes.
    """

    way: str
    slots: int
    takes_facts: bool
    enabled: bool
    blob: int


def bind_device(session: KeystoreSession, way: str, *, alternative: bool, operation_id: str | None) -> DeviceBound:
    """Seal the keystore to a secret that a device seals, in the place of what opens it now.

    With `alternative` what opens it now stays. Raises RefusedError when the way is in use already, and without a
    verified escrow, unless `alternative`: a device that breaks would take every key with it. Raises what the device
    raises; nothing has changed then.
    """
    asked = OperationRequest.of(OPERATION, operation_id, {"way": way, "alternative": alternative})
    binder = _Binder(session, way, alternative)
    return once(session, asked, binder.bind, binder.repeat)


@dataclass(frozen=True)
class _Binder:
    session: KeystoreSession
    way: str
    alternative: bool

    def bind(self, operation: Operation) -> DeviceBound:
        session = self.session
        with session.read() as (view, _):
            self._must_fit(view)
        session.check_approval(self._proposal)
        with newly_sealed(session.devices, self.way, is_held=self._may_hold) as secret:
            with operation.write() as transaction:
                before = self._must_fit(transaction)
                must_be_approved(transaction, self._proposal)
                after = self._bound(transaction, secret)
                operation.remember(transaction, [[way] for way in ways_of(after)])
            if not self.alternative:
                session.keystore.host_secret = secret
        warnings = _notices(before, after, alternative=self.alternative)
        return DeviceBound(
            operation_id=operation.id,
            changed=True,
            way=self.way,
            ways=ways_of(after),
            alternative=self.alternative,
            warnings=warnings,
        )

    def repeat(self, first: FirstRun) -> DeviceBound:
        return DeviceBound(
            operation_id=first.operation_id,
            changed=False,
            way=self.way,
            ways=tuple(way for (way,) in first.items),
            alternative=self.alternative,
        )

    def _must_fit(self, view: Snapshot) -> Document:
        """Return the header. Raise RefusedError for a way that is in use, and without a verified escrow."""
        document = view.document
        if self.way in (MACHINE, ESCROW, *ways_of(document)):
            raise RefusedError(f"the keystore is bound to {self.way} already", remedy="list-bindings")
        if self.alternative:
            return document
        escrow = view.rows.get(RecordKind.ESCROW, ESCROW_RECORD)
        if escrow is None or not has_escrow(document):
            words = f"without an escrow every key would end with the {self.way} device"
            raise RefusedError(words, "create and verify an escrow first", remedy="escrow-before-device")
        if escrow["verified_at"] is None:
            words = f"the escrow was never verified, and every key would end with the {self.way} device"
            raise RefusedError(words, "verify the escrow first", remedy="verify-escrow")
        return document

    @property
    def _proposal(self) -> Proposal:
        return Proposal(
            APPROVAL,
            f"add {self.way}",
            {"way": self.way, "alternative": self.alternative},
            [(RecordKind.BINDING, BINDING), (RecordKind.ESCROW, ESCROW_RECORD)],
        )

    def _may_hold(self, blob: bytes) -> bool:
        """Return whether a slot may have the blob: a commit that raises may be durable all the same."""
        try:
            with self.session.read() as (view, _):
                return any(slot.blob == blob for slot in view.document.slots)
        except TikTrueKeysError:
            return True

    def _bound(self, transaction: Transaction, secret: DeviceSecret) -> Document:
        before, keys = transaction.document, self.session.root_keys
        with_facts = self.session.devices.takes_facts(self.way)
        known = read_binding(transaction.rows)
        sealed_to = choose_anchors(self.session.facts()) if known.device else known
        binding = sealed_to if with_facts else Binding((), self.way)
        awaited = read_replacing(transaction.rows) if with_facts and not known.device else ()
        slots = seal_to_machine(
            keys.root.view, binding, secret.view, keys.keystore_id, awaited, way=self.way, blob=secret.blob
        )
        kept = before.slots if self.alternative else escrow_slots(before)
        _must_have_room(len(slots) + len(kept))
        after = replace(before, slots=(*slots, *kept))
        transaction.replace_document(after)
        if binding != known and (with_facts or not self.alternative):
            store_binding(transaction.rows, binding)
        left = [way for way in ways_of(before) if way not in ways_of(after)]
        for way in left:
            note_former(transaction, way, before.host_secret_path if way == MACHINE else "")
        forget_former(transaction.rows, self.way)
        detail = {"way": self.way, "facts": list(slots[0].facts), "left": left}
        transaction.record(OPERATION, detail=detail | ({"alternative": True} if self.alternative else {}))
        return after


def _must_have_room(count: int) -> None:
    if count > MAX_SLOTS:
        raise RefusedError(
            f"the keystore would have {count} slots, and {MAX_SLOTS} are the most",
            "leave a way or a fact out first",
        )


def _notices(before: Document, after: Document, *, alternative: bool) -> tuple[Notice, ...]:
    if alternative:
        ways = " or ".join(named_way(way) for way in ways_of(after))
        return (Notice("weakest-binding", f"the keystore opens by {ways}: it is as strong as the weakest of them"),)
    left = " and ".join(named_way(way) for way in ways_of(before))
    words = f"copies of the keystore from before still open with {left}"
    return (Notice("older-copies", words, remedy="rekey-after-binding"),)


def is_enabled(session: KeystoreSession, way: str) -> bool:
    """Return whether a way may be used in this process; the host secret always may."""
    return way == MACHINE or session.devices.is_enabled(way)


def bound_ways(session: KeystoreSession) -> tuple[BoundWay, ...]:
    """Return the ways in which the keystore opens, in the order in which they are tried."""
    with session.read() as (view, _):
        document = view.document
    return tuple(
        BoundWay(
            way,
            len(slots_of(document, way)),
            takes_facts(document, way),
            is_enabled(session, way),
            len(slots_of(document, way)[0].blob),
        )
        for way in ways_of(document)
    )


def try_way(session: KeystoreSession, way: str) -> None:
    """Open the keystore's slots by one way, and return if that gives its root secret.

    Raises NotFoundError for a way that the keystore does not have, and what the device or the host secret raises.
    """
    with session.read() as (view, _):
        document = view.document
    if way not in ways_of(document):
        raise NotFoundError(f"the keystore is not bound to {named_way(way)}", remedy="list-bindings")
    secret = read_secret(session.place, session.devices, document, way)
    with open_on_machine(document, session.facts(again=True), secret.view, way=way) as root:
        if not hmac.compare_digest(root.view, session.root):
            raise UnavailableError(f"{way} opens another keystore's slot")
