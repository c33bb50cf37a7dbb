"""How the machine differs from what the keystore is sealed to: a row a fact, and the warnings that go with it."""

from __future__ import annotations

from collections.abc import Iterable

from tiktrue_keys.cli.view.binding import masked
from tiktrue_keys.cli.view.outcome import Table
from tiktrue_keys.core.fingerprint import Binding, DriftReport
from tiktrue_keys.core.machine import FactKind
from tiktrue_keys.core.notices import Notice


def drift_table(columns: tuple[str, str], sealed: Binding, now: Binding, drift: DriftReport, *, plain: bool) -> Table:
    """A row a fact: its value on either side under `columns`, masked unless `plain`, and what became of it."""
    states = _states(drift)
    rows = [
        (kind.value, _shown(sealed.value_of(kind), plain), _shown(now.value_of(kind), plain), states[kind])
        for kind in sorted(states, key=lambda kind: kind.value)
    ]
    return Table(("fact", *columns, "state"), rows)


def drift_notices(kinds: Iterable[FactKind]) -> list[Notice]:
    """A warning for each fact that is not the sealed one."""
    return [
        Notice("drift", f"the {kind.value} differs from the one that the keystore was sealed to")
        for kind in sorted(kinds, key=lambda kind: kind.value)
    ]


def _states(drift: DriftReport) -> dict[FactKind, str]:
    named = {
        "unchanged": drift.unchanged,
        "changed": drift.changed,
        "missing, or not readable by this user": drift.missing,
        "added": drift.added,
    }
    return {kind: state for state, kinds in named.items() for kind in kinds}


def _shown(value: str | None, plain: bool) -> str:
    if value is None:
        return ""
    return value if plain else masked(value)
