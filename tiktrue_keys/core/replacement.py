"""Planned replacements: facts of parts that are not there yet, to which a keystore is sealed beside the present ones.

Come here for what a new part is checked against, and for when the old fact goes. The functions are pure.
core/operations/rebind.py begins a replacement, core/keystore/bind.py ends it once the new part is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

from tiktrue_keys.core.fingerprint import Anchor, Binding, opens
from tiktrue_keys.core.machine import FactKind, MachineFacts, identifiers
from tiktrue_keys.core.machine.facts import Fact
from tiktrue_keys.core.machine.independence import judged
from tiktrue_keys.errors import RefusedError, UsageError

_SPELLINGS: dict[FactKind, tuple[Callable[[str], str | None], str]] = {
    FactKind.SYSTEM_UUID: (identifiers.system_uuid, "4c4c4544-0042-3510-8052-c7c04f4e3332"),
    FactKind.BOARD_SERIAL: (identifiers.board_serial, ".7B5RN32.CNFCP0098U00J1."),
    FactKind.NIC: (identifiers.nic_address, "b0:7b:25:9c:11:40"),
    FactKind.WIFI: (identifiers.nic_address, "3c:58:c2:a7:19:e6"),
    FactKind.DISK: (identifiers.disk_identifier, "naa.55cd2e4151d2f9a7"),
    FactKind.GPU: (identifiers.gpu_uuid, "gpu-0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9"),
    FactKind.MACHINE_ID: (identifiers.machine_id, "7d0f5a3b9c2e4f61a8b7c6d5e4f30912"),
}
"""How a fact of each kind is read from text, and an example."""


def parse_replacement(text: str) -> Anchor:
    """Return the fact that `KIND=NEW` names. Raises UsageError for another kind, or a text that is not of that kind."""
    name, separator, value = text.partition("=")
    kind = next((kind for kind in FactKind if kind.value == name), None)
    if kind is None or not separator:
        kinds = ", ".join(kind.value for kind in FactKind)
        raise UsageError(f"'{text}' is not KIND=NEW", f"KIND is one of {kinds}; for example nic=b0:7b:25:9c:11:40")
    normalise, example = _SPELLINGS[kind]
    spelled = normalise(value)
    if spelled is None:
        raise UsageError(f"'{value}' is not a {name}", f"for example {name}={example}")
    return Anchor(kind, spelled)


def must_replace(binding: Binding, new: Anchor, *, virtual: bool) -> None:
    """Raise unless the binding may be sealed to `new` in place of its fact of that kind.

    UsageError where the binding has no such fact, or has this one; RefusedError for a value that does not name one
    machine, or that carries the number of another fact.
    """
    name, old = new.kind.value, binding.value_of(new.kind)
    if old is None:
        sealed = ", ".join(kind.value for kind in binding.kinds) or "no fact"
        raise UsageError(f"the keystore is not sealed to '{name}'", f"it is sealed to {sealed}")
    if old == new.value:
        raise UsageError(f"the keystore is sealed to this {name} already", "name the new part")
    before, after = _flaws(binding, virtual=virtual), _flaws(with_anchor(binding, new), virtual=virtual)
    for kind, flaw in after.items():
        if flaw and (kind is new.kind or not before[kind]):
            reason = flaw if kind is new.kind else f"with it the {kind.value} would not count: {flaw}"
            raise RefusedError(
                f"{new.value} cannot be a fact of this keystore: {reason}",
                "leave the old fact out before the repair instead",
                remedy="drop-fact",
                about={"fact": name},
            )


def with_anchor(binding: Binding, new: Anchor) -> Binding:
    """Return the binding with another value of that kind."""
    return Binding(tuple(new if anchor.kind is new.kind else anchor for anchor in binding.anchors))


def variants(binding: Binding, replacing: Sequence[Anchor]) -> tuple[Binding, ...]:
    """Return every binding that opens while parts are replaced: each of these facts old or new, the old ones first."""
    new = {anchor.kind: anchor for anchor in replacing}
    choices = [(anchor, new[anchor.kind]) if anchor.kind in new else (anchor,) for anchor in binding.anchors]
    return tuple(Binding(anchors) for anchors in product(*choices))


def settled(binding: Binding, replacing: Sequence[Anchor], facts: MachineFacts) -> tuple[Binding, tuple[Anchor, ...]]:
    """Return the binding in which the new parts that are here have replaced the old ones, and those still awaited."""
    here = [anchor for anchor in replacing if anchor.value in facts.tried(anchor.kind)]
    after = binding
    for anchor in here:
        after = with_anchor(after, anchor)
    if not here or not opens(after, facts):
        return binding, tuple(replacing)
    return after, tuple(anchor for anchor in replacing if anchor not in here)


def _flaws(binding: Binding, *, virtual: bool) -> dict[FactKind, str]:
    listed = MachineFacts("", tuple(Fact(anchor.kind, anchor.value, "") for anchor in binding.anchors))
    facts = judged(replace(listed, virtual=virtual))
    return {fact.kind: fact.flaw for fact in facts.facts}
