"""Puts the first key of a model that goes to a node under the approval policy.

Come here for `distribute-new`. A transaction may queue keys of many models for many nodes: it needs one approval, which
is asked for at its end.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Set

from tiktrue_keys.core.approvals.policy import DISTRIBUTE_NEW, get_policy
from tiktrue_keys.core.approvals.proposals import Proposal, must_be_approved
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import KeyId, model_of

_SHOWN = 8


Dispatched = Callable[[Rows], Iterable[tuple[str, str]]]
"""Returns the key id and node id of every key that was ever queued for a node."""


class _NewHolders:
    """The models and nodes of one transaction, none of which has gone to that node before."""

    def __init__(self, dispatched: Iterable[tuple[str, str]]) -> None:
        self._holding: dict[str, set[str]] = defaultdict(set)
        self._new: dict[str, set[str]] = defaultdict(set)
        for key_id, node_id in dispatched:
            self._holding[model_of(KeyId(key_id))].add(node_id)

    def add(self, key_id: str, node_ids: Set[str]) -> None:
        """Note that a key goes to these nodes."""
        model = model_of(KeyId(key_id))
        new = node_ids - self._holding[model]
        self._holding[model] |= new
        if new:
            self._new[model] |= new

    def __call__(self, transaction: Transaction) -> None:
        """Use the approval for what is new, or raise what must_be_approved raises."""
        if not self._new:
            return
        names = {node_id: _name(transaction, node_id) for nodes in self._new.values() for node_id in nodes}
        shown = sorted(names.values())
        to = ", ".join(shown[:_SHOWN]) + f" and {len(shown) - _SHOWN} more" * (len(shown) > _SHOWN)
        models = sorted(self._new)
        rows = [(RecordKind.NODE, f"id {node_id}") for node_id in sorted(names)]
        subject = f"{', '.join(models[:_SHOWN])} to {to}"
        pairs = "\n".join(sorted(f"{model} {node}" for model, nodes in self._new.items() for node in nodes))
        arguments = {"models": models, "pairs_sha256": hashlib.sha256(pairs.encode()).hexdigest()}
        must_be_approved(transaction, Proposal(DISTRIBUTE_NEW, subject, arguments, rows))


def note_holders(transaction: Transaction, key_id: str, node_ids: Set[str], dispatched: Dispatched) -> None:
    """Note, before it is queued, that a key goes to these nodes. The end of the transaction asks for approval.

    Returns at once where the policy does not ask for one.
    """
    if not get_policy(transaction.rows).needed((DISTRIBUTE_NEW,)):
        return
    holders = next((check for check in transaction.last_checks if isinstance(check, _NewHolders)), None)
    if holders is None:
        holders = _NewHolders(dispatched(transaction.rows))
        transaction.last_checks.append(holders)
    holders.add(key_id, node_ids)


def _name(transaction: Transaction, node_id: str) -> str:
    payload = transaction.rows.get(RecordKind.NODE, f"id {node_id}")
    return str(payload["name"]) if payload else node_id
