"""`validate`: whether keys are intact and usable, and open on this machine."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.batches import item_json, worst
from tiktrue_keys.cli.view.binding import binding_fields, binding_json, drift_json
from tiktrue_keys.cli.view.explain import explain as explained_at
from tiktrue_keys.cli.view.explain import explanation_json, explanation_table, time_fields
from tiktrue_keys.cli.view.keys import keys_json
from tiktrue_keys.cli.view.outcome import Block, Line, OnDemand, Outcome, Table
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keys.health import KeyChecks
from tiktrue_keys.core.keys.key_results import KeyCheck
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.machine import read_facts
from tiktrue_keys.core.notices import Notice
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
    checks = found.checks
    survey = _Survey(checks, named=bool(keys))
    listed = OnDemand(lambda: (check for check in checks if keys or check.key.status is not Status.DESTROYED))
    rows = OnDemand(lambda: map(_row, listed))
    view: list[Block] = [Table(("key", "status", "check"), rows, prose=("check",))] if survey.lists_any else []
    explained: dict[str, object] = {}
    if explain:
        now = context.manager.now()
        reasons = OnDemand(lambda: (explained_at(check.key, now) for check in listed))
        explained = {"as_of": rfc3339(now), "explanations": OnDemand(lambda: map(explanation_json, reasons))}
        view += [Line(""), explanation_table(reasons), Line("")] if survey.lists_any else []
        about = binding_fields(found.binding, found.drift, read_facts().unreadable)
        view += [time_fields(now, Instant(int(time.time()))), Line(""), about]
    return Outcome(
        result={
            "keys": keys_json(context.manager, checks.keys),
            "items": OnDemand(survey.items),
            "binding": binding_json(found.binding),
            "drift": drift_json(found.drift),
            "audit_size": found.audit_size,
            "deep": found.deep,
            **explained,
        },
        view=view,
        messages=[] if checks else ["No keys; the keystore is intact and opens on this machine."],
        ids=OnDemand(lambda: (check.key.key_id for check in checks if check.ok)),
        warnings=OnDemand(lambda: chain(found.warnings, survey.notices())),
        error=_verdict(found, survey.error, strict=strict),
    )


class _Survey:
    """What one pass over the checks shows: the worst error, whether a key is listed, and which checks have notices."""

    def __init__(self, checks: KeyChecks, *, named: bool) -> None:
        self.error: TikTrueKeysError | None = None
        self.lists_any = False
        self._checks = checks
        self._noticed, self._failed = array("L"), bytearray(len(checks))
        for place, check in enumerate(checks):
            self.lists_any = self.lists_any or named or check.key.status is not Status.DESTROYED
            if check.error is not None and (named or check.expected_usable):
                self.error = check.error if self.error is None else worst([self.error, check.error])
            self._failed[place] = check.error is not None
            if check.notices:
                self._noticed.append(place)

    def notices(self) -> Iterator[Notice]:
        """Yield the notices of all checks."""
        return (notice for place in self._noticed for notice in self._checks[place].notices)

    def items(self) -> Iterator[dict[str, Any]]:
        """Yield the members of `result.items`; only keys that failed are checked again for it."""
        for place, key_id in enumerate(self._checks.keys.ids()):
            failed = self._failed[place]
            yield item_json(key_id, "failed" if failed else "ok", self._checks[place].error if failed else None)


def _row(check: KeyCheck) -> tuple[str, ...]:
    return check.key.key_id, check.key.status.value, "ok" if check.error is None else check.error.code


def _verdict(found: ValidateResult, error: TikTrueKeysError | None, *, strict: bool) -> TikTrueKeysError | None:
    errors = [] if error is None else [error]
    if strict and found.drift.drifted:
        errors.append(RefusedError(f"the machine drifted: {', '.join(found.drift.names())}", "run tiktrue-keys rebind"))
    if strict and found.binding.weak:
        errors.append(
            RefusedError("the binding is weak: it has no fact of the hardware", "run tiktrue-keys binding show")
        )
    return worst(errors)
