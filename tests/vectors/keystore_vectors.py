"""keystore.json and checkpoint.json: derivations, sealed forms and the audit head, made with the product."""

from __future__ import annotations

import base64
import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from tests.core.audit.trees import StoredTree
from tests.vectors.known import (
    GENERATION,
    HERE,
    KEY,
    MODEL,
    REAL_COMPRESSOBJ,
    WARNING,
    ed25519,
    fixed_randomness,
    known,
    pretty,
)
from tiktrue_keys.core import derivation
from tiktrue_keys.core.audit import merkle
from tiktrue_keys.core.audit.checkpoint import Checkpoint, signed_note, verifier_key
from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.fingerprint import Anchor, Binding
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keys.wrapping import wrap_managed_key
from tiktrue_keys.core.keystore.audit_log import AuditLog, origin_of
from tiktrue_keys.core.keystore.document import Cost, Document, document_mac
from tiktrue_keys.core.keystore.high_water import Mark, write_mark
from tiktrue_keys.core.keystore.integrity import RowSummary, bucket_digest, bucket_of, state_root
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.keystore.schema import BUCKETS, DIGEST_LENGTH, RecordKind, create_tables
from tiktrue_keys.core.keystore.slots import seal_to_machine
from tiktrue_keys.core.machine import FactKind
from tiktrue_keys.core.sealing import seal_tag
from tiktrue_keys.core.secret import SecretBuffer

LICENSE = b"A license for test vectors"
TIME = Instant(1_800_000_000)


def keystore_vectors() -> dict[str, bytes]:
    """keystore.json: every derivation and sealed form of a keystore, its values in hex unless they are texts."""
    with fixed_randomness("keystore"):
        root, host = SecretBuffer.copy_of(known("H")), SecretBuffer.copy_of(known("host secret"))
        keys = RootKeys(root, known("keystore id", 16))
        binding = Binding(
            (
                Anchor(FactKind.BOARD_SERIAL, ".7B5RN32.CNFCP0098U00J1."),
                Anchor(FactKind.DISK, "naa.5002538f00000001"),
                Anchor(FactKind.MACHINE_ID, "00112233445566778899aabbccddeeff"),
                Anchor(FactKind.NIC, "b0:7b:25:9c:11:40"),
            )
        )
        document = _document(keys, binding, host)
        value = {
            "warning": WARNING,
            "H": known("H").hex(),
            "host_secret": known("host secret").hex(),
            "host_secret_id": document.host_secret_id.hex(),
            "keystore_id": keys.keystore_id.hex(),
            "facts": binding.to_json(),
            "document": document.encode().decode(),
            "document_mac": document_mac(root.view, document.encode()).hex(),
            "license": _license(document.costs[0], version=1, salt=known("H")),
            "license_of_version_2": _license(document.costs[0], version=2, salt=known("license salt")),
            "managed_key": _managed_key(keys),
            "record": _record(keys, document),
            "audit": _audit(keys),
            "mark": _mark(keys),
            "mark_with_heartbeat": _mark(keys, Instant(1_795_608_000)),
            "deflated_record": {"payload": deflated_payload().decode(), "sealed": _deflated(keys).hex()},
        }
    return {"keystore.json": pretty(value)}


def _document(keys: RootKeys, binding: Binding, host: SecretBuffer) -> Document:
    return Document(
        keystore_id=keys.keystore_id,
        created_at=TIME,
        epoch=1,
        host_secret_id=derivation.host_secret_id(host.view),
        host_secret_path="/var/lib/tiktrue-keys-host/secret",
        marks_path="/var/lib/tiktrue-keys-host",
        costs=(Cost(known("cost salt"), derivation.PBKDF2_MIN_ROUNDS),),
        slots=seal_to_machine(keys.root.view, binding, host.view, keys.keystore_id),
        resealed_at=TIME,
        audit_key=ed25519("audit key")[0],
        identity_key=ed25519("issuer")[0],
        identity_hpke=derivation.x_wing_public_bytes(memoryview(known("identity-hpke"))),
    )


def _license(cost: Cost, *, version: int, salt: bytes) -> dict[str, object]:
    stretched = derivation.stretch_license(memoryview(LICENSE), salt=cost.salt, rounds=cost.rounds, version=version)
    with stretched, derivation.license_kek(stretched.view, salt) as kek:
        return {
            "license": LICENSE.decode(),
            "version": version,
            "salt": salt.hex(),
            "P": bytes(stretched.view).hex(),
            "tag": derivation.license_tag(stretched.view, salt).hex(),
            "kek": bytes(kek.view).hex(),
        }


def _managed_key(keys: RootKeys) -> dict[str, object]:
    key = ManagedKey(KEY, MODEL, GENERATION, TIME, Instant(TIME + 1), Instant(TIME + 2))
    with SecretBuffer.copy_of(known("managed key")) as secret:
        wrapped = wrap_managed_key(keys, key, secret, None)
    return {
        "key_id": KEY,
        "model_id": MODEL,
        "generation": GENERATION,
        "managed_key": known("managed key").hex(),
        "wrapped_without_license": wrapped.hex(),
    }


def _record(keys: RootKeys, document: Document) -> dict[str, object]:
    payload = {"heads": [KEY], "model_id": MODEL}
    tag, owner = keys.tag_of(RecordKind.MODEL, MODEL), keys.tag_of(RecordKind.CONTAINER, "all")
    sealed = keys.sealer.seal(canonical_json(payload), record_context(keys))
    row = RowSummary(tag, RecordKind.MODEL, 3, owner, seal_tag(sealed))
    bucket = bucket_of(tag)
    digest = bucket_digest(keys.integrity.view, bucket, [row])
    digests = bytearray(BUCKETS * DIGEST_LENGTH)
    digests[bucket * DIGEST_LENGTH : (bucket + 1) * DIGEST_LENGTH] = digest
    root = state_root(
        keys.integrity.view,
        keystore_id=keys.keystore_id,
        epoch=1,
        document=document.encode(),
        audit_size=0,
        audit_head=merkle.EMPTY_ROOT,
        checkpoint="a checkpoint",
        digests=bytes(digests),
    )
    return {
        "kind": RecordKind.MODEL,
        "name": MODEL,
        "tag": tag.hex(),
        "bucket": bucket,
        "revision": 3,
        "owner": owner.hex(),
        "owner_kind": RecordKind.CONTAINER,
        "owner_name": "all",
        "payload": canonical_json(payload).decode(),
        "sealed": sealed.hex(),
        "digest": digest.hex(),
        "root_of_this_record_alone": root.hex(),
        "checkpoint_in_the_root": "a checkpoint",
    }


def deflated_payload() -> bytes:
    """Of the record whose tag, kind, revision and owner are those of `record`."""
    return canonical_json({"heads": [KEY] * 20, "model_id": MODEL})


def record_context(keys: RootKeys) -> bytes:
    """What the two records of keystore.json are bound to."""
    tag, owner = keys.tag_of(RecordKind.MODEL, MODEL), keys.tag_of(RecordKind.CONTAINER, "all")
    return keys.record_context + tag + RecordKind.MODEL.to_bytes(2, "big") + (3).to_bytes(8, "big") + owner


def _deflated(keys: RootKeys) -> bytes:
    there = HERE / "keystore.json"
    if there.exists():
        return bytes.fromhex(json.loads(there.read_text())["deflated_record"]["sealed"])
    with patch("zlib.compressobj", REAL_COMPRESSOBJ):
        return keys.sealer.seal(deflated_payload(), record_context(keys))


def _audit(keys: RootKeys) -> dict[str, object]:
    with closing(sqlite3.connect(":memory:")) as connection:
        create_tables(connection)
        log = AuditLog(connection, keys, size=0, epoch=1)
        for number in range(6):
            actor = Actor("vector", "host", "generate")
            log.append(time=TIME, actor=actor, event="generate", outcome="ok", operation_id=f"op-{number}", key_id=KEY)
        last = log.leaf(5)
        return {
            "number": 5,
            "record": log.get(5).encode().decode(),
            "sealed": last.hex(),
            "leaf_hash": merkle.leaf_hash(last).hex(),
            "leaves": [log.leaf(number).hex() for number in range(6)],
            "head": log.head().hex(),
        }


def _mark(keys: RootKeys, heartbeat: Instant | None = None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mark")
        mark = Mark(1, 6, known("head"), heartbeat)
        write_mark(path, mark, root=keys.root.view, keystore_id=keys.keystore_id)
        return path.read_text()


def checkpoint_vectors() -> dict[str, bytes]:
    """checkpoint.json: the leaves of a log, its head and its note."""
    public, sign = ed25519("audit key")
    leaves = [known(f"leaf {number}", 40 + number) for number in range(6)]
    size, head = len(leaves), StoredTree(leaves).root()
    origin = origin_of(known("keystore id", 16), 1)
    value = {
        "warning": WARNING,
        "public_key": public.hex(),
        "seed": known("audit key").hex(),
        "verifier_key": verifier_key(origin, public),
        "leaves": [base64.b64encode(leaf).decode() for leaf in leaves],
        "head": head.hex(),
        "note": signed_note(Checkpoint(origin, size, head), public_key=public, sign=sign),
    }
    return {"checkpoint.json": pretty(value)}
