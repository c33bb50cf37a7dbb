"""Replaces a license entry of version 1 by one of version 2, with every key of the license, in one transaction.

Come here for what happens when a license that was enrolled by an older program is next given to a command that writes.
Until then its keys stay as they are: nothing else than the license can rewrap them.
"""

from __future__ import annotations

from dataclasses import replace

from tiktrue_keys.core.keys.keyring import key_ids_of_license, must_get_key, put_key
from tiktrue_keys.core.keys.license_entries import VERSION, delete_entry, find_entry, new_entry, put_entry
from tiktrue_keys.core.keys.licenses import PreparedLicense, RecognisedLicense, recognised
from tiktrue_keys.core.keys.wrapping import unwrap_managed_key, wrap_managed_key
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.transaction import Transaction

EVENT = "license-renew"
_AT_ONCE = 512


def is_outdated(prepared: PreparedLicense, rows: Rows, keys: RootKeys) -> bool:
    """Return whether this license is enrolled with an entry of version 1."""
    found = find_entry(prepared.stretched, rows, keys)
    return found is not None and found[0].version < VERSION


def renew_entry(transaction: Transaction, keys: RootKeys, prepared: PreparedLicense) -> None:
    """Give the license an entry of version 2 with a new salt, and wrap its keys under that.

    Does nothing when another process has done it meanwhile. The keys stay the same; the tag of the license changes.
    """
    found = find_entry(prepared.stretched, transaction.rows, keys)
    if found is None or found[0].version == VERSION:
        return
    old = recognised(*found)
    entry, stretched = new_entry(
        prepared.stretched, transaction.document, keys, old.entry.enrolled_at, prepared.strength
    )
    new = recognised(entry, stretched)
    key_ids = key_ids_of_license(transaction.rows, old.tag)  # in the order of their buckets
    for count, key_id in enumerate(key_ids, 1):
        _rewrap(transaction, keys, key_id, old, new)
        if count % _AT_ONCE == 0:
            transaction.rows.release()
    delete_entry(transaction.rows, old.entry)
    put_entry(transaction.rows, entry)
    transaction.record(EVENT, detail={"old": old.tag, "new": new.tag, "keys": len(key_ids)})


def _rewrap(
    transaction: Transaction, keys: RootKeys, key_id: str, old: RecognisedLicense, new: RecognisedLicense
) -> None:
    stored = must_get_key(transaction.rows, key_id, transaction.now)
    key = replace(stored.key, license_tag=new.tag)
    with unwrap_managed_key(keys, stored, old) as secret:
        put_key(transaction.rows, key, wrap_managed_key(keys, key, secret, new))
