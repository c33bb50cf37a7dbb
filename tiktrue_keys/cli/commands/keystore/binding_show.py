"""`binding show`: what this machine offers a keystore to be bound to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.binding import binding_advice, binding_json, drift_json, masked
from tiktrue_keys.cli.view.drift import drift_notices, drift_table
from tiktrue_keys.cli.view.outcome import Block, Fields, Line, Outcome, Table
from tiktrue_keys.core.fingerprint import Binding, choose_anchors, fingerprint_of, strength
from tiktrue_keys.core.machine import MACHINE_BORNE, Fact, MachineFacts, read_facts
from tiktrue_keys.core.machine.supporting import read_supporting
from tiktrue_keys.core.machine.surroundings import read_surroundings

EXAMPLES = (
    ("Show the facts of this machine:", "tiktrue-keys binding show"),
    ("Compare them with what the keystore is sealed to:", "tiktrue-keys binding show --diff"),
)


def command(
    ctx: typer.Context,
    diff: Annotated[
        bool, typer.Option("--diff", help="Compare with what the keystore is sealed to, without supporting facts.")
    ] = False,
) -> Outcome:
    """Show the facts that keys are bound to.

    Machine-borne facts belong to the hardware; the machine-id travels with a copied disk. Values are masked unless -v
    is given. Supporting facts (processor, memory) are shown but never part of a key; reading them takes more than a
    second. With --diff a fact that differs is a warning, not a failure; validate --strict fails on it.
    """
    context: CommandContext = ctx.obj
    facts = read_facts()
    binding = choose_anchors(facts)
    if diff:
        return _diff(context, facts, binding)
    supporting, around = read_supporting(), read_surroundings()
    plain = context.options.verbose
    rows = [
        (
            fact.kind.value,
            fact.value if plain else masked(fact.value),
            _role(binding, fact),
            fact.source,
        )
        for fact in facts.facts
    ]
    view: list[Block] = [
        Fields(
            [
                ("fingerprint", fingerprint_of(binding)),
                ("binding", strength(binding)),
                *binding_advice(binding, facts.unreadable),
                *([("runs in", around.name)] if around.name else []),
            ]
        ),
        Line(""),
        Table(("fact", "value", "role", "source"), rows, spare=("source",)),
        Line(""),
        Fields(sorted(supporting.items())),
    ]
    return Outcome(
        result=_result(facts, binding, supporting, plain) | {"container": around.name or None},
        view=view,
        messages=_messages(facts, binding),
    )


def _diff(context: CommandContext, facts: MachineFacts, binding: Binding) -> Outcome:
    """Compare. What a rebind would do knows both sides; a dry run of it reads no license and records nothing."""
    found = context.manager.rebind(dry_run=True)
    plain = context.options.verbose
    present = Binding(tuple(anchor for anchor in found.after.anchors if anchor.kind not in found.drift.missing))
    drifted = (*found.drift.changed, *found.drift.missing)
    states = {"changed": found.drift.changed, "missing": found.drift.missing, "added": found.drift.added}
    counts = ", ".join(f"{len(kinds)} {state}" for state, kinds in states.items() if kinds)
    return Outcome(
        result=_result(facts, binding, {}, plain)
        | {"sealed": binding_json(found.before), "drift": drift_json(found.drift)},
        view=[drift_table(("sealed", "present"), found.before, present, found.drift, plain=plain)],
        messages=[f"{counts or 'No fact differs'}.", *_messages(facts, binding)],
        ids=found.drift.names(),
        warnings=drift_notices(drifted),
    )


def _role(binding: Binding, fact: Fact) -> str:
    if fact.flaw:
        return f"not used: {fact.flaw}"
    if binding.value_of(fact.kind) != fact.value:
        return "not used: one of its kind is enough"
    if fact.kind in MACHINE_BORNE or binding.weak:
        return "anchor"
    return "not used: it travels with the disk"


def _result(facts: MachineFacts, binding: Binding, supporting: dict[str, str], plain: bool) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint_of(binding),
        "platform": facts.platform,
        "machine_borne": binding.machine_borne,
        "weak": binding.weak,
        "spare": binding.has_spare,
        "strength": strength(binding),
        "facts": [
            {
                "kind": fact.kind.value,
                "value": fact.value if plain else masked(fact.value),
                "anchor": binding.value_of(fact.kind) == fact.value,
                "flaw": fact.flaw,
                "source": fact.source,
            }
            for fact in facts.facts
        ],
        "unreadable": list(facts.unreadable),
        "supporting": supporting,
    }


def _messages(facts: MachineFacts, binding: Binding) -> list[str]:
    messages = [f"Not readable by this user: {path}" for path in facts.unreadable]
    if binding.weak:
        messages.append("This machine shows no fact of its hardware: a copied disk image would open the keystore.")
    return messages
