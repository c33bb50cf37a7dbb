"""Bucket digests and the root over them, which reveal an edited, moved, deleted or older row.

Come here for how all rows together are authenticated. SQLite has no checksums, and seals alone cannot show that a row
is missing or old. Every row falls into one of 4,096 buckets; a digest covers the rows of a bucket, and the root covers
all digests, the header and the audit head. The functions are pure.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterable
from typing import NamedTuple

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.keystore.schema import DIGEST_LENGTH
from tiktrue_keys.errors import IntegrityError

EMPTY_BUCKET = bytes(DIGEST_LENGTH)
TAG_LENGTH = 16

_FIXED = struct.Struct(">16sHQB").pack  # tag, kind, revision, length of the owner
_BUCKET_LABEL = derivation.INTEGRITY + b" bucket\x00"


class RowSummary(NamedTuple):
    """The part of a row that a digest covers: tag 16, kind, revision, owner (16 bytes or none), seal tag 16."""

    tag: bytes
    kind: int
    revision: int
    owner: bytes | None
    seal_tag: bytes


Row = tuple[bytes, int, int, bytes | None, bytes]
"""The same members as SQLite returns them, of unchecked types.

A plain tuple for speed: with 100,000 keys a bucket has a hundred rows, of which one is wanted.
"""


def bucket_of(tag: bytes) -> int:
    """Return the bucket of a record: the first 12 bits of its tag."""
    return int.from_bytes(tag[:2], "big") >> 4


def bucket_digest(key: memoryview, bucket: int, rows: Iterable[Row]) -> bytes:
    """Return HMAC-SHA256 over the rows of one bucket, in the order of their tags; 32 zero bytes if there are none.

    Raises IntegrityError for a column of a type or size that this program does not write.
    """
    covered: list[bytes] = []
    try:
        for tag, kind, revision, owner, seal in rows:
            if len(tag) != TAG_LENGTH or len(seal) != TAG_LENGTH or (owner is not None and len(owner) != TAG_LENGTH):
                raise IntegrityError("a row of the keystore was changed")
            covered += (_FIXED(tag, kind, revision, TAG_LENGTH if owner else 0), owner or b"", seal)
        joined_rows = b"".join(covered)
    except (struct.error, TypeError):
        raise IntegrityError("a row of the keystore was changed") from None
    if not covered:
        return EMPTY_BUCKET
    return hmac.digest(key, _BUCKET_LABEL + bucket.to_bytes(2, "big") + joined_rows, "sha256")


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
    """Return HMAC-SHA256 over everything that makes up the state of the keystore, 32 bytes."""
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
