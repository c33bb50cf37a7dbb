"""Reactivation: a model that a revocation has left without an active key gets one at once.

Come here for `rotate MODEL` after a leak, and for `revoke --rotate`. The successor that waits for its promotion becomes
active; without one, a new key follows the newest generation, revoked or not.
"""

from __future__ import annotations

from dataclasses import replace

from tiktrue_keys.core.instants import Instant, Seconds
from tiktrue_keys.core.keys.authority import must_be_made_here
from tiktrue_keys.core.keys.key_results import Rotation
from tiktrue_keys.core.keys.keyring import StoredKey, get_key, put_key
from tiktrue_keys.core.keys.licenses import RecognisedLicense
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keys.promotion import promote, waiting_for
from tiktrue_keys.core.keys.revocation import succeed_revoked
from tiktrue_keys.core.keys.rotation import RotationTerms, newest_of, rotate_key
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.errors import UsageError


def rotate_or_renew(
    transaction: Transaction, keys: RootKeys, stored: StoredKey, terms: RotationTerms, opened: RecognisedLicense | None
) -> Rotation:
    """Rotate a key, or renew its chain where the newest key of it is revoked or waits while no key is active."""
    newest = newest_of(transaction.rows, stored.key, transaction.now)
    if newest.status not in (Status.REVOKED, Status.PENDING):
        return rotate_key(transaction, keys, stored, terms, opened)
    if terms.prepublish is not None:
        words = f"no key of model {newest.model_id} is active, so that its successor cannot wait"
        raise UsageError(words, "publish the next one ahead", remedy="omit-prepublish")
    return renew(transaction, keys, newest, terms, opened)


def renew(
    transaction: Transaction, keys: RootKeys, newest: ManagedKey, terms: RotationTerms, opened: RecognisedLicense | None
) -> Rotation:
    """Make the pending key of a chain active, or make a successor for its revoked newest key.

    Raises RefusedError for a key that came from an issuer, and WrongLicenseError for one of another license.
    """
    must_be_made_here(newest)
    one = waiting_for(transaction.rows, newest, transaction.now) if newest.status is Status.PENDING else None
    if one is not None:
        return Rotation(*promote(transaction, one, terms.overlap))
    rotation = succeed_revoked(transaction, keys, newest, opened, terms)
    _end_predecessor(transaction, newest, terms.overlap)
    return rotation


def _end_predecessor(transaction: Transaction, revoked: ManagedKey, overlap: Seconds) -> None:
    """Begin the overlap of the key before one that was revoked while it was pending: it has a successor again."""
    stored = None if revoked.predecessor is None else get_key(transaction.rows, revoked.predecessor, transaction.now)
    if stored is None or stored.key.rotated_at is not None or stored.key.status in (Status.REVOKED, Status.DESTROYED):
        return
    now = transaction.now
    ends = Instant(min(now + overlap, max(stored.key.decrypt_until, now)))
    put_key(transaction.rows, replace(stored.key, rotated_at=now, overlap_ends_at=ends).at(now), stored.wrapped)
