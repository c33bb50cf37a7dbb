"""What is older than the newest renewal of the root secret, and may be known to an intruder who knew the old root.

Come here for the finding `rekeyed`: keys that still encrypt, and containers whose data key a former key protected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import all_keys
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keystore.retired import RetiredRoot, containers_at, put_retired_root, retired_roots
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction

_MUST_ROTATE = (Status.ACTIVE, Status.PENDING, Status.EXPIRED)


@dataclass(frozen=True)
class OlderThanRoot:
    """A renewal that is not settled: when it was, a key that still has to be rotated, containers to encrypt again."""

    at: Instant
    compromised: bool
    key: ManagedKey | None
    containers: tuple[ContainerRecord, ...]


def older_than_root(view: Snapshot, now: Instant, containers: tuple[ContainerRecord, ...]) -> OlderThanRoot | None:
    """Return what is older than the newest renewal; None where there is nothing left to do.

    `containers` are those that are registered. Reads keys until it finds an older one, and none once the renewal is
    settled.
    """
    roots = retired_roots(view)
    if not roots:
        return None
    newest = roots[-1]
    key = None if newest.settled else _older_key(view, newest, now)
    then = containers_at(view, len(roots), newest)
    left = tuple(record for record in containers if record.file_id.hex() in then)
    return OlderThanRoot(newest.at, newest.compromised, key, left) if key is not None or left else None


def settle_renewal(transaction: Transaction) -> None:
    """Note that no older key encrypts any more, if that is so. Reads every key where a renewal is not settled."""
    roots = retired_roots(transaction)
    if roots and not roots[-1].settled and _older_key(transaction, roots[-1], transaction.now) is None:
        put_retired_root(transaction.rows, len(roots), replace(roots[-1], settled=True))


def _older_key(view: Snapshot, root: RetiredRoot, now: Instant) -> ManagedKey | None:
    """Return a key of this keystore that is older than the renewal and still encrypts, or will; None without one."""
    keys = (stored.key for stored in all_keys(view.rows, now))
    own = (key for key in keys if key.origin is None and key.audit_number < root.size)
    return next((key for key in own if key.successor is None and key.status in _MUST_ROTATE), None)
