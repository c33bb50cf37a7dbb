"""Decides what a keystore is bound to: its anchors, the combinations that open it, and the drift of a machine.

Come here to see which hardware changes a keystore survives. A fact with several values (NICs, disks) gives one anchor,
chosen when the keystore is sealed; opening tries every present value in its place. A value of many machines is never
chosen, but it is tried: an older keystore may be sealed to it. The functions are pure. They derive
no key: `derivation` does, from the anchors of a combination and the host secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.machine.facts import MACHINE_BORNE, FactKind, MachineFacts
from tiktrue_keys.errors import IntegrityError

_SPARE = 3  # with this many machine-borne facts or more, any one fact may have changed
_MAX_VALUE_LENGTH = 256
_LABEL = derivation.FINGERPRINT + b"\0"
_ORDER = tuple(sorted(FactKind, key=lambda kind: kind.value))


@dataclass(frozen=True)
class Anchor:
    """One fact that a keystore is bound to."""

    kind: FactKind
    value: str


@dataclass(frozen=True)
class Binding:
    """The anchors that a keystore is bound to: at most one per kind, sorted by the name of the kind.

    `device` names the device that is part of the machine and stands for every fact of it; there are no anchors then.
    """

    anchors: tuple[Anchor, ...]
    device: str = ""

    @property
    def kinds(self) -> tuple[FactKind, ...]:
        """Return the kinds of the anchors, in the order of the anchors."""
        return tuple(anchor.kind for anchor in self.anchors)

    @property
    def machine_borne(self) -> int:
        """Return how many anchors stay with the hardware."""
        return sum(kind in MACHINE_BORNE for kind in self.kinds)

    @property
    def weak(self) -> bool:
        """Return whether a copied disk image carries every anchor along."""
        return self.machine_borne == 0 and not self.device

    @property
    def has_spare(self) -> bool:
        """Return whether any one of the facts may change."""
        return self.machine_borne >= _SPARE or bool(self.device)

    def value_of(self, kind: FactKind) -> str | None:
        """Return the value of the anchor of `kind`, or None."""
        return next((anchor.value for anchor in self.anchors if anchor.kind is kind), None)

    def to_json(self) -> list[list[str]]:
        """Return `[[kind, value], ...]` in the order of the anchors."""
        return [[anchor.kind.value, anchor.value] for anchor in self.anchors]

    @classmethod
    def from_json(cls, value: Any, device: str = "") -> Binding:
        """Return the binding that `to_json` encoded. Raises IntegrityError for any value that it does not produce."""
        if not isinstance(value, list) or len(value) > len(FactKind):
            raise IntegrityError("the machine binding is malformed")
        binding = cls(tuple(_parsed_anchor(item) for item in value), device)
        if list(binding.kinds) != sorted(set(binding.kinds), key=lambda kind: kind.value):
            raise IntegrityError("the machine binding is not in order")
        return binding


_PARTS = {
    FactKind.SYSTEM_UUID: "mainboard",
    FactKind.BOARD_SERIAL: "mainboard",
    FactKind.NIC: "network card",
    FactKind.WIFI: "Wi-Fi radio",
    FactKind.DISK: "disk",
    FactKind.GPU: "GPU",
}
_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def strength(binding: Binding) -> str:
    """Return in one line how strong a binding is, and what its owner must not replace without a thought."""
    if binding.device:
        return f"{binding.device}: opens with the device of this machine alone, whatever other part changes"
    borne = [kind for kind in binding.kinds if kind in MACHINE_BORNE]
    if not borne:
        return "no hardware fact: a copy of this disk opens elsewhere"
    facts = f"{_NUMBERS[len(borne)]} hardware fact{'s' if len(borne) > 1 else ''} ({', '.join(borne)})"
    if binding.has_spare:
        return f"{facts}: any one of them may change"
    parts = " or ".join(dict.fromkeys(_PARTS[kind] for kind in borne))
    needed = ", both needed" if len(borne) > 1 else ""
    return f"{facts}{needed}: a new {parts} locks you out"


def choose_anchors(facts: MachineFacts, previous: Binding | None = None, *, add_kinds: bool = True) -> Binding:
    """Return the anchors to seal a keystore to.

    A previous anchor that is still present is kept, unless it turned out to be a value of many machines. If its value
    is gone or shared, the first sealable value of its kind replaces it; if there is none, a shared anchor is dropped
    and a missing one is kept, because a fact that this user merely cannot read must not weaken the binding. Kinds that
    the previous binding lacks are added unless `add_kinds` is false. Pass false when the operator did not ask for the
    re-seal: root sees facts that the keystore's own user cannot, and two of those lock that user out.

    Among several sealable values the first in the order of `facts` is chosen. The Linux reader lists built-in, wired
    and local hardware first and sorts by identifier, so the choice does not depend on device names or bus positions.
    """
    if previous is not None and previous.device:
        return previous
    anchors: list[Anchor] = []
    for kind in _ORDER:
        former = None if previous is None else previous.value_of(kind)
        if former is not None:
            anchors.extend(_next_anchor(facts, Anchor(kind, former)))
        elif previous is None or add_kinds:
            anchors.extend(Anchor(kind, value) for value in facts.sealable(kind)[:1])
    return Binding(tuple(anchors))


def _next_anchor(facts: MachineFacts, former: Anchor) -> tuple[Anchor, ...]:
    present = former.value in facts.tried(former.kind)
    shared = present and bool(facts.flaw_of(former.kind, former.value))
    if present and not shared:
        return (former,)
    replacement = tuple(Anchor(former.kind, value) for value in facts.sealable(former.kind)[:1])
    return replacement or (() if shared else (former,))


def without_kinds(binding: Binding, kinds: Collection[FactKind]) -> Binding:
    """Return the binding without the anchors of these kinds. The machine-id stands alone where none is left."""
    return replace(binding, anchors=tuple(anchor for anchor in binding.anchors if anchor.kind not in kinds))


def shared_anchors(binding: Binding, facts: MachineFacts) -> dict[FactKind, str]:
    """Return the anchors of this machine that do not name it alone, with the reason, or that repeat another fact."""
    flaws = {anchor.kind: facts.flaw_of(anchor.kind, anchor.value) for anchor in binding.anchors}
    return {kind: flaw for kind, flaw in flaws.items() if flaw}


def without_shared(binding: Binding, facts: MachineFacts) -> Binding:
    """Return the binding without its shared anchors, each replaced by a value of its kind that is not, if there is one.

    The binding stays as it is where it would not open on this machine without them.
    """
    shared = shared_anchors(binding, facts)
    anchors: list[Anchor] = []
    for anchor in binding.anchors:
        anchors.extend(_next_anchor(facts, anchor) if anchor.kind in shared else (anchor,))
    renewed = replace(binding, anchors=tuple(anchors))
    return renewed if opens(renewed, facts) else binding


def accepted_combinations(binding: Binding) -> tuple[tuple[FactKind, ...], ...]:
    """Return the combinations of kinds that open the keystore: all anchors of one combination have to match.

    With three or more machine-borne facts: all of them but any one. With one or two: all of them. With none: the
    machine-id, or without it the empty combination, where the host secret alone opens the keystore.
    """
    kinds = binding.kinds
    machine_borne = tuple(kind for kind in kinds if kind in MACHINE_BORNE)
    if len(machine_borne) >= _SPARE:
        return tuple(tuple(kind for kind in machine_borne if kind is not spared) for spared in machine_borne)
    return (machine_borne or kinds,)


def opens(binding: Binding, facts: MachineFacts) -> bool:
    """Return whether a machine has every anchor of an accepted combination."""
    held = {anchor.kind for anchor in binding.anchors if anchor.value in facts.tried(anchor.kind)}
    return any(held.issuperset(combination) for combination in accepted_combinations(binding))


Selector = Callable[[int, Anchor], bool]
"""Takes a place in a combination and an anchor that may stand there; says whether it is worth trying."""


def candidates(
    combination: Sequence[FactKind], facts: MachineFacts, selects: Selector = lambda place, anchor: True
) -> Iterator[tuple[Anchor, ...]]:
    """Return every choice of present values for a combination, the likeliest first; none when a kind is absent.

    The empty combination has one, the empty choice.
    """
    present = ([Anchor(kind, value) for value in facts.tried(kind)] for kind in combination)
    choices = ([each for each in anchors if selects(place, each)] for place, anchors in enumerate(present))
    return product(*choices)


@dataclass(frozen=True)
class DriftReport:
    """How a machine differs from a binding.

    A kind in `missing` may be a fact that this user cannot read: `MachineFacts.unreadable` lists the files.
    """

    unchanged: tuple[FactKind, ...]
    changed: tuple[FactKind, ...]
    missing: tuple[FactKind, ...]
    added: tuple[FactKind, ...]

    @property
    def drifted(self) -> bool:
        """Return whether any anchor is no longer present. An additional fact does not count as drift."""
        return bool(self.changed or self.missing)

    def names(self) -> tuple[str, ...]:
        """Return the names of the kinds whose anchor changed or is missing, sorted."""
        return tuple(sorted(kind.value for kind in (*self.changed, *self.missing)))


def drift(binding: Binding, facts: MachineFacts) -> DriftReport:
    """Return how the facts of a machine differ from a binding."""
    unchanged: list[FactKind] = []
    changed: list[FactKind] = []
    missing: list[FactKind] = []
    for anchor in binding.anchors:
        present = facts.tried(anchor.kind)
        place = unchanged if anchor.value in present else changed if present else missing
        place.append(anchor.kind)
    known = binding.device or None
    added = tuple(kind for kind in _ORDER if (known or binding.value_of(kind)) is None and facts.sealable(kind))
    return DriftReport(tuple(unchanged), tuple(changed), tuple(missing), added)


def fingerprint_of(binding: Binding) -> str:
    """Return the SHA-256 of the anchors as 64 hex digits, for people to compare.

    For display only: serial numbers can be guessed, so it must not be stored where others can read it.
    """
    return hashlib.sha256(_LABEL + canonical_json(binding.to_json())).hexdigest()


def _parsed_anchor(item: Any) -> Anchor:
    if not isinstance(item, list) or len(item) != 2 or not all(isinstance(part, str) for part in item):
        raise IntegrityError("the machine binding is malformed")
    kind, value = item
    if kind not in {known.value for known in FactKind} or not 0 < len(value) <= _MAX_VALUE_LENGTH:
        raise IntegrityError("the machine binding names an unknown fact")
    return Anchor(FactKind(kind), value)
