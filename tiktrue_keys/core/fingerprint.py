"""From facts to what a keystore is bound to: anchors, the combinations that open it, and the report of drift. Pure.

A set (NICs, disks) gives one anchor, chosen when sealing; opening tries every present value in its place.
No key is derived here; `derivation` does that from a combination's anchors and the host secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.machine.facts import MACHINE_BORNE, FactKind, MachineFacts
from tiktrue_keys.errors import IntegrityError

_SPARE = 3  # from so many machine-borne facts on, any one fact may have changed
_MAX_VALUES = 64  # of one kind; two kinds are sets, so a combination has at most 4,096 candidates
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
    """What a keystore is bound to: at most one anchor a kind, sorted by the kind's name."""

    anchors: tuple[Anchor, ...]

    @property
    def kinds(self) -> tuple[FactKind, ...]:
        """The kinds of the anchors, in their order."""
        return tuple(anchor.kind for anchor in self.anchors)

    @property
    def machine_borne(self) -> int:
        """How many anchors stay with the hardware."""
        return sum(kind in MACHINE_BORNE for kind in self.kinds)

    @property
    def weak(self) -> bool:
        """Whether a copied image would carry all of it along."""
        return self.machine_borne == 0

    def value_of(self, kind: FactKind) -> str | None:
        """The anchor of one kind."""
        return next((anchor.value for anchor in self.anchors if anchor.kind is kind), None)

    def to_json(self) -> list[list[str]]:
        """`[[kind, value], ...]` in the order of the anchors."""
        return [[anchor.kind.value, anchor.value] for anchor in self.anchors]

    @classmethod
    def from_json(cls, value: Any) -> Binding:
        """Read what `to_json` gave; raises IntegrityError for anything that it would not give."""
        if not isinstance(value, list) or len(value) > len(FactKind):
            raise IntegrityError("the machine binding is malformed")
        binding = cls(tuple(_parsed_anchor(item) for item in value))
        if list(binding.kinds) != sorted(set(binding.kinds), key=lambda kind: kind.value):
            raise IntegrityError("the machine binding is not in order")
        return binding


def choose_anchors(facts: MachineFacts, previous: Binding | None = None, *, add_kinds: bool = True) -> Binding:
    """Choose the anchors to seal to.

    A previous anchor that is still present stays. One that is gone gives way to the first present value of its kind;
    where there is none it stays all the same: a fact that this user merely cannot read must not weaken the binding.
    Kinds that the previous binding has not are added unless `add_kinds` is false. A re-seal that nobody asked for
    should say false: root sees facts that the keystore's own user cannot, and two of those lock that user out.

    Among several present values the first in the order of `facts` is taken: the platform's reader puts built-in,
    wired and local hardware first, then goes by place on the bus, so that the choice does not hang on a name.
    """
    anchors: list[Anchor] = []
    for kind in _ORDER:
        present = _present(facts, kind)
        former = None if previous is None else previous.value_of(kind)
        if former is None and (previous is None or add_kinds):
            anchors.extend(Anchor(kind, value) for value in present[:1])
        elif former is not None:
            anchors.append(Anchor(kind, former if former in present or not present else present[0]))
    return Binding(tuple(anchors))


def accepted_combinations(binding: Binding) -> tuple[tuple[FactKind, ...], ...]:
    """The combinations of kinds, each of which opens the keystore when its anchors are all right.

    Three or more machine-borne facts: all but any one. One or two: all machine-borne, so that only the machine-id may
    change. None: the machine-id, or else the empty combination, in which the host secret stands alone.
    """
    kinds = binding.kinds
    machine_borne = tuple(kind for kind in kinds if kind in MACHINE_BORNE)
    if len(machine_borne) >= _SPARE:
        return tuple(tuple(kind for kind in kinds if kind is not spared) for spared in kinds)
    return (machine_borne or kinds,)


def candidates(combination: Sequence[FactKind], facts: MachineFacts) -> Iterator[tuple[Anchor, ...]]:
    """Every choice of present values for a combination, the likeliest first; none when a kind is absent.

    At most 4,096: 64 values of each set. The empty combination has one candidate, the empty one.
    """
    choices = [[Anchor(kind, value) for value in _present(facts, kind)] for kind in combination]
    return product(*choices)


@dataclass(frozen=True)
class DriftReport:
    """How a machine differs from a binding.

    `missing` may mean that this user cannot read it: `MachineFacts.unreadable` names the files.
    """

    unchanged: tuple[FactKind, ...]
    changed: tuple[FactKind, ...]
    missing: tuple[FactKind, ...]
    added: tuple[FactKind, ...]

    @property
    def drifted(self) -> bool:
        """Whether any anchor is not there any more. A fact that came in addition is no drift."""
        return bool(self.changed or self.missing)

    def names(self) -> tuple[str, ...]:
        """The names of the kinds whose anchor changed or is missing, sorted."""
        return tuple(sorted(kind.value for kind in (*self.changed, *self.missing)))


def drift(binding: Binding, facts: MachineFacts) -> DriftReport:
    """Compare a binding with a machine."""
    unchanged: list[FactKind] = []
    changed: list[FactKind] = []
    missing: list[FactKind] = []
    for anchor in binding.anchors:
        present = _present(facts, anchor.kind)
        place = unchanged if anchor.value in present else changed if present else missing
        place.append(anchor.kind)
    added = tuple(kind for kind in _ORDER if binding.value_of(kind) is None and _present(facts, kind))
    return DriftReport(tuple(unchanged), tuple(changed), tuple(missing), added)


def fingerprint_of(binding: Binding) -> str:
    """SHA-256 over the anchors, 64 hex digits, for people to compare.

    For display only: serial numbers can be guessed, so it must not be stored where others can read it.
    """
    return hashlib.sha256(_LABEL + canonical_json(binding.to_json())).hexdigest()


def _present(facts: MachineFacts, kind: FactKind) -> tuple[str, ...]:
    """The values that may be an anchor: what `candidates` would never try must not be sealed to."""
    return facts.preferred(kind)[:_MAX_VALUES]


def _parsed_anchor(item: Any) -> Anchor:
    if not isinstance(item, list) or len(item) != 2 or not all(isinstance(part, str) for part in item):
        raise IntegrityError("the machine binding is malformed")
    kind, value = item
    if kind not in {known.value for known in FactKind} or not 0 < len(value) <= _MAX_VALUE_LENGTH:
        raise IntegrityError("the machine binding names an unknown fact")
    return Anchor(FactKind(kind), value)
