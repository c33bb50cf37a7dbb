"""ModelEncryption over a KeyManager: whole model files, blocks in memory, rotation, several models at once."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import load_file, save_file

from tests.keystores import LICENSE, OTHER_LICENSE
from tests.models.workshop import MODEL, Workshop, other_manager, pattern
from tiktrue_keys import KeyManager, ModelEncryption, SecurityError
from tiktrue_keys.errors import (
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    UsageError,
    WrongLicenseError,
)
from tiktrue_keys.models.registry.containers import HeaderReader


@pytest.fixture
def encryption(shop: Workshop) -> ModelEncryption:
    return ModelEncryption(shop.manager)


def real_model(folder: Path) -> Path:
    """A small transformer's weights, as the safetensors library writes them."""
    rng = numpy.random.default_rng(7)
    tensors = {
        f"layer.{number}.{part}": rng.standard_normal((64, 128)).astype(numpy.float32)
        for number in range(12)
        for part in ("query", "key", "value", "output")
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder / "model.safetensors"


def test_a_model_file_with_a_hardware_bound_key(shop: Workshop, encryption: ModelEncryption) -> None:
    model = real_model(shop.folder)
    made = encryption.encrypt_file(model, model_id=MODEL, license_key=LICENSE)
    assert isinstance(made.destination, Path)
    assert made.key == shop.key
    assert model.read_bytes()[:4096] not in made.destination.read_bytes()
    opened = encryption.decrypt_file(made.destination, shop.folder / "out.safetensors", license_key=LICENSE)
    assert opened.signed
    before, after = load_file(model), load_file(shop.folder / "out.safetensors")
    assert before.keys() == after.keys()
    assert all(numpy.array_equal(before[name], after[name]) for name in before)


def test_a_model_file_after_a_rotation(shop: Workshop, encryption: ModelEncryption) -> None:
    model = real_model(shop.folder)
    made = encryption.encrypt_file(model, model_id=MODEL, license_key=LICENSE)
    new = asyncio.run(shop.manager.rotate_key(old_key_id=made.key.key_id, license_key=LICENSE))
    assert made.destination is not None
    opened = encryption.decrypt_file(made.destination, shop.folder / "old", license_key=LICENSE)
    assert opened.key.key_id == made.key.key_id
    again = encryption.encrypt_file(model, shop.folder / "new.ttm", model_id=MODEL, license_key=LICENSE)
    assert again.key.key_id == new.key_id
    for out, name in ((shop.folder / "old", "old"), (shop.folder / "new", "new")):
        if name == "new":
            encryption.decrypt_file(shop.folder / "new.ttm", out, license_key=LICENSE)
        assert out.read_bytes() == model.read_bytes()


def test_several_models_are_kept_apart(shop: Workshop, encryption: ModelEncryption) -> None:
    for number in range(3):
        shop.manager.generate(f"model-{number}", license_key=LICENSE)
    blocks = {
        f"model-{number}": encryption.encrypt_block(b"%d" % number, model_id=f"model-{number}", license_key=LICENSE)
        for number in range(3)
    }
    for number, (model_id, block) in enumerate(blocks.items()):
        assert encryption.decrypt_block(block, model_id=model_id, license_key=LICENSE) == b"%d" % number
        with pytest.raises(IntegrityError, match="not block"):
            encryption.decrypt_block(block, model_id=MODEL, license_key=LICENSE)


def test_a_key_is_made_for_a_model_that_has_none(shop: Workshop, encryption: ModelEncryption) -> None:
    key = encryption.ensure_key("fresh", LICENSE)
    assert (key.model_id, key.binding) == ("fresh", "machine+license")
    assert encryption.ensure_key("fresh", LICENSE) == key
    assert encryption.ensure_key(MODEL, LICENSE) == shop.key


def test_without_a_key_nothing_is_encrypted(shop: Workshop, encryption: ModelEncryption) -> None:
    with pytest.raises(NotFoundError):
        encryption.encrypt_block(b"x", model_id="absent", license_key=LICENSE)
    with pytest.raises(NotFoundError):
        encryption.encrypt_file(shop.plain(), model_id="absent", license_key=LICENSE)
    assert shop.names() == {"weights.bin"}


@pytest.mark.parametrize("given", [OTHER_LICENSE, None])
def test_the_license_is_validated_by_itself(encryption: ModelEncryption, given: str | None) -> None:
    block = encryption.encrypt_block(b"x", model_id=MODEL, license_key=LICENSE)
    with pytest.raises((WrongLicenseError, UsageError)):
        encryption.encrypt_block(b"x", model_id=MODEL, license_key=given)
    with pytest.raises((WrongLicenseError, UsageError)):
        encryption.decrypt_block(block, model_id=MODEL, license_key=given)


def test_another_keystore_on_the_same_machine_opens_nothing(
    shop: Workshop, encryption: ModelEncryption, tmp_path: Path
) -> None:
    block = encryption.encrypt_block(b"x", model_id=MODEL, license_key=LICENSE)
    with other_manager(tmp_path / "other") as stranger, pytest.raises(NotFoundError):
        ModelEncryption(stranger).decrypt_block(block, model_id=MODEL, license_key=LICENSE)


def test_the_machine_is_validated_by_itself(shop: Workshop, encryption: ModelEncryption) -> None:
    """A copied keystore without this machine's host secret is another machine's."""
    block = encryption.encrypt_block(b"x", model_id=MODEL, license_key=LICENSE)
    shop.desk.close()
    shop.desk.secret.write_bytes(bytes(32))
    with pytest.raises(SecurityError):
        encryption.decrypt_block(block, model_id=MODEL, license_key=LICENSE)


def test_async_calls_do_not_block_the_loop(shop: Workshop, encryption: ModelEncryption) -> None:
    model = shop.plain(2 << 20)
    threads: set[int] = set()
    encrypt_block = encryption.encrypt_block

    def noting(data: bytes, *, model_id: str, license_key: str, block_id: str) -> bytes:
        threads.add(threading.get_ident())
        return encrypt_block(data, model_id=model_id, license_key=license_key, block_id=block_id)

    encryption.encrypt_block = noting  # type: ignore[method-assign,assignment]

    async def work() -> list[bytes]:
        sealed = await asyncio.gather(
            *(
                encryption.encrypt_block_async(b"%d" % at, model_id=MODEL, license_key=LICENSE, block_id=str(at))
                for at in range(5)
            )
        )
        made = await encryption.encrypt_file_async(model, model_id=MODEL, license_key=LICENSE)
        assert made.destination is not None
        await encryption.decrypt_file_async(made.destination, shop.folder / "out", license_key=LICENSE)
        return await asyncio.gather(
            *(
                encryption.decrypt_block_async(block, model_id=MODEL, license_key=LICENSE, block_id=str(at))
                for at, block in enumerate(sealed)
            )
        )

    assert asyncio.run(work()) == [b"0", b"1", b"2", b"3", b"4"]
    assert (shop.folder / "out").read_bytes() == pattern(2 << 20)
    assert threading.get_ident() not in threads


def test_a_block_is_recorded_before_it_is_returned(shop: Workshop, encryption: ModelEncryption) -> None:
    block = encryption.encrypt_block(b"12345", model_id=MODEL, license_key=LICENSE, block_id="layer 3")
    encryption.decrypt_block(block, model_id=MODEL, license_key=LICENSE, block_id="layer 3")
    record = list(shop.manager.audit_records())[-1]
    assert (record.event, record.key_id) == ("decrypt-block", shop.key.key_id)
    assert record.detail == {"block_id": "layer 3", "length": 5}


def test_a_key_that_sealed_blocks_is_not_destroyed_unasked(shop: Workshop, encryption: ModelEncryption) -> None:
    """Nobody can look for blocks in memory: the registry holds one row for all of a key's."""
    for _ in range(3):
        encryption.encrypt_block(b"x", model_id=MODEL, license_key=LICENSE)
    (row,) = shop.manager.containers()
    assert (row.piped, row.keys, HeaderReader().wraps_in(row)) == (True, frozenset({shop.key.key_id}), None)
    key_id = shop.key.key_id
    shop.manager.revoke([key_id], reason="test")
    for _ in range(2):
        shop.desk.clock.forward(days=1)
        with pytest.raises(RefusedError):
            shop.manager.cleanup([key_id], after=0, wraps_in=HeaderReader().wraps_in)
    for _ in range(2):
        shop.desk.clock.forward(days=1)
        shop.manager.cleanup([key_id], after=0, wraps_in=HeaderReader().wraps_in, confirm=[key_id])
    assert shop.manager.find(key_id).status.value == "destroyed"
    with pytest.raises((RefusedError, RevokedError)):
        encryption.encrypt_block(b"x", model_id=key_id, license_key=LICENSE)


def test_it_is_what_the_package_exports(tmp_path: Path) -> None:
    manager = KeyManager(tmp_path / "keys")
    assert ModelEncryption(manager).key_manager is manager
