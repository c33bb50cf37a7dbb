"""Seals the keystore's root secret H to machines and to escrows, and opens it.

Come here for the slots of a keystore. H is sealed once under each combination of facts that
fingerprint.accepted_combinations allows, so that a changed part leaves another slot that opens. The functions are pure:
facts and secrets are arguments, and the caller decides when to seal again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.fingerprint import Anchor, Binding, accepted_combinations, candidates
from tiktrue_keys.core.keystore.document import MAX_SLOTS, Document, Slot
from tiktrue_keys.core.keystore.schema import FIRST_VERSION
from tiktrue_keys.core.machine import FactKind, MachineFacts
from tiktrue_keys.core.replacement import variants
from tiktrue_keys.core.sealing import unwrap_key, wrap_key
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, WrongMachineError

MACHINE = "machine"
ESCROW = "escrow"
_MAX_TRIES = 65_536
"""What one opening derives at most. A slot with hints takes a few; one without takes every pair of a NIC and a disk."""


def seal_to_machine(
    root: memoryview,
    binding: Binding,
    secret: memoryview,
    keystore_id: bytes,
    replacing: Sequence[Anchor] = (),
    *,
    way: str = MACHINE,
    blob: bytes = b"",
) -> tuple[Slot, ...]:
    """Return one slot for each accepted combination, each with a fresh salt. `root` is H, 32 bytes.

    `secret` is the host secret, or with another `way` the one that a device unseals from `blob`. With `replacing`,
    facts of parts that are awaited, each combination with the new fact in the old one's place, too.
    """
    slots = []
    for anchors in _combinations(binding, replacing):
        facts = tuple(kind for kind, _ in anchors)
        salt = os.urandom(derivation.SALT_LENGTH)
        hints = derivation.slot_hint(secret, anchors, keystore_id=keystore_id)
        with derivation.slot_key(secret, anchors, salt=salt, keystore_id=keystore_id) as key:
            sealed = wrap_key(key.view, root, _slot_context(keystore_id, way, facts))
        slots.append(Slot(way, facts, salt, sealed, hints, blob))
    return tuple(slots)


def are_current(document: Document, binding: Binding, replacing: Sequence[Anchor] = ()) -> bool:
    """Return whether the slots are those that seal_to_machine makes for the binding; an older program made others."""
    slots = [slot for slot in document.slots if slot.type != ESCROW]
    hinted = document.version == FIRST_VERSION or all(len(slot.hints) == len(slot.facts) for slot in slots)
    expected = sorted(tuple(kind for kind, _ in anchors) for anchors in _combinations(binding, replacing))
    ways = [way for way in ways_of(document) if takes_facts(document, way)]
    return hinted and all(sorted(slot.facts for slot in slots_of(document, way)) == expected for way in ways)


def ways_of(document: Document) -> tuple[str, ...]:
    """Return the ways in which a machine opens the keystore, in the order of the slots: the types of its slots."""
    return tuple(dict.fromkeys(slot.type for slot in document.slots if slot.type != ESCROW))


def slots_of(document: Document, way: str) -> tuple[Slot, ...]:
    """Return the slots of a way."""
    return tuple(slot for slot in document.slots if slot.type == way)


def takes_facts(document: Document, way: str) -> bool:
    """Return whether the machine's facts go into the slots of a way. A device that is part of the machine has none."""
    return way == MACHINE or any(slot.facts for slot in slots_of(document, way))


def must_fit(document: Document, binding: Binding, replacing: Sequence[Anchor]) -> None:
    """Raise RefusedError where a header cannot hold the slots of so many replacements at once."""
    ways = [way for way in ways_of(document) if takes_facts(document, way)]
    others = sum(slot.type not in ways for slot in document.slots)
    if len(ways) * len(_combinations(binding, replacing)) + others > MAX_SLOTS:
        raise RefusedError(
            f"a keystore has at most {MAX_SLOTS} slots: so many facts cannot be replaced at once", "replace one first"
        )


def _combinations(binding: Binding, replacing: Sequence[Anchor]) -> list[tuple[tuple[str, str], ...]]:
    """Return the (kind, value) anchors of each accepted combination."""
    found: dict[tuple[tuple[str, str], ...], None] = {}
    for each in variants(binding, replacing):
        values = {anchor.kind: anchor.value for anchor in each.anchors}
        for combination in accepted_combinations(each):
            found[tuple((kind.value, values[kind]) for kind in combination)] = None
    return list(found)


def open_on_machine(document: Document, facts: MachineFacts, secret: memoryview, *, way: str = MACHINE) -> SecretBuffer:
    """Return H from the first slot of a way that this machine opens. Raises WrongMachineError when none does."""
    keystore_id = document.keystore_id
    hints = _hints_here(facts, secret, keystore_id)
    left = _MAX_TRIES
    for slot in slots_of(document, way):
        for anchors in islice(_tries(slot, facts, hints), left):
            left -= 1
            root = _opened_by(slot, anchors, secret, keystore_id)
            if root is not None:
                return root
    raise _refusal(document, way, facts, hints)


def _hints_here(facts: MachineFacts, host_secret: memoryview, keystore_id: bytes) -> dict[Anchor, int]:
    """Return the hint of every value of this machine."""
    anchors = [Anchor(kind, value) for kind in FactKind for value in facts.tried(kind)]
    pairs = [(anchor.kind.value, anchor.value) for anchor in anchors]
    return dict(zip(anchors, derivation.slot_hint(host_secret, pairs, keystore_id=keystore_id), strict=True))


def _tries(slot: Slot, facts: MachineFacts, hints: Mapping[Anchor, int]) -> Iterator[tuple[Anchor, ...]]:
    """Return the choices of values that may open a slot: all of them where an older program left no hints."""
    combination = _combination_of(slot)
    if len(slot.hints) != len(combination):
        return candidates(combination, facts)
    return candidates(combination, facts, lambda place, anchor: hints[anchor] == slot.hints[place])


def seal_to_escrow(root: memoryview, secret: memoryview, keystore_id: bytes) -> Slot:
    """Return the slot that an escrow's 32-byte secret opens on any machine."""
    salt = os.urandom(derivation.SALT_LENGTH)
    with derivation.escrow_key(secret, salt=salt, keystore_id=keystore_id) as key:
        return Slot(ESCROW, (), salt, wrap_key(key.view, root, _slot_context(keystore_id, ESCROW, ())))


def open_with_escrow(document: Document, secret: memoryview) -> SecretBuffer:
    """Return H from the slot of the escrow.

    Raises NotFoundError when there is no escrow, RefusedError when the secret is that of another one.
    """
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
    """Return the slots that an escrow's shares open: one, or none."""
    return tuple(slot for slot in document.slots if slot.type == ESCROW)


def has_escrow(document: Document) -> bool:
    """Return whether an escrow's shares can open the keystore."""
    return bool(escrow_slots(document))


def must_have_escrow(document: Document) -> None:
    """Raise NotFoundError when no escrow's shares can open the keystore."""
    if not has_escrow(document):
        raise NotFoundError(
            "this keystore has no escrow", "a backup that is older than the escrow has none: use a newer one"
        )


def _refusal(document: Document, way: str, facts: MachineFacts, hints: Mapping[Anchor, int]) -> WrongMachineError:
    """Return the error that names the facts that the keystore is sealed to, and those that are not here.

    The header says which kinds they are, and their hints tell a value of another part from the sealed one.
    """
    sealed: dict[FactKind, set[int | None]] = {}
    for slot in slots_of(document, way):
        wanted: Sequence[int | None] = slot.hints or [None] * len(slot.facts)
        for kind, hint in zip(_combination_of(slot), wanted, strict=True):
            sealed.setdefault(kind, set()).add(hint)
    missing = [kind for kind in sealed if not facts.tried(kind)]
    differs = [
        kind
        for kind, known in sealed.items()
        if kind not in missing
        and None not in known
        and known.isdisjoint(hints[Anchor(kind, value)] for value in facts.tried(kind))
    ]
    said = [f"{_named(differs)} differ{'s' if len(differs) == 1 else ''} here"] if differs else []
    said += [f"{_named(missing)} {'is' if len(missing) == 1 else 'are'} missing here"] if missing else []
    kinds = f"it is sealed to {_named(list(sealed))}" if sealed else "it is sealed to no fact"
    kinds = kinds if way == MACHINE else f"{kinds} and to {way}"
    words = f"this machine does not open the keystore: {kinds}"
    return WrongMachineError("; ".join([words, *said]), _hint(facts, missing), remedy="machine-changed")


def _named(kinds: list[FactKind]) -> str:
    names = sorted(kind.value for kind in kinds)
    return " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part])


def _hint(facts: MachineFacts, missing: list[FactKind]) -> str:
    if missing and facts.unreadable:
        return f"this user cannot read {', '.join(facts.unreadable[:4])}: let it, or put the changed part back"
    return "put the changed part back"


def _opened_by(
    slot: Slot, anchors: tuple[Anchor, ...], host_secret: memoryview, keystore_id: bytes
) -> SecretBuffer | None:
    pairs = [(anchor.kind.value, anchor.value) for anchor in anchors]
    with derivation.slot_key(host_secret, pairs, salt=slot.salt, keystore_id=keystore_id) as key:
        try:
            return unwrap_key(key.view, slot.sealed, _slot_context(keystore_id, slot.type, slot.facts))
        except IntegrityError:
            return None


def _combination_of(slot: Slot) -> tuple[FactKind, ...]:
    try:
        return tuple(FactKind(name) for name in slot.facts)
    except ValueError:
        raise IntegrityError("a slot names a fact that does not exist") from None


def _slot_context(keystore_id: bytes, slot_type: str, facts: tuple[str, ...]) -> bytes:
    return joined(derivation.SLOT, keystore_id, slot_type.encode(), *(fact.encode() for fact in facts))
