"""`metrics`: the keystore's state in numbers, for Prometheus."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys import __version__
from tiktrue_keys.cli.context.configured_limits import limits_of
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.outcome import Line, Outcome, Raw
from tiktrue_keys.cli.view.prometheus import Metric, Sample, exposition, metric_json
from tiktrue_keys.core.durable import replace_bytes
from tiktrue_keys.core.findings.finding import Finding
from tiktrue_keys.core.keys.deadlines import KeyCounts
from tiktrue_keys.core.keys.lifecycle import DEFAULT_WITHIN, Status
from tiktrue_keys.core.keystore.database import FILE_NAME
from tiktrue_keys.core.outputs import FileKind
from tiktrue_keys.errors import UsageError

_MODE = 0o644  # node_exporter runs as a user of its own
_PREFIX = "tiktrue_keys_"

EXAMPLES = (
    ("Print the metrics:", "tiktrue-keys metrics"),
    (
        "Write them for node_exporter, from a timer:",
        "tiktrue-keys metrics --textfile /var/lib/node_exporter/tiktrue-keys.prom",
    ),
)


def command(
    ctx: typer.Context,
    textfile: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="File to write, readable by every user (default: standard output)."),
    ] = None,
) -> Outcome:
    """Print the keystore's state as Prometheus metrics.

    Keys by status, keys due for rotation, the next expiry, containers, audit records, unfinished operations, and size.
    Reads no license and records nothing. With --textfile, for the textfile collector of node_exporter, the file is left
    as it was when the keystore does not open, and the exit code says why. Only a file that metrics wrote is replaced.
    """
    context: CommandContext = ctx.obj
    if textfile in ("", "-"):
        raise UsageError("--textfile needs the name of a file", "omit it for standard output")
    measured = _measured(context)
    text = exposition(measured)
    if textfile is not None:
        gate = context.manager.output_gate()
        replace_bytes(Path(textfile), text.encode(), _MODE, gate=gate, kind=FileKind.METRICS, what="the metrics file")
    return Outcome(
        result={"textfile": textfile, "metrics": [metric_json(metric) for metric in measured]},
        view=[Raw(text) if textfile is None else Line(textfile)],
        messages=[] if textfile is None else [f"Wrote {len(measured)} metrics."],
    )


def _measured(context: CommandContext) -> list[Metric]:
    manager = context.manager
    within = context.duration(None, "rotate.within", DEFAULT_WITHIN)
    status = manager.status(within=within, limits=limits_of(context))
    counts = status.standing.counts
    identity = {"version": __version__, "keystore": str(context.keystore)}
    return [
        Metric(
            f"{_PREFIX}info",
            "Version of the program and folder of the keystore, as labels; always 1.",
            [Sample(1, identity)],
        ),
        Metric(f"{_PREFIX}keys", "Number of keys, by status.", _by_status(counts)),
        _one("keys_due", "Number of keys that rotate --due would rotate now.", counts.due),
        _one(
            "next_expiry_timestamp_seconds",
            "Unix time when the next active key stops encrypting (absent: no key is active).",
            counts.next_expiry,
        ),
        _one("containers", "Number of registered model containers.", status.containers),
        _one("audit_records", "Number of records in the audit log.", manager.audit_size()),
        _one(
            "last_audit_record_timestamp_seconds",
            "Unix time of the newest audit record.",
            status.standing.clock.newest_record,
        ),
        Metric(f"{_PREFIX}findings", "Number of findings, by finding and severity.", _by_finding(status.findings)),
        _one(
            "open_intents", "Number of file operations that were begun but not finished.", len(manager.open_intents())
        ),
        _one("keystore_bytes", "Size of the keystore file in bytes.", os.stat(context.keystore / FILE_NAME).st_size),
    ]


def _by_status(counts: KeyCounts) -> list[Sample]:
    return [Sample(counts.by_status.get(status, 0), {"status": status.value}) for status in Status]


def _by_finding(found: Iterable[Finding]) -> list[Sample]:
    counts = Counter((finding.id, finding.severity.value) for finding in found)
    return [Sample(count, {"finding": name, "severity": severity}) for (name, severity), count in counts.items()]


def _one(name: str, words: str, value: int | None) -> Metric:
    return Metric(_PREFIX + name, words, [] if value is None else [Sample(value)])
