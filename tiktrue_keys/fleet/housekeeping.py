"""What is due at an issuer whether or not its transport works: promotions, and the renewal of the revocation list.

Come here for what `fleet sync` does between reading and sending, and `rotate --due` without a transport.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiktrue_keys.core.dispatch import revocation_lists
from tiktrue_keys.core.instants import Seconds
from tiktrue_keys.core.keys import promotion
from tiktrue_keys.core.keys.lifecycle import DEFAULT_OVERLAP, ManagedKey
from tiktrue_keys.core.keys.promotion import Waiting
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.once import Repeatable, repeatable

_SHOWN = 8


@dataclass(frozen=True)
class Promoted:
    """The keys that became active. A warning names each one that nodes have not acknowledged, and those nodes."""

    keys: tuple[ManagedKey, ...]
    warnings: tuple[Notice, ...]


def promote_ready(
    manager: KeyManager,
    operation: Repeatable | None = None,
    *,
    anyway: bool = False,
    overlap: Seconds = DEFAULT_OVERLAP,
) -> Promoted:
    """Promote the successors whose day has come and that enough nodes have, or that have waited long enough.

    Each is a transaction of its own. `operation` is the one that this is a part of, if any.
    """
    with manager.session.read() as (view, now):
        ready = [each for each in promotion.waiting(view.rows, now) if each.ready(now, anyway=anyway)]
    if not ready:
        return Promoted((), ())
    operation = operation or repeatable(manager.session, "promote", None, {})
    keys = []
    for each in ready:
        with operation.write() as transaction:
            keys.append(promotion.promote(transaction, each, overlap)[1])
    return Promoted(tuple(keys), tuple(_unacknowledged(each) for each in ready if not each.has_acknowledgements))


def renew_list(manager: KeyManager, operation: Repeatable) -> bool:
    """Renew the revocation list at half of its validity. Return whether that was due."""
    with manager.session.read() as (view, now):
        if not revocation_lists.wants_renewal(view.rows, now):
            return False
    with operation.write() as transaction:
        number = revocation_lists.next_number(transaction.rows)
        transaction.record("renew-revocation-list", detail={"number": number})
        revocation_lists.publish(transaction)
    return True


def _unacknowledged(one: Waiting) -> Notice:
    names = ", ".join(one.missing[:_SHOWN]) + " ..." * (len(one.missing) > _SHOWN)
    words = f"key {one.new.key_id} was promoted although {names} had not acknowledged it"
    return Notice("promoted-unacknowledged", words, one.new.key_id, remedy="sync-fleet")
