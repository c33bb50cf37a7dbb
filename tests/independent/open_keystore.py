"""Opens a keystore.db and prints a managed key, from man/tiktrue-keys-format.5 alone.

usage: open_keystore.py keystore.db HOST_SECRET_FILE FACTS.json KEY_ID [LICENSE_FILE] > key in hex

FACTS.json is a list of [kind, value], all values of this machine. The mark is not compared: this is no place to write.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import sqlite3
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LABEL = b"tiktrue-keys/1 "
LICENSE_TEXT = b"tiktrue-keys/2 license"
Facts = list[list[str]]


def check(good: bool, what: str) -> None:
    """Refuse what is not as the page says."""
    if not good:
        raise SystemExit(f"{what}: wrong")


def hkdf(key: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(key)


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def joined(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def unwrap(key: bytes, wrapped: bytes, context: bytes) -> bytes:
    return AESGCMSIV(key).decrypt(wrapped[:12], wrapped[12:], context)


def roots(document: dict[str, Any], host_secret: bytes, facts: Facts) -> Iterator[bytes]:
    """Every H that a slot gives on a machine with these facts."""
    keystore_id = bytes.fromhex(document["keystore_id"])
    for slot in document["slots"]:
        kinds = [kind.encode() for kind in slot["facts"]]
        context = joined(LABEL + b"slot", keystore_id, b"machine", *kinds)
        hints = bytes.fromhex(slot.get("hints", ""))
        present = [
            [
                value.encode()
                for kind, value in facts
                if kind == wanted and (not hints or hints[place] == hint(host_secret, keystore_id, kind, value))
            ]
            for place, wanted in enumerate(slot["facts"])
        ]
        for values in itertools.product(*present):
            anchors = joined(*itertools.chain(*zip(kinds, values, strict=True)))
            material, info = joined(host_secret, anchors), LABEL + b"slot\0" + keystore_id
            key = hkdf(material, bytes.fromhex(slot["salt"]), info)
            try:
                yield unwrap(key, base64.b64decode(slot["sealed"]), context)
            except InvalidTag:
                continue


def hint(host_secret: bytes, keystore_id: bytes, kind: str, value: str) -> int:
    """The byte by which a slot names a fact's value."""
    return mac(hkdf(host_secret, b"", LABEL + b"slot-hint\0" + keystore_id), joined(kind.encode(), value.encode()))[0]


class Keystore:
    """An open keystore whose header, root and digests were verified."""

    def __init__(self, database: sqlite3.Connection, root: bytes) -> None:
        self.database = database
        self.root = root
        encoded, stored_mac = database.execute("SELECT document, mac FROM header").fetchone()
        self.document: dict[str, Any] = json.loads(encoded)
        self.id = bytes.fromhex(self.document["keystore_id"])
        check(mac(self.subkey("header"), encoded) == stored_mac, "MAC of the header")
        pages = database.execute("SELECT digests FROM bucket ORDER BY page").fetchall()
        self.digests = b"".join(page for (page,) in pages)
        state = database.execute("SELECT audit_size, audit_head, checkpoint, root FROM state").fetchone()
        size, head, note, root_mac = state
        numbers = self.document["epoch"].to_bytes(8, "big"), hashlib.sha256(encoded).digest(), size.to_bytes(8, "big")
        covered = joined(LABEL + b"integrity root", self.id, *numbers, head, hashlib.sha256(note.encode()).digest())
        check(mac(self.subkey("integrity"), covered + self.digests) == root_mac, "root")

    def subkey(self, label: str) -> bytes:
        return hkdf(self.root, b"", LABEL + label.encode())

    def record(self, kind: int, name: str) -> dict[str, Any] | None:
        """The payload of a record, or None, its bucket verified."""
        tag = mac(self.subkey("tag"), kind.to_bytes(2, "big") + name.encode())[:16]
        bucket = int.from_bytes(tag[:2], "big") >> 4
        rows = self.database.execute(
            "SELECT tag, kind, revision, owner, sealed FROM record WHERE bucket = ? ORDER BY tag", (bucket,)
        ).fetchall()
        covered = LABEL + b"integrity bucket\0" + bucket.to_bytes(2, "big")
        for row_tag, row_kind, revision, owner, sealed in rows:
            fixed = row_tag + row_kind.to_bytes(2, "big") + revision.to_bytes(8, "big")
            covered += fixed + bytes([len(owner or b"")]) + (owner or b"") + sealed[-16:]
        digest = mac(self.subkey("integrity"), covered) if rows else bytes(32)
        check(digest == self.digests[bucket * 32 : bucket * 32 + 32], f"digest of bucket {bucket}")
        return next((self._opened(row) for row in rows if row[0] == tag), None)

    def _opened(self, row: tuple[bytes, int, int, bytes | None, bytes]) -> dict[str, Any]:
        tag, kind, revision, owner, sealed = row
        context = joined(LABEL + b"metadata", self.id) + tag + kind.to_bytes(2, "big") + revision.to_bytes(8, "big")
        packed = unwrap(self.subkey("metadata"), sealed, context + (owner or b""))
        payload: dict[str, Any] = json.loads(zlib.decompress(packed[1:], -15) if packed[0] else packed[1:])
        return payload

    def managed_key(self, key_id: str, license_key: bytes | None) -> bytes:
        """The 32 bytes of a managed key."""
        payload = self.record(1, key_id)
        if payload is None:
            raise SystemExit(f"no key {key_id}")
        kek = self.subkey("machine-kek") if license_key is None else self._license_key(license_key)
        parts = b"keystore", self.id, payload["model_id"].encode(), key_id.encode()
        context = joined(LABEL + b"wrap", *parts, payload["generation"].to_bytes(4, "big"))
        return unwrap(kek, base64.b64decode(payload["wrapped"]), context)

    def _license_key(self, license_key: bytes) -> bytes:
        for entry in self._license_entries():
            cost = self.document["costs"][entry["cost"]]
            hashed = license_key if entry["version"] == 1 else mac(LICENSE_TEXT, license_key)
            stretched = hashlib.pbkdf2_hmac("sha256", hashed, bytes.fromhex(cost["salt"]), cost["rounds"])
            salt = bytes.fromhex(entry["salt"])
            if hkdf(stretched, salt, LABEL + b"license-tag", 16).hex() == entry["tag"]:
                check(entry["factor"] is None, "factor")
                return hkdf(stretched, salt, LABEL + b"license-kek")
        raise SystemExit("unknown license")

    def _license_entries(self) -> list[dict[str, Any]]:
        """Every license; in schema version 1 their rows have no owner, and no member but those of version 1."""
        rows = self.database.execute("SELECT tag, kind, revision, owner, sealed FROM record WHERE kind = 4").fetchall()
        older = {"version": 1, "salt": self.root.hex(), "factor": None}
        found = {entry["tag"]: self.record(4, entry["tag"]) for entry in map(self._opened, rows)}
        return [older | entry for entry in found.values() if entry is not None]


def open_keystore(path: str, host_secret: bytes, facts: Facts) -> Keystore:
    """The keystore at `path`; SystemExit when this machine does not open it or it was changed."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return opened(database, host_secret, facts)
    except BaseException:
        database.close()
        raise


def opened(database: sqlite3.Connection, host_secret: bytes, facts: Facts) -> Keystore:
    """The same of an open database."""
    document = json.loads(database.execute("SELECT document FROM header").fetchone()[0])
    check(hkdf(host_secret, b"", LABEL + b"host-secret-id", 16).hex() == document["host_secret"]["id"], "host secret")
    root = next(roots(document, host_secret, facts), None)
    if root is None:
        raise SystemExit("no slot opens on this machine")
    return Keystore(database, root)


if __name__ == "__main__":
    contents = [Path(path).read_bytes() for path in (sys.argv[2], sys.argv[3], *sys.argv[5:6])]
    keystore = open_keystore(sys.argv[1], contents[0], json.loads(contents[1]))
    print(keystore.managed_key(sys.argv[4], contents[2] if len(contents) > 2 else None).hex())
    keystore.database.close()
