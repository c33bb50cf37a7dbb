"""Seals the keystore's secret H to machines and to escrows, and opens it. Pure: facts and secrets are arguments.

H is sealed once under each combination of facts that fingerprint.accepted_combinations allows, so that one changed part
opens another slot. What it does not handle: reading the facts, or deciding when to seal again.
"""

from __future__ import annotations

import os

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.fingerprint import Binding, accepted_combinations, candidates
from tiktrue_keys.core.keystore.document import Document, Slot
from tiktrue_keys.core.machine import FactKind, MachineFacts
from tiktrue_keys.core.sealing import unwrap_key, wrap_key
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, WrongMachineError

MACHINE = "machine"
ESCROW = "escrow"


def seal_to_machine(
    root: memoryview, binding: Binding, host_secret: memoryview, keystore_id: bytes
) -> tuple[Slot, ...]:
    """One slot for each accepted combination, each with a fresh salt. `root` is H, 32 bytes."""
    values = {anchor.kind: anchor.value for anchor in binding.anchors}
    slots = []
    for combination in accepted_combinations(binding):
        salt = os.urandom(derivation.SALT_LENGTH)
        anchors = [(kind.value, values[kind]) for kind in combination]
        facts = tuple(kind.value for kind in combination)
        with derivation.slot_key(host_secret, anchors, salt=salt, keystore_id=keystore_id) as key:
            slots.append(
                Slot(MACHINE, facts, salt, wrap_key(key.view, root, _slot_context(keystore_id, MACHINE, facts)))
            )
    return tuple(slots)


def open_on_machine(document: Document, facts: MachineFacts, host_secret: memoryview) -> SecretBuffer:
    """H, from the first slot that this machine opens; WrongMachineError when none does."""
    for slot in document.slots:
        if slot.type == MACHINE:
            root = _open_slot(slot, facts, host_secret, document.keystore_id)
            if root is not None:
                return root
    raise WrongMachineError(
        "this machine does not open the keystore: more of its hardware changed than the binding allows", _hint(facts)
    )


def seal_to_escrow(root: memoryview, secret: memoryview, keystore_id: bytes) -> Slot:
    """The slot that an escrow's 32-byte secret opens, on any machine."""
    salt = os.urandom(derivation.SALT_LENGTH)
    with derivation.escrow_key(secret, salt=salt, keystore_id=keystore_id) as key:
        return Slot(ESCROW, (), salt, wrap_key(key.view, root, _slot_context(keystore_id, ESCROW, ())))


def open_with_escrow(document: Document, secret: memoryview) -> SecretBuffer:
    """H, from the slot of the escrow; NotFoundError where there is none, RefusedError where it is another's."""
    must_have_escrow(document)
    for slot in escrow_slots(document):
        with derivation.escrow_key(secret, salt=slot.salt, keystore_id=document.keystore_id) as key:
            try:
                return unwrap_key(key.view, slot.sealed, _slot_context(document.keystore_id, ESCROW, slot.facts))
            except IntegrityError:
                continue
    raise RefusedError(
        "these shares do not open this keystore",
        "they are of another keystore, or of an escrow that another has replaced",
    )


def escrow_slots(document: Document) -> tuple[Slot, ...]:
    """The slots that shares open: one, or none."""
    return tuple(slot for slot in document.slots if slot.type == ESCROW)


def has_escrow(document: Document) -> bool:
    """Whether shares can open it."""
    return bool(escrow_slots(document))


def must_have_escrow(document: Document) -> None:
    """NotFoundError where no shares can open it."""
    if not has_escrow(document):
        raise NotFoundError(
            "this keystore has no escrow", "a backup from before escrow create has none: look for a newer one"
        )


def _hint(facts: MachineFacts) -> str:
    if facts.unreadable:
        return f"this user cannot read {', '.join(facts.unreadable[:4])}: run as the user that made the keystore"
    return "put the changed part back; run tiktrue-keys binding show to see what is read here"


def _open_slot(slot: Slot, facts: MachineFacts, host_secret: memoryview, keystore_id: bytes) -> SecretBuffer | None:
    context = _slot_context(keystore_id, slot.type, slot.facts)
    for anchors in candidates(_combination_of(slot), facts):
        pairs = [(anchor.kind.value, anchor.value) for anchor in anchors]
        with derivation.slot_key(host_secret, pairs, salt=slot.salt, keystore_id=keystore_id) as key:
            try:
                return unwrap_key(key.view, slot.sealed, context)
            except IntegrityError:
                continue
    return None


def _combination_of(slot: Slot) -> tuple[FactKind, ...]:
    try:
        return tuple(FactKind(name) for name in slot.facts)
    except ValueError:
        raise IntegrityError("a slot names a fact that does not exist") from None


def _slot_context(keystore_id: bytes, slot_type: str, facts: tuple[str, ...]) -> bytes:
    return joined(derivation.SLOT, keystore_id, slot_type.encode(), *(fact.encode() for fact in facts))
