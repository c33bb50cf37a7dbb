"""What is not as it should be with the machine: its clock, the binding to it, the storage and the licenses on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from tiktrue_keys.core.findings.finding import Finding, Severity
from tiktrue_keys.core.findings.standing import Standing
from tiktrue_keys.core.fingerprint import strength
from tiktrue_keys.core.keys.license_entries import STRENGTH_STEP
from tiktrue_keys.core.keys.license_text import STRONG
from tiktrue_keys.core.keystore.clock import doubt, lag, late_heartbeat
from tiktrue_keys.core.keystore.former_ways import named_way


def clock(standing: Standing) -> Iterator[Finding]:
    """Yield what is wrong with the clock."""
    for fault in (doubt(standing.clock), lag(standing.clock), late_heartbeat(standing.clock)):
        if fault is not None:
            yield Finding(fault.code, Severity.WARNING, fault.message, since=fault.since, remedy=fault.remedy)


def binding(standing: Standing) -> Iterator[Finding]:
    """Yield what weakens the binding, and which facts have changed."""
    if standing.binding.weak:
        words = "no hardware fact is in the binding: a copy of this disk with its host secret opens elsewhere"
        yield Finding("weak-binding", Severity.WARNING, words, **more_facts(standing.unreadable, weak=True))
    elif not standing.binding.has_spare:
        words = strength(standing.binding)
        yield Finding("no-spare", Severity.WARNING, words, **more_facts(standing.unreadable))
    for name in standing.dropped:
        words = f"the {name} was left out of the binding before a repair"
        yield Finding("fact-dropped", Severity.WARNING, words, subject=name, remedy="rebind")
    for name in standing.replacing:
        words = f"a new {name} is awaited: the keystore opens with the old one and with the new one"
        yield Finding("fact-replacing", Severity.WARNING, words, subject=name, remedy="end-replacement")
    for name in standing.drift.names():
        words = f"the {name} differs from the one that the keystore is sealed to"
        yield Finding("drift", Severity.WARNING, words, subject=name, remedy="rebind")
    for name, flaw in standing.shared.items():
        words = f"the {name} that the keystore is sealed to is not a fact of this machine alone: {flaw}"
        yield Finding("shared-fact", Severity.WARNING, words, subject=name, remedy="seal-again")


def ways(standing: Standing) -> Iterator[Finding]:
    """Yield what is weak about the ways in which the keystore opens."""
    if len(standing.ways) > 1:
        ways = " or ".join(named_way(way) for way, _ in standing.ways)
        words = f"the keystore opens by {ways}: it is as strong as the weakest of them"
        yield Finding("weakest-binding", Severity.WARNING, words, remedy="remove-binding")
    for way, enabled in standing.ways:
        if not enabled:
            words = f"the keystore opens by {way} too, which is not enabled on this machine"
            yield Finding("way-not-enabled", Severity.WARNING, words, way, remedy="enable-way", about={"way": way})
    for former in standing.former:
        at = f" at {former.path}" if former.path else ""
        words = f"{named_way(former.way)}{at} no longer opens the keystore, but it opens copies from before"
        yield Finding("older-secret", Severity.WARNING, words, former.way, former.left_at, remedy="rekey-after-binding")


class Mending(TypedDict):
    """What mends a finding: the remedy, and what it is about."""

    remedy: str
    about: Mapping[str, str]


def more_facts(unreadable: Sequence[str], *, weak: bool = False) -> Mending:
    """Return what makes a binding stronger: a file that this user may not read. Without one, what else helps."""
    if unreadable:
        return {"remedy": "read-fact", "about": {"file": unreadable[0]}}
    if weak:
        return {"remedy": "show-binding", "about": {}}
    return {"remedy": "before-a-repair", "about": {}}


def storage(standing: Standing) -> Iterator[Finding]:
    """Yield the finding of a keystore that vanishes with its container."""
    if standing.volatile:
        yield Finding("volatile-storage", Severity.WARNING, standing.volatile, remedy="move-to-a-volume")


def licenses(standing: Standing) -> Iterator[Finding]:
    """Yield the licenses that can be guessed."""
    for tag, bits in standing.licenses.items():
        if bits < STRONG:
            words = (
                f"license {tag} has fewer than {bits + STRENGTH_STEP} bits, of {STRONG} that it needs: "
                "a thief of the machine can guess it"
            )
            yield Finding("weak-license", Severity.WARNING, words, tag, remedy="stronger-license")
