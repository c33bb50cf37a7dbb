"""Consults revocation lists at every use of a key that came from an issuer. In memory until the keystore changes.

A revoked key is refused by its status. Here is the other half: a list that has ended says nothing any more, so such a
key encrypts no longer, and opening it is warned of, or refused where the session is strict.
"""

from __future__ import annotations

from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import ExpiredError, RevokedError

STALE = "stale-revocation-list"
_MOST = 4096


class RevocationMemory:
    """What the lists say about the keys that were used since the keystore last changed: end of validity, or None."""

    def __init__(self) -> None:
        self._root = b""
        self._ends: dict[str, Instant | None] = {}
        self.strict = False

    def check(self, view: Snapshot, key: ManagedKey, use: Use, now: Instant) -> tuple[Notice, ...]:
        """What to warn of; RevokedError, or ExpiredError where the list has ended and the use needs a fresh one."""
        if view.state.root != self._root or len(self._ends) > _MOST:
            self._root, self._ends = view.state.root, {}
        if key.key_id not in self._ends:
            self._ends[key.key_id] = _end(view, key)
        end = self._ends[key.key_id]
        if end is None or now < end:
            return ()
        words = f"the revocation list for key {key.key_id} ended at {rfc3339(end)}"
        if use is Use.ENCRYPT or self.strict:
            raise ExpiredError(
                words, "tiktrue-keys fleet receive --via TRANSPORT brings a newer one", key_id=key.key_id
            )
        return (Notice(STALE, f"{words}: whether it was revoked since is unknown", key.key_id),)


def _end(view: Snapshot, key: ManagedKey) -> Instant | None:
    """Until when this key's revocation list may be relied on; None for a key that was made here."""
    from tiktrue_keys.core.dispatch.peers import has_issuers
    from tiktrue_keys.core.dispatch.revocation_lists import known_list, revocation_of
    from tiktrue_keys.core.keys.received import issuer_of  # here: a command that opens no key needs none of it

    if not has_issuers(view.rows):
        return None
    issuer = issuer_of(view.rows, key.key_id)
    if issuer is None:
        return None
    revocation = revocation_of(view.rows, key.key_id)
    if revocation is not None and key.revoked_at is None:
        raise RevokedError(f"key {key.key_id} was revoked by its issuer: {revocation.reason}", key_id=key.key_id)
    known = known_list(view.rows, issuer)
    return known.valid_until if known else Instant(0)
