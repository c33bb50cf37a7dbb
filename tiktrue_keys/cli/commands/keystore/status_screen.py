"""`status`: the keystore on one screen, and what needs attention."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tiktrue_keys.cli.context.configured_limits import limits_of
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.binding import binding_json, drift_json
from tiktrue_keys.cli.view.finding_lines import finding_json, findings_error
from tiktrue_keys.cli.view.hints import own_hint
from tiktrue_keys.cli.view.outcome import Block, Fields, Line, Outcome
from tiktrue_keys.core.findings.finding import Finding
from tiktrue_keys.core.fingerprint import strength
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.keys.lifecycle import DEFAULT_WITHIN, Series, Status
from tiktrue_keys.core.keys.promotion import Waiting
from tiktrue_keys.core.keystore.clock import span
from tiktrue_keys.core.notices import plural
from tiktrue_keys.core.operations.keystore_status import DEADLINES, KeystoreStatus

_WAITS_FOR = {Series.DUE: ("expires", "expire"), Series.ROTATED: ("ends its overlap", "end their overlap")}

EXAMPLES = (
    ("Show what needs attention:", "tiktrue-keys status"),
    ("Fail on warnings too, in a monitoring check:", "tiktrue-keys status --strict --quiet"),
)
EXIT_STATUS = {
    5: "With --strict: a warning.",
    7: "A container, a backup or a node lags behind.",
    11: "A key that a container needs has expired.",
}


def command(
    ctx: typer.Context,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
) -> Outcome:
    """Show the keystore's state and what needs attention.

    Shows the binding, keys by state, the next deadlines and promotions, containers, backup, escrow, clock and fleet,
    and each finding with the command that mends it. Reads no license, changes nothing and records nothing. doctor adds
    the checks that read every row. A warning leaves the exit code at 0; of several errors the worst gives it, in the
    order 4, 13, 8, 9, 10, 11, 12, 5, 7.
    """
    context: CommandContext = ctx.obj
    within = context.duration(None, "rotate.within", DEFAULT_WITHIN)
    found = context.manager.status(within=within, limits=limits_of(context))
    listed = found.findings
    return Outcome(
        result=_json(found),
        view=_view(str(context.keystore), found),
        messages=[] if listed else ["Nothing needs attention."],
        ids=[finding.id for finding in listed],
        error=findings_error(listed, strict=strict),
    )


def _json(found: KeystoreStatus) -> dict[str, Any]:
    standing = found.standing
    counts = standing.counts
    return {
        "findings": [finding_json(finding) for finding in found.findings],
        "binding": binding_json(standing.binding),
        "drift": drift_json(standing.drift),
        "keys": {status.value: counts.by_status.get(status, 0) for status in Status},
        "keys_due": counts.due,
        "deadlines": [
            {"series": each.series.value, "first": rfc3339(each.first), "keys": each.count} for each in found.deadlines
        ],
        "containers": {
            "registered": found.containers,
            "lagging": len(standing.lagging),
            "under_revoked_keys": len(standing.exposed),
        },
        "backup": {"newest_at": rfc3339(standing.backups.newest_at), "records": standing.backups.size},
        "escrow": {
            "created_at": rfc3339(standing.escrow_created_at),
            "verified_at": rfc3339(standing.escrow_verified_at),
        },
        "clock": {
            "effective": rfc3339(standing.clock.effective),
            "heartbeat": rfc3339(standing.clock.heartbeat),
            "synchronised": standing.clock.synchronised,
        },
        "fleet": {"nodes": found.nodes, "behind": len(standing.behind), "promotions": len(standing.waiting)},
    }


def _view(keystore: str, found: KeystoreStatus) -> list[Block]:
    standing = found.standing
    states = [f"{count} {status.value}" for status in Status if (count := standing.counts.by_status.get(status, 0))]
    lines = [
        ("keystore", f"{keystore}, epoch {found.document.epoch}"),
        ("binding", _binding(found)),
        ("keys", ", ".join(states) or "none"),
        *(("next", _deadline(found, at)) for at in range(len(found.deadlines))),
        *(("promotion", _promotion(found, one)) for one in standing.waiting[:DEADLINES]),
        ("containers", _containers(found)),
        ("backup", _age(found, standing.backups.newest_at, "none")),
        ("escrow", _age(found, standing.escrow_verified_at, "not verified", "verified ")),
        ("clock", _clock(found)),
        ("fleet", f"{plural(found.nodes, 'node')}, {len(standing.behind)} behind" if found.nodes else "no nodes"),
    ]
    view: list[Block] = [Fields(lines)]
    if found.findings:
        view += [Line(""), *(Line(line) for finding in found.findings for line in _lines(finding))]
    return view


def _lines(finding: Finding) -> list[str]:
    since = f" (since {rfc3339(finding.since)})" if finding.since is not None else ""
    hint = own_hint(finding.as_error())
    return [f"{finding.severity.value}: {finding.message}{since}", *([f"  {hint}"] if hint else [])]


def _binding(found: KeystoreStatus) -> str:
    drifted = f"; {', '.join(found.standing.drift.names())} differs" if found.standing.drift.drifted else ""
    return f"{strength(found.standing.binding)}{drifted}"


def _deadline(found: KeystoreStatus, at: int) -> str:
    deadline = found.deadlines[at]
    left = deadline.first - found.standing.now
    when = f"in {span(left)}" if left > 0 else "today"
    waits_for = _WAITS_FOR[deadline.series][deadline.count != 1]
    return f"{plural(deadline.count, 'key')} {waits_for} {when} ({rfc3339(deadline.first)})"


def _promotion(found: KeystoreStatus, one: Waiting) -> str:
    left = one.promote_at - found.standing.now
    when = f"in {span(left)}" if left > 0 else "now"
    acknowledged = f", {len(one.acknowledged)} of {one.needed} acknowledged" if one.needed else ""
    return f"{one.new.key_id} {when} ({rfc3339(one.promote_at)}){acknowledged}"


def _containers(found: KeystoreStatus) -> str:
    lagging, exposed = len(found.standing.lagging), len(found.standing.exposed)
    parts = [f"{found.containers} registered"]
    parts += [f"{lagging} on an older key"] if lagging else []
    parts += [f"{exposed} under a revoked key"] if exposed else []
    return ", ".join(parts)


def _age(found: KeystoreStatus, at: int | None, none: str, before: str = "") -> str:
    return none if at is None else f"{before}{span(max(found.standing.now - at, 0))} ago ({rfc3339(at)})"


def _clock(found: KeystoreStatus) -> str:
    reading = found.standing.clock
    beat = f", last scheduled run {rfc3339(reading.heartbeat)}" if reading.heartbeat is not None else ""
    return f"{rfc3339(reading.effective)}{beat}"
