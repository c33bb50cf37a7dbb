"""`validate`: whether keys are intact and usable, and open on this machine."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.batches import item_json, worst
from tiktrue_keys.cli.view.binding import binding_fields, binding_json, drift_json
from tiktrue_keys.cli.view.explain import explain as explained_at
from tiktrue_keys.cli.view.explain import explanation_json, explanation_table, time_fields
from tiktrue_keys.cli.view.keys import keys_json
from tiktrue_keys.cli.view.outcome import Block, Line, Outcome, Table
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.operations.results import ValidateResult
from tiktrue_keys.errors import RefusedError, TikTrueKeysError

EXAMPLES = (
    ("Check the keystore, the binding and all keys:", "tiktrue-keys validate"),
    ("Explain the status of a key:", "tiktrue-keys validate llama-7b --explain"),
)
EXIT_STATUS = {
    5: "With --strict: the machine drifted, or the binding is weak.",
    10: "A named key is revoked.",
    11: "A named key has expired.",
}


def command(
    ctx: typer.Context,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY", help="Key ids or model ids to check (default: all keys).")
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Explain each key's status and allowed uses, and show the binding's facts."),
    ] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Also verify every row and audit record.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on drift and on a weak binding.")] = False,
) -> Outcome:
    """Check that keys are intact and open on this machine.

    Reads no license and changes nothing. Without KEY the exit code covers the keystore, the binding, and the keys that
    should be usable; the other keys are only listed. With KEY it covers the named keys. Of several errors the worst
    gives the exit code, in the order 4, 13, 8, 9, 10, 11, 12, 5.
    """
    context: CommandContext = ctx.obj
    found = context.manager.validate(keys or (), deep=deep)
    listed = [check for check in found.checks if keys or check.key.status is not Status.DESTROYED]
    view: list[Block] = []
    if listed:
        rows = [
            (check.key.key_id, check.key.status.value, "ok" if check.ok else check.error.code if check.error else "")
            for check in listed
        ]
        view.append(Table(("key", "status", "check"), rows))
    explained: dict[str, object] = {}
    if explain:
        now = context.manager.now()
        reasons = [explained_at(check.key, now) for check in listed]
        explained = {"as_of": rfc3339(now), "explanations": [explanation_json(each) for each in reasons]}
        view += [Line(""), explanation_table(reasons), Line("")] if reasons else []
        view += [time_fields(now, Instant(int(time.time()))), Line(""), binding_fields(found.binding, found.drift)]
    return Outcome(
        result={
            "keys": keys_json(context.manager, [check.key for check in found.checks]),
            "items": [
                item_json(check.key.key_id, "ok" if check.ok else "failed", check.error) for check in found.checks
            ],
            "binding": binding_json(found.binding),
            "drift": drift_json(found.drift),
            "audit_size": found.audit_size,
            "deep": found.deep,
            **explained,
        },
        view=view,
        messages=[] if found.checks else ["No keys; the keystore is intact and opens on this machine."],
        ids=[check.key.key_id for check in found.checks if check.ok],
        warnings=[*found.warnings, *(notice for check in found.checks for notice in check.notices)],
        error=_verdict(found, named=bool(keys), strict=strict),
    )


def _verdict(found: ValidateResult, *, named: bool, strict: bool) -> TikTrueKeysError | None:
    errors = [check.error for check in found.checks if check.error is not None and (named or check.expected_usable)]
    if strict and found.drift.drifted:
        errors.append(RefusedError(f"the machine drifted: {', '.join(found.drift.names())}", "run tiktrue-keys rebind"))
    if strict and found.binding.weak:
        errors.append(
            RefusedError("the binding is weak: it has no fact of the hardware", "run tiktrue-keys binding show")
        )
    return worst(errors)
