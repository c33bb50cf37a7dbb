"""All rules, and the findings that they yield.

Come here to add a finding: one function of RULES yields it, and status, doctor, metrics and events show it until its
cause is gone. Its words for the command line are in cli/view/hints.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tiktrue_keys.core.findings.finding import Finding, Severity
from tiktrue_keys.core.findings.of_containers import containers, orphaned
from tiktrue_keys.core.findings.of_fleet import fleet, lists, scopes
from tiktrue_keys.core.findings.of_keys import due, expired, old_keys, rekeyed
from tiktrue_keys.core.findings.of_machine import binding, clock, licenses, storage, ways
from tiktrue_keys.core.findings.of_upkeep import backups, leftovers, receivers, rehearsal
from tiktrue_keys.core.findings.standing import Standing

Rule = Callable[[Standing], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    rehearsal,
    clock,
    expired,
    due,
    old_keys,
    orphaned,
    containers,
    backups,
    fleet,
    scopes,
    lists,
    binding,
    ways,
    storage,
    licenses,
    rekeyed,
    leftovers,
    receivers,
)
OF_REHEARSAL: tuple[Rule, ...] = (rehearsal, clock, expired, containers, binding, licenses)
"""The rules for a rehearsal, which has no backups, no fleet and no timer of its own."""

OF_BACKUPS = frozenset({"no-backup", "key-not-in-backup", "escrow-not-in-backup", "backup-stale"})
"""The findings that a new backup mends."""


def findings(standing: Standing) -> tuple[Finding, ...]:
    """Return every finding: errors first, then what lags, then warnings."""
    order = list(Severity)
    rules = OF_REHEARSAL if standing.rehearsal else RULES
    found = [finding for rule in rules for finding in rule(standing)]
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))
