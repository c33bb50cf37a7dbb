"""Makes the container, keystore, checkpoint and block vectors of this folder, with fixed keys and fixed randomness.

    python -m tests.vectors.make_vectors

A test makes them again and compares: a changed byte is a changed format. Two values cannot be made again and are taken
over from the files that are there: the HPKE wrap of container-recipient.ttm, which holds randomness of OpenSSL's own,
and the deflated record of keystore.json, because builds of zlib deflate differently. No other record is deflated.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tiktrue_keys.core import derivation
from tiktrue_keys.core.acts.wrapping import wrap_managed_key
from tiktrue_keys.core.audit import merkle
from tiktrue_keys.core.audit.checkpoint import Checkpoint, signed_note, verifier_key
from tiktrue_keys.core.audit.log import AuditLog, origin_of
from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.fingerprint import Anchor, Binding
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.document import Cost, Document, document_mac
from tiktrue_keys.core.keystore.high_water import Mark, write_mark
from tiktrue_keys.core.keystore.integrity import RowSummary, bucket_digest, bucket_of, state_root
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.keystore.schema import BUCKETS, DIGEST_LENGTH, RecordKind, create_tables
from tiktrue_keys.core.keystore.slots import seal_to_machine
from tiktrue_keys.core.lifecycle import ManagedKey
from tiktrue_keys.core.machine import FactKind
from tiktrue_keys.core.names import KeyId, ModelId
from tiktrue_keys.core.sealing import seal_tag
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.models.blocks import seal_block
from tiktrue_keys.models.header import Header, Origin, Wrap, WrapType
from tiktrue_keys.models.kinds import Kind
from tiktrue_keys.models.seal_container import SealedContainer, Signer, seal_container
from tiktrue_keys.models.slots import decode_slots
from tiktrue_keys.models.wraps import wrap_for_key, wrap_for_recipient

HERE = Path(__file__).parent
_REAL_COMPRESSOBJ = zlib.compressobj
MODEL = ModelId("vector-model")
KEY = KeyId("vector-model_0123456789abcdef")
GENERATION = 7
LICENSE = b"A license for test vectors"
TIME = Instant(1_800_000_000)


def known(name: str, length: int = 32) -> bytes:
    """Bytes that anybody can make again: SHAKE128 of a name."""
    return hashlib.shake_128(f"tiktrue-keys test vector: {name}".encode()).digest(length)


@contextmanager
def fixed_randomness(name: str) -> Iterator[None]:
    """os.urandom as a stream that depends on `name` alone."""
    drawn = 0

    def urandom(length: int) -> bytes:
        nonlocal drawn
        drawn += length
        return known(f"randomness of {name}", drawn)[-length:]

    with patch("os.urandom", urandom), patch("zlib.compressobj", lambda *_: _Stored()):
        yield


class _Stored:
    """A deflater that is never smaller: what it is given is stored as it is."""

    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def ed25519(name: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    private = Ed25519PrivateKey.from_private_bytes(known(name))
    return private.public_key().public_bytes_raw(), private.sign


def container_vectors() -> dict[str, bytes]:
    """container-small.ttm, container-piped.ttm, container-recipient.ttm and container.json, which opens them."""
    made: dict[str, bytes] = {}
    described: dict[str, object] = {}
    for name, length in (("small", 100), ("piped", 200), ("recipient", 0)):
        file, sealed, data_key = _container(name, known(f"plaintext {name}", length))
        made[f"container-{name}.ttm"] = file
        described[f"container-{name}.ttm"] = {
            "file_id": sealed.header.file_id.hex(),
            "data_key": data_key.hex(),
            "plaintext": known(f"plaintext {name}", length).hex(),
            "root": sealed.root.hex(),
            "signed": sealed.trailer.signature is not None,
            "wrap": sealed.header.wraps[0].type.value,
        }
    keys = {
        "warning": "known keys, for tests only",
        "key_id": KEY,
        "generation": GENERATION,
        "managed_key": known("managed key").hex(),
        "issuer": ed25519("issuer")[0].hex(),
        "issuer_seed": known("issuer").hex(),
    }
    return {**made, "container.json": _pretty({**keys, "containers": described})}


def _container(name: str, plaintext: bytes) -> tuple[bytes, SealedContainer, bytes]:
    public, sign = ed25519("issuer")
    data_key, file_id = known(f"data key {name}"), known(f"file id {name}", 16)
    piped, recipient = name == "piped", name == "recipient"
    signer = None if recipient else Signer(public, lambda data: sign(derivation.signed_message("model", data)))
    with fixed_randomness(name), SecretBuffer.copy_of(data_key) as secret, tempfile.TemporaryDirectory() as folder:
        wrap = _recipient_wrap(secret, file_id) if recipient else _managed_wrap(secret, file_id)
        origin = Origin.RECIPIENT if recipient else Origin.KEYSTORE
        header = Header(file_id, MODEL, f"{name}.bin", Kind.OTHER, None, origin, (wrap,))
        output = Path(folder, "out")
        source = _pipe(plaintext) if piped else _file(Path(folder, "in"), plaintext)
        target = os.open(output, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            sealed = seal_container(source, target, header, secret.view, to_stream=piped, signer=signer)
        finally:
            os.close(source)
            os.close(target)
        return output.read_bytes(), sealed, data_key


def _managed_wrap(data_key: SecretBuffer, file_id: bytes) -> Wrap:
    with SecretBuffer.copy_of(known("managed key")) as key:
        return wrap_for_key(data_key.view, key.view, file_id=file_id, model_id=MODEL, key_id=KEY, generation=GENERATION)


def _recipient_wrap(data_key: SecretBuffer, file_id: bytes) -> Wrap:
    there = HERE / "container-recipient.ttm"
    if there.exists():
        (wrap,) = decode_slots(there.read_bytes()[:65536]).current.header.wraps
        return Wrap(WrapType.HPKE, KEY, GENERATION, wrap.wrapped)
    with (
        SecretBuffer.copy_of(known("managed key")) as key,
        derivation.subkey(key.view, derivation.MANAGED_KEY_HPKE) as seed,
    ):
        public = derivation.x_wing_public_bytes(seed.view)
    return wrap_for_recipient(data_key.view, public, file_id=file_id, model_id=MODEL, key_id=KEY, generation=GENERATION)


def _file(path: Path, data: bytes) -> int:
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY)


def _pipe(data: bytes) -> int:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(data)
    return reader


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
            "warning": "known keys, for tests only",
            "H": known("H").hex(),
            "host_secret": known("host secret").hex(),
            "host_secret_id": document.host_secret_id.hex(),
            "keystore_id": keys.keystore_id.hex(),
            "facts": binding.to_json(),
            "document": document.encode().decode(),
            "document_mac": document_mac(root.view, document.encode()).hex(),
            "license": _license(root, document.costs[0]),
            "managed_key": _managed_key(keys),
            "record": _record(keys, document),
            "audit": _audit(keys),
            "mark": _mark(keys),
            "deflated_record": {"payload": deflated_payload().decode(), "sealed": _deflated(keys).hex()},
        }
    return {"keystore.json": _pretty(value)}


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


def _license(root: SecretBuffer, cost: Cost) -> dict[str, object]:
    with (
        derivation.stretch_license(memoryview(LICENSE), salt=cost.salt, rounds=cost.rounds) as stretched,
        derivation.license_kek(stretched.view, root.view) as kek,
    ):
        return {
            "license": LICENSE.decode(),
            "P": bytes(stretched.view).hex(),
            "tag": derivation.license_tag(stretched.view, root.view).hex(),
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
    with patch("zlib.compressobj", _REAL_COMPRESSOBJ):
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


def _mark(keys: RootKeys) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mark")
        mark = Mark(1, 6, known("head"))
        write_mark(path, mark, root=keys.root.view, keystore_id=keys.keystore_id)
        return path.read_text()


def checkpoint_vectors() -> dict[str, bytes]:
    """checkpoint.json: the leaves of a log, its head and its note."""
    public, sign = ed25519("audit key")
    leaves = [known(f"leaf {number}", 40 + number) for number in range(6)]
    size, head = merkle.root_of(leaves)
    origin = origin_of(known("keystore id", 16), 1)
    value = {
        "warning": "known keys, for tests only",
        "public_key": public.hex(),
        "seed": known("audit key").hex(),
        "verifier_key": verifier_key(origin, public),
        "leaves": [base64.b64encode(leaf).decode() for leaf in leaves],
        "head": head.hex(),
        "note": signed_note(Checkpoint(origin, size, head), public_key=public, sign=sign),
    }
    return {"checkpoint.json": _pretty(value)}


def block_vectors() -> dict[str, bytes]:
    """block.json: an envelope and what is in it."""
    block = known("block", 50)
    with fixed_randomness("block"), SecretBuffer.copy_of(known("managed key")) as key:
        envelope = seal_block(block, key.view, key_id=KEY, generation=GENERATION, block_id="layers.0/weight")
    value = {
        "warning": "known keys, for tests only",
        "managed_key": known("managed key").hex(),
        "key_id": KEY,
        "generation": GENERATION,
        "block_id": "layers.0/weight",
        "block": block.hex(),
        "envelope": envelope.hex(),
    }
    return {"block.json": _pretty(value)}


def all_vectors() -> dict[str, bytes]:
    """Every file's name and content."""
    return {**container_vectors(), **keystore_vectors(), **checkpoint_vectors(), **block_vectors()}


def _pretty(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


if __name__ == "__main__":
    for file_name, content in all_vectors().items():
        (HERE / file_name).write_bytes(content)
