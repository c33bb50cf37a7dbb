"""Seals rows and headers of a keystore again, right or wrong, from man/tiktrue-keys-format.5 alone.

This is what one can who has the keystore's secret H: a process of its owner on its machine.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

from tests.independent.encoding import LABEL, canonical, joined, wrap
from tests.independent.open_keystore import Keystore, mac


def tag_of(keystore: Keystore, kind: int, name: str) -> bytes:
    return mac(keystore.subkey("tag"), kind.to_bytes(2, "big") + name.encode())[:16]


def packed(payload: Any) -> bytes:
    return b"\0" + canonical(payload)


def deflated(data: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"\1" + deflate.compress(data) + deflate.flush()


def seal_record(keystore: Keystore, kind: int, name: str, data: bytes) -> None:
    """Replace the sealed bytes of a record, and let its bucket and the root fit."""
    database, tag = keystore.database, tag_of(keystore, kind, name)
    row = database.execute("SELECT revision, owner FROM record WHERE tag = ?", (tag,)).fetchone()
    assert row is not None, name
    revision, owner = row
    context = joined(LABEL + b"metadata", keystore.id) + tag + kind.to_bytes(2, "big") + revision.to_bytes(8, "big")
    sealed = wrap(keystore.subkey("metadata"), data, context + (owner or b""))
    database.execute("UPDATE record SET sealed = ? WHERE tag = ?", (sealed, tag))
    fit_bucket(keystore, int.from_bytes(tag[:2], "big") >> 4)


def fit_bucket(keystore: Keystore, bucket: int) -> None:
    database = keystore.database
    rows = database.execute(
        "SELECT tag, kind, revision, owner, sealed FROM record WHERE bucket = ? ORDER BY tag", (bucket,)
    ).fetchall()
    covered = LABEL + b"integrity bucket\0" + bucket.to_bytes(2, "big")
    for tag, kind, revision, owner, sealed in rows:
        covered += tag + kind.to_bytes(2, "big") + revision.to_bytes(8, "big")
        covered += bytes([len(owner or b"")]) + (owner or b"") + sealed[-16:]
    digest = mac(keystore.subkey("integrity"), covered) if rows else bytes(32)
    page, at = divmod(bucket, 64)
    (digests,) = database.execute("SELECT digests FROM bucket WHERE page = ?", (page,)).fetchone()
    digests = digests[: at * 32] + digest + digests[at * 32 + 32 :]
    database.execute("UPDATE bucket SET digests = ? WHERE page = ?", (digests, page))
    fit_root(keystore)


def fit_root(keystore: Keystore) -> None:
    """Make the root fit whatever header, digests and state there are."""
    database = keystore.database
    ((document,),) = database.execute("SELECT document FROM header").fetchall()
    ((size, head, note),) = database.execute("SELECT audit_size, audit_head, checkpoint FROM state").fetchall()
    digests = b"".join(page for (page,) in database.execute("SELECT digests FROM bucket ORDER BY page"))
    epoch = keystore.document["epoch"]
    numbers = epoch.to_bytes(8, "big"), hashlib.sha256(document).digest(), (size % 2**64).to_bytes(8, "big")
    note_hash = hashlib.sha256(note.encode() if isinstance(note, str) else note).digest()
    covered = joined(LABEL + b"integrity root", keystore.id, *numbers, head, note_hash)
    database.execute("UPDATE state SET root = ?", (mac(keystore.subkey("integrity"), covered + digests),))


def write_header(keystore: Keystore, document: bytes) -> None:
    """Replace the header, under a MAC and a root that fit."""
    proof = mac(keystore.subkey("header"), document)
    keystore.database.execute("UPDATE header SET document = ?, mac = ?", (document, proof))
    fit_root(keystore)


def seal_audit(keystore: Keystore, number: int, payload: bytes) -> bytes:
    """An audit record's sealed bytes."""
    context = joined(LABEL + b"audit", keystore.id, number.to_bytes(8, "big"))
    return wrap(keystore.subkey("metadata"), b"\0" + payload, context)
