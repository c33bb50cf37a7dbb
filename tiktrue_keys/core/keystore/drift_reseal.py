"""Seals the keystore to the new value of one changed fact, so that parts may be replaced one after another.

Come here for the pause of a day between two re-seals, and for how a series of swaps shows as drift.
core/session.py calls it for a command that writes with the license, core/operations/node_reseal.py where there is none.
"""

from __future__ import annotations

from tiktrue_keys.core.fingerprint import Binding, choose_anchors, drift
from tiktrue_keys.core.instants import DAY, Instant
from tiktrue_keys.core.keystore.bind import may_reseal, read_binding, reseal
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction
from tiktrue_keys.core.machine import FactKind, MachineFacts
from tiktrue_keys.core.notices import Notice

EVENT = "reseal"
PAUSE = DAY


def reseal_is_due(view: Snapshot, facts: MachineFacts, now: Instant) -> bool:
    """Return whether a fact has changed, and the last re-seal is a day ago: a second changed part waits."""
    rests = now < view.document.resealed_at + PAUSE
    return not rests and bool(drift(read_binding(view.rows), facts).changed)


def reseal_one(keystore: Keystore, transaction: Transaction, facts: MachineFacts) -> FactKind | None:
    """Seal to the new value of one changed fact and return its kind; None if none is due, or a secret cannot be read.

    Adds and removes no fact. The caller has seen the license, or the keystore has none.
    """
    if keystore.host_secret is None or not reseal_is_due(transaction, facts, transaction.now):
        return None
    before = read_binding(transaction.rows)
    after = choose_anchors(facts, before, add_kinds=False)
    changed = next((new for new in after.anchors if new not in before.anchors), None)
    if changed is None or not may_reseal(keystore, transaction.document):
        return None
    anchors = tuple(changed if anchor.kind == changed.kind else anchor for anchor in before.anchors)
    fact = {"changed": [changed.kind.value]}
    reseal(keystore, transaction, Binding(anchors), paused=True, event=EVENT, detail=fact)
    return changed.kind


def resealed_notice(kind: FactKind) -> Notice:
    """Return the notice of a fact that the keystore was sealed to again."""
    return Notice("resealed", f"the {kind.value} had changed: the keystore is now sealed to the new one")
