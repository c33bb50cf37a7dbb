"""The binding of a keystore and the drift of a machine, as JSON members and as fields. Values are masked by default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiktrue_keys.cli.view.outcome import Fields
from tiktrue_keys.core.fingerprint import Binding, DriftReport, fingerprint_of, strength

_SHOWN_END = 4


def masked(value: str) -> str:
    """Return the last four characters: enough to tell two parts apart, too few to copy a machine's facts from a log."""
    return "…" + value[-_SHOWN_END:] if len(value) > 2 * _SHOWN_END else "…"


def binding_json(binding: Binding) -> dict[str, Any]:
    """Return `result.binding`: the kinds of fact that the keystore is bound to, without values."""
    return {
        "fingerprint": fingerprint_of(binding),
        "facts": [anchor.kind.value for anchor in binding.anchors],
        "machine_borne": binding.machine_borne,
        "weak": binding.weak,
        "spare": binding.has_spare,
        "strength": strength(binding),
    }


def drift_json(drift: DriftReport) -> dict[str, Any]:
    """Return `result.drift`: the facts by their state."""
    return {
        "drifted": drift.drifted,
        "unchanged": [kind.value for kind in drift.unchanged],
        "changed": [kind.value for kind in drift.changed],
        "missing": [kind.value for kind in drift.missing],
        "added": [kind.value for kind in drift.added],
    }


def binding_advice(binding: Binding, unreadable: Sequence[str]) -> list[tuple[str, str]]:
    """Return what would make the binding stronger, and what to do before a part is replaced."""
    stronger = "nothing more that this machine shows"
    if unreadable:
        stronger = (
            f"let this user read {' and '.join(unreadable)}: for each, add the line z FILE 0440 root GROUP to "
            "/etc/tmpfiles.d/tiktrue-keys.conf, run systemd-tmpfiles --create, then tiktrue-keys rebind"
        )
    if binding.weak:
        repair = "nothing: no part of the hardware counts; a system that is installed again has another machine-id"
    elif binding.has_spare:
        repair = "nothing for one part; after it run tiktrue-keys rebind, before the next one is replaced"
    else:
        repair = "tiktrue-keys rebind --replace FACT=NEW names the new part; --drop FACT leaves the old one out"
    return [("stronger", stronger), ("repair", repair)]


def binding_fields(binding: Binding, drift: DriftReport, unreadable: Sequence[str]) -> Fields:
    """Return the facts that the keystore is bound to and the state of each, and what to do about the binding."""
    state = dict.fromkeys(drift.unchanged, "unchanged") | dict.fromkeys(drift.changed, "changed")
    state |= dict.fromkeys(drift.missing, "missing, or not readable by this user")
    facts = [
        (anchor.kind.value, f"{masked(anchor.value)} {state.get(anchor.kind, '')}".strip())
        for anchor in binding.anchors
    ]
    facts += [(kind.value, "new; not part of the binding") for kind in drift.added]
    named = [("fingerprint", fingerprint_of(binding)), ("binding", strength(binding))]
    return Fields([*named, *binding_advice(binding, unreadable), *facts])
