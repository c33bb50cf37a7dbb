"""Consults the revocation list at every use of a key that came from an issuer.

Come here for the warning `stale-revocation-list`. The status of a key covers its revocation. This module covers the
other half: an expired list proves nothing, so a key that depends on it does not encrypt, and decrypting with it gives a
warning, or an error if the session is strict. Results stay in memory until the keystore changes.
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
    """The end of validity of the lists of the keys that were used since the keystore last changed.

    It is None for a key that was generated here.
    """

    def __init__(self) -> None:
        self._root = b""
        self._ends: dict[str, Instant | None] = {}
        self.strict = False

    def check(self, view: Snapshot, key: ManagedKey, use: Use, now: Instant) -> tuple[Notice, ...]:
        """Return the warnings for a use of `key`.

        Raises RevokedError when a list revokes the key, ExpiredError when its list has expired and the use needs a
        current one.
        """
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
                words, "receive from the issuer to get a newer one", key_id=key.key_id, remedy="receive-list"
            )
        return (Notice(STALE, f"{words}: whether it was revoked since is unknown", key.key_id),)


def _end(view: Snapshot, key: ManagedKey) -> Instant | None:
    """Return the end of validity of this key's revocation list; None for a key that depends on none.

    That is one that was generated here, or came from an issuer that was removed.

    Raises RevokedError when a list revokes the key.
    """
    if key.origin is None:
        return None
    # imported here: a command that opens no received key does not need them
    from tiktrue_keys.core.dispatch.peers import get_peer
    from tiktrue_keys.core.dispatch.revocation_lists import known_list, revocation_of

    revocation = revocation_of(view.rows, key.key_id, key.origin)
    if revocation is not None and key.revoked_at is None:
        raise RevokedError(f"key {key.key_id} was revoked by its issuer: {revocation.reason}", key_id=key.key_id)
    issuer = get_peer(view.rows, key.origin)
    if issuer is None or issuer.retired_at:
        return None  # it sends no more lists
    known = known_list(view.rows, key.origin)
    return known.valid_until if known else Instant(0)
