"""Holds the records of a keystore against the catalogue of audit events."""

from __future__ import annotations

from tiktrue_keys.core.audit.events import CATALOGUE, EVERYWHERE
from tiktrue_keys.core.manager import KeyManager


def unlisted(manager: KeyManager) -> list[str]:
    """Events, and `event member`s of a detail, that are recorded and not in the catalogue."""
    found = set()
    for record in manager.audit_records():
        known = CATALOGUE.get(record.event)
        if known is None:
            found.add(record.event)
        else:
            found |= {f"{record.event} {name}" for name in set(record.detail) - set(known.members) - set(EVERYWHERE)}
    return sorted(found)
