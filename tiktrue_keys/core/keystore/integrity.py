"""Bucket digests and the root over them: what makes an edited, moved, deleted or older row visible. Pure.

SQLite has no checksums, and seals alone cannot show that a row is missing or old. Every row falls into one of 4,096
buckets; a digest stands for the rows of a bucket, the root for all digests, the header and the audit head.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.keystore.schema import DIGEST_LENGTH

EMPTY_BUCKET = bytes(DIGEST_LENGTH)


@dataclass(frozen=True, slots=True)
class RowSummary:
    """What a digest covers of one row: tag 16, kind, revision, owner (16 bytes or none), seal tag 16."""

    tag: bytes
    kind: int
    revision: int
    owner: bytes | None
    seal_tag: bytes


def bucket_of(tag: bytes) -> int:
    """The bucket of a record: the first 12 bits of its tag."""
    return int.from_bytes(tag[:2], "big") >> 4


def bucket_digest(key: memoryview, bucket: int, rows: Iterable[RowSummary]) -> bytes:
    """HMAC-SHA256 over the rows of one bucket, in the order of their tags; 32 zero bytes for none."""
    covered = bytearray()
    for row in rows:
        owner = row.owner or b""
        covered += b"".join(
            (
                row.tag,
                row.kind.to_bytes(2, "big"),
                row.revision.to_bytes(8, "big"),
                len(owner).to_bytes(1, "big"),
                owner,
                row.seal_tag,
            )
        )
    if not covered:
        return EMPTY_BUCKET
    return hmac.digest(key, derivation.INTEGRITY + b" bucket\x00" + bucket.to_bytes(2, "big") + covered, "sha256")


def state_root(
    key: memoryview,
    *,
    keystore_id: bytes,
    epoch: int,
    document: bytes,
    audit_size: int,
    audit_head: bytes,
    checkpoint: str,
    digests: bytes,
) -> bytes:
    """HMAC-SHA256 over everything that says what the keystore is now."""
    fixed = joined(
        derivation.INTEGRITY + b" root",
        keystore_id,
        epoch.to_bytes(8, "big"),
        hashlib.sha256(document).digest(),
        audit_size.to_bytes(8, "big"),
        audit_head,
        hashlib.sha256(checkpoint.encode()).digest(),
    )
    return hmac.digest(key, fixed + digests, "sha256")
