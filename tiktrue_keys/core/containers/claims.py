"""Claims: keys that a container names in a header that was not authenticated, at a path.

Anyone who can write a file can write a header. A claim therefore only delays the destruction of a key, and the operator
may overrule it; the registry's rows come from authenticated headers alone. Come here for what a scan without the
license remembers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction

ALL_CLAIMS = Owner(RecordKind.CLAIM, "all")
MAX_KEYS = 64
MAX_CLAIMS = 4096
_ID = 32


@dataclass(frozen=True)
class Claim:
    """What an unauthenticated header at `path` says: the container's file id (16 bytes) and keys of this keystore."""

    path: str
    file_id: bytes
    keys: frozenset[str]
    seen_at: Instant


def all_claims(rows: Rows) -> tuple[Claim, ...]:
    """Return every claim, sorted by path."""
    found = (_claim_of(payload) for payload in rows.owned_by(RecordKind.CLAIM, ALL_CLAIMS))
    return tuple(sorted(found, key=lambda claim: claim.path))


def put_claims(transaction: Transaction, claims: Collection[Claim], gone: Collection[str]) -> int:
    """Store claims, remove those of the paths in `gone`, and return how many found no room (4,096 in all).

    Nothing is recorded in the audit log for a claim; the caller records the scan.
    """
    rows = transaction.rows
    for path in gone:
        rows.delete(RecordKind.CLAIM, _name(path))
    left = MAX_CLAIMS - len(rows.owned_by(RecordKind.CLAIM, ALL_CLAIMS))
    refused = 0
    for claim in claims:
        if rows.get(RecordKind.CLAIM, _name(claim.path)) is None:
            if left <= 0:
                refused += 1
                continue
            left -= 1
        payload = {
            "path": claim.path,
            "file_id": claim.file_id.hex(),
            "keys": sorted(claim.keys)[:MAX_KEYS],
            "seen_at": claim.seen_at,
        }
        rows.put(RecordKind.CLAIM, _name(claim.path), payload, ALL_CLAIMS)
    return refused


def _name(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:_ID]


def _claim_of(payload: dict[str, Any]) -> Claim:
    return Claim(payload["path"], bytes.fromhex(payload["file_id"]), frozenset(payload["keys"]), payload["seen_at"])
