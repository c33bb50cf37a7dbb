"""What is not as it should be with other machines: nodes that lack something, and issuers that fell silent."""

from __future__ import annotations

from collections.abc import Iterator

from tiktrue_keys.core.dispatch.scopes import scope_text
from tiktrue_keys.core.findings.finding import NAMED, Finding, Severity
from tiktrue_keys.core.findings.standing import NodeBehind, Standing
from tiktrue_keys.core.notices import plural
from tiktrue_keys.errors import IntegrityError


def fleet(standing: Standing) -> Iterator[Finding]:
    """Yield what nodes lack, and the promotions that wait for them."""
    for node in standing.behind[:NAMED]:
        yield from _behind(node)
    more = len(standing.behind) - NAMED
    if more > 0:
        worst = Severity.LAG if any(_lags(node) for node in standing.behind[NAMED:]) else Severity.WARNING
        yield Finding("node-behind", worst, f"{plural(more, 'more node')} like these", remedy="fleet-status")
    for one in standing.waiting:
        if one.promote_at <= standing.now:
            who = ", ".join(one.missing[:NAMED])
            yield Finding(
                "promotion-overdue",
                Severity.LAG,
                f"key {one.new.key_id} is overdue for promotion{f'; not acknowledged by {who}' if who else ''}",
                one.new.key_id,
                one.promote_at,
                remedy="promote-anyway",
            )


def scopes(standing: Standing) -> Iterator[Finding]:
    """Yield the issuers whose scope an upgrade has assumed."""
    for issuer in standing.assumed[:NAMED]:
        words = f"issuer '{issuer.name}' may speak for {scope_text(issuer.scope or ())}, by the keys that it had sent"
        yield Finding(
            "scope-assumed",
            Severity.WARNING,
            words,
            issuer.name,
            remedy="state-scope",
            about={"card": f"{issuer.name}.card", "node_id": issuer.node_id},
        )


def lists(standing: Standing) -> Iterator[Finding]:
    """Yield the issuers whose newest list has ended."""
    for issuer, end in standing.ended:
        words = f"the newest list of issuer '{issuer}' ended: later revocations and releases are unknown"
        yield Finding("list-ended", Severity.WARNING, words, issuer, since=end, remedy="receive-list")


def _behind(node: NodeBehind) -> Iterator[Finding]:
    """Yield the worst that is known of a node, and that its state is unknown."""
    name = node.name
    if node.conflict:
        words = f"node '{name}' holds a conflicting audit history: {node.conflict}"
        yield Finding("node-conflict", Severity.ERROR, words, name, remedy="node-conflict", error=IntegrityError)
    elif node.went_back_at is not None:
        words = f"node '{name}' went back to an older state, and has not acknowledged all that it lacks"
        yield Finding("went-back", Severity.LAG, words, name, node.went_back_at, remedy="sync-fleet")
    elif node.lacks_revocation:
        words = f"node '{name}' has not acknowledged a revocation"
        yield Finding("node-without-revocation", Severity.LAG, words, name, remedy="sync-fleet")
    elif node.is_behind:
        words = f"node '{name}' has not acknowledged everything that was sent"
        yield Finding("node-behind", Severity.WARNING, words, name, remedy="sync-fleet")
    if node.refused:
        words = f"node '{name}' refused {plural(len(node.refused), 'envelope')}; the last: {node.refused[-1]}"
        yield Finding("node-refused", Severity.LAG, words, name, remedy="node-refused", about={"node": name})
    if node.unheard_since is not None:
        words = f"node '{name}' has not answered for a day: whether it still has everything is not known"
        yield Finding("unheard", Severity.LAG, words, name, node.unheard_since, remedy="sync-fleet")


def _lags(node: NodeBehind) -> bool:
    timed = node.went_back_at is not None or node.unheard_since is not None
    return node.lacks_revocation or timed or bool(node.refused)
