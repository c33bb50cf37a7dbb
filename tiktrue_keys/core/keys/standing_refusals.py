"""Which refusals of a node still matter: what it refused is in use, and no administrator has accepted that.

Come here for when the finding `node-refused` ends. fleet/refusals.py keeps the refusals.
"""

from __future__ import annotations

from tiktrue_keys.core.dispatch.node_progress import PeerProgress, Refused
from tiktrue_keys.core.dispatch.outbox import KEY, LIST, PROMOTE, Dispatch, get_dispatch
from tiktrue_keys.core.dispatch.releases import get_release
from tiktrue_keys.core.dispatch.revocation_lists import keys_on_list, releases_on_list
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import get_key
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.keystore.rows import Rows

_IN_USE = (Status.PENDING, Status.ACTIVE, Status.ROTATING)


def standing_refusals(rows: Rows, progress: PeerProgress, now: Instant) -> tuple[Refused, ...]:
    """Return the refusals of a node that were not accepted, and about which it is still true that something is lacking.

    A refused key stops mattering when it is no longer in use, a refused release when the model has a newer one.
    """
    return tuple(
        each
        for each in progress.refusals
        if not each.accepted and _matters(rows, get_dispatch(rows, each.dispatch), now)
    )


def _matters(rows: Rows, dispatch: Dispatch | None, now: Instant) -> bool:
    if dispatch is None:  # not known any more: rather told once too often
        return True
    if dispatch.kind in (KEY, PROMOTE):
        stored = get_key(rows, dispatch.key_id, now)
        return stored is not None and stored.key.status in _IN_USE
    if dispatch.kind == LIST:
        releases = (get_release(rows, model_id) for model_id in releases_on_list(rows, dispatch.list_number))
        newest = any(each is not None and each.number <= dispatch.list_number for each in releases)
        return newest or bool(keys_on_list(rows, dispatch.list_number))
    return False
