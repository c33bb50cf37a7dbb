"""The container and block vectors, made with the product."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.vectors.known import GENERATION, HERE, KEY, MODEL, WARNING, ed25519, fixed_randomness, known, pretty
from tiktrue_keys.core import derivation
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.models.container.seal import ContainerSigner, SealedContainer, seal_container
from tiktrue_keys.models.format.block import seal_block
from tiktrue_keys.models.format.header import Header, Origin, Wrap, WrapType
from tiktrue_keys.models.format.header_slots import decode_slots
from tiktrue_keys.models.format.kind import Kind
from tiktrue_keys.models.format.wraps import wrap_for_key, wrap_for_recipient
from tiktrue_keys.models.pipeline.sinks import StreamSink


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
        "warning": WARNING,
        "key_id": KEY,
        "generation": GENERATION,
        "managed_key": known("managed key").hex(),
        "issuer": ed25519("issuer")[0].hex(),
        "issuer_seed": known("issuer").hex(),
    }
    return {**made, "container.json": pretty({**keys, "containers": described})}


def _container(name: str, plaintext: bytes) -> tuple[bytes, SealedContainer, bytes]:
    public, sign = ed25519("issuer")
    data_key, file_id = known(f"data key {name}"), known(f"file id {name}", 16)
    piped, recipient = name == "piped", name == "recipient"
    signer = None if recipient else ContainerSigner(public, lambda data: sign(derivation.signed_message("model", data)))
    with fixed_randomness(name), SecretBuffer.copy_of(data_key) as secret, tempfile.TemporaryDirectory() as folder:
        wrap = _recipient_wrap(secret, file_id) if recipient else _managed_wrap(secret, file_id)
        origin = Origin.RECIPIENT if recipient else Origin.KEYSTORE
        header = Header(file_id, MODEL, f"{name}.bin", Kind.OTHER, None, origin, (wrap,))
        output = Path(folder, "out")
        source = _pipe(plaintext) if piped else _file(Path(folder, "in"), plaintext)
        target = os.open(output, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            sealed = seal_container(source, StreamSink(target) if piped else target, header, secret.view, signer=signer)
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


def block_vectors() -> dict[str, bytes]:
    """block.json: an envelope and what is in it."""
    block = known("block", 50)
    with fixed_randomness("block"), SecretBuffer.copy_of(known("managed key")) as key:
        envelope = seal_block(block, key.view, key_id=KEY, generation=GENERATION, block_id="layers.0/weight")
    value = {
        "warning": WARNING,
        "managed_key": known("managed key").hex(),
        "key_id": KEY,
        "generation": GENERATION,
        "block_id": "layers.0/weight",
        "block": block.hex(),
        "envelope": envelope.hex(),
    }
    return {"block.json": pretty(value)}
