"""Opens a model container given a managed key, from man/tiktrue-keys-format.5 alone.

usage: open_container.py FILE KEY_ID MANAGED_KEY_HEX [ISSUER_HEX] > plaintext
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import sys
from typing import Any

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEGMENT = 1048576


def check(good: bool, what: str) -> None:
    if not good:
        raise SystemExit(f"{what}: wrong")


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(key)


def number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def without_checksum(slot: bytes) -> bytes:
    return slot[:32] + bytes(32) + slot[64:]


def current_slot(file: bytes) -> bytes:
    slots = [file[:32768], file[32768:65536]]
    whole = [s for s in slots if s[:4] == b"TTM1" and s[32:64] == hashlib.sha256(without_checksum(s)).digest()]
    check(bool(whole), "checksum of both slots")
    newest = [s for s in whole if s[8:16] == max(each[8:16] for each in whole)]
    check(newest[0] == newest[-1], "two slots of one number")
    return newest[0]


def header_of(slot: bytes) -> dict[str, Any]:
    length = number(slot[16:20])
    check(slot[4:8] == b"\0\1\0\0" and not any(slot[20:32]) and length <= 32672, "fixed part of the slot")
    check(number(slot[8:16]) > 0 and not any(slot[64 + length : 32736]), "sequence number or padding of the slot")
    header: dict[str, Any] = json.loads(slot[64 : 64 + length])
    check(canonical(header) == slot[64 : 64 + length], "spelling of the header")
    names = {"file_id", "kind", "length", "model_id", "name", "origin", "segment_size", "wraps"}
    check(set(header) == names and header["segment_size"] == SEGMENT, "members of the header")
    return header


def data_key_of(header: dict[str, Any], key_id: str, managed_key: bytes) -> bytes:
    found = [w for w in header["wraps"] if w["key_id"] == key_id and w["type"] == "managed-key"]
    check(len(found) == 1, f"no single wrap for {key_id}")
    wrapped = base64.b64decode(found[0]["wrapped"], validate=True)
    names = bytes.fromhex(header["file_id"]), header["model_id"].encode(), key_id.encode()
    parts = b"tiktrue-keys/1 wrap", b"managed-key", *names, found[0]["generation"].to_bytes(4, "big")
    context = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    check(len(wrapped) == 60, "length of the wrapped key")
    return AESGCMSIV(managed_key).decrypt(wrapped[:12], wrapped[12:], context)


def check_signature(header: dict[str, Any], body: bytes, record: bytes, issuer: bytes) -> None:
    check(record[56:88] == issuer, "issuer")
    place_check = hashlib.sha256(b"tiktrue-keys/1 model-signature\0" + record[24:152]).digest()[:16]
    check(place_check == record[152:168], "check of the signature place")
    signed = {name: header[name] for name in ("file_id", "kind", "model_id", "name", "segment_size")}
    signed |= {"length": number(record[16:24]), "root": record[24:56].hex()}
    signed |= {"salt": body[1:33].hex(), "prefix": body[33:40].hex()}
    key = Ed25519PublicKey.from_public_bytes(issuer)
    key.verify(record[88:152], b"tiktrue-keys/1 model\0" + canonical(signed))


def open_container(file: bytes, key_id: str, managed_key: bytes, issuer: bytes | None = None) -> bytes:
    """The plaintext; SystemExit, InvalidTag or InvalidSignature for anything that is not right."""
    slot = current_slot(file)
    header = header_of(slot)
    record, footer = file[-200:-32], file[-32:]
    check(footer[:8] == b"TTME\0\1\0\0" and record[:6] == b"TTMR\0\1", "footer or record")
    segments, length, listed = number(record[8:16]), number(record[16:24]), number(record[6:8])
    leaves_at = len(file) - 32 - number(footer[8:16])
    leaves, body = file[leaves_at:-200], file[65536:leaves_at]
    unsigned = record[:56] + bytes(112)
    check(footer[16:] == hashlib.sha256(leaves + unsigned + footer[:16]).digest()[:16], "checksum of the trailer")
    check(segments == -(-(length + 40) // (SEGMENT - 16)) and len(body) == 40 + length + 16 * segments, "lengths")
    check(listed in (0, 1) and len(leaves) == listed * segments * 32, "number of leaves")
    check(header["length"] == length or (header["length"] is None and not listed), "length in the header")
    data_key = data_key_of(header, key_id, managed_key)
    file_id, salt, prefix = bytes.fromhex(header["file_id"]), body[1:33], body[33:40]
    mac_key = hkdf(data_key, b"", b"tiktrue-keys/1 container-header\0" + file_id)
    mac = hmac.digest(mac_key, without_checksum(slot)[:32736], "sha256")
    check(hmac.compare_digest(mac, slot[32736:]), "HMAC of the header")
    if issuer is not None:
        check_signature(header, body, record, issuer)
    cuts = [40, *range(SEGMENT, len(body), SEGMENT), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(cuts)]
    found = b"".join(blake3(piece + i.to_bytes(8, "big")).digest() for i, piece in enumerate(pieces))
    check(body[0] == 40 and len(pieces) == segments and (not listed or found == leaves), "leaves")
    sizes = SEGMENT.to_bytes(4, "big") + length.to_bytes(8, "big")
    root = blake3(b"tiktrue-keys/1 model-root\0" + file_id + salt + prefix + sizes + found).digest()
    check(root == record[24:56], "root")
    cipher = AESGCM(hkdf(data_key, salt, b"tiktrue-model/1" + file_id))
    nonces = [prefix + i.to_bytes(4, "big") + bytes([i == segments - 1]) for i in range(segments)]
    return b"".join(cipher.decrypt(nonce, piece, None) for nonce, piece in zip(nonces, pieces, strict=True))


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as container:
        keys = [bytes.fromhex(text) for text in sys.argv[3:]]
        sys.stdout.buffer.write(open_container(container.read(), sys.argv[2], *keys))
