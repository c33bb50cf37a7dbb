"""Models opened for programs: seekable, verified as read, recorded once, closed to a key that is revoked meanwhile."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

from tests.keystores import LICENSE, OTHER_LICENSE
from tests.models.file.test_decrypt import DAMAGE, LENGTH, edit
from tests.models.workshop import MODEL, Workshop, folder_request, pattern, safetensors, signed_again
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import (
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    UsageError,
    WrongLicenseError,
)
from tiktrue_keys.models.container.model_file import ModelFile
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.open import open_model, revocation_check
from tiktrue_keys.models.folder.encrypt import encrypt_folder
from tiktrue_keys.models.format.header_slots import HEADER_SIZE
from tiktrue_keys.models.tensors import load_tensors


def opened(shop: Workshop, path: Path, **options: Any) -> ModelFile:
    return open_model(path, shop.manager, LICENSE, **options)


def test_a_model_is_a_file(shop: Workshop) -> None:
    with opened(shop, shop.sealed(LENGTH)) as model:
        assert model.read() == pattern(LENGTH)
        model.seek(-10, os.SEEK_END)
        assert model.read(100) == pattern(LENGTH)[-10:]
        model.seek(1 << 20)
        assert io.BufferedReader(model).read(5) == pattern(LENGTH)[1 << 20 : (1 << 20) + 5]
    assert shop.names() == {"weights.bin.ttm"}


def test_it_is_recorded_once_and_before(shop: Workshop) -> None:
    sealed = shop.sealed(LENGTH)
    size = shop.manager.audit_size()
    with opened(shop, sealed) as model:
        assert shop.manager.audit_size() == size + 1
        assert shop.last_events(1) == [("open-model", "ok")]
        model.read()
        assert shop.manager.audit_size() == size + 1
    record = list(shop.manager.audit_records())[-1]
    assert (record.key_id, record.detail["path"]) == (shop.key.key_id, str(sealed))


def test_an_unknown_or_moved_container_is_registered(shop: Workshop) -> None:
    sealed = shop.sealed()
    shop.manager.forget(shop.manager.containers()[0].file_id)
    opened(shop, sealed).close()
    assert shop.paths() == ["weights.bin.ttm"]
    opened(shop, sealed.rename(shop.folder / "moved.ttm")).close()
    assert shop.paths() == ["moved.ttm"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_no_byte_of_a_damaged_segment(shop: Workshop, damage: str) -> None:
    sealed = shop.sealed(LENGTH)
    DAMAGE[damage](sealed)
    with pytest.raises(IntegrityError):
        opened(shop, sealed, allow_unsigned=True).read()


def test_whole_segments_beside_a_damaged_one_can_be_read(shop: Workshop) -> None:
    sealed = shop.sealed(LENGTH)
    edit(sealed, HEADER_SIZE + (1 << 20) + 5000, b"\0\0\0\0")
    with opened(shop, sealed) as model:
        assert model.read(1000) == pattern(1000)
        model.seek(1 << 20)
        with pytest.raises(IntegrityError, match="segment 1"):
            model.read(1)


def test_the_wrong_key_or_license(shop: Workshop) -> None:
    sealed = shop.sealed()
    with pytest.raises(WrongLicenseError):
        open_model(sealed, shop.manager, OTHER_LICENSE)
    with pytest.raises(RefusedError):
        opened(shop, shop.unsigned())
    opened(shop, shop.folder / "ci.ttm", allow_unsigned=True).close()
    shop.manager.revoke(model=MODEL, reason="x")
    with pytest.raises(RevokedError):
        opened(shop, sealed)


@pytest.mark.parametrize("by_another_process", [False, True])
def test_a_revocation_closes_what_is_open(shop: Workshop, by_another_process: bool) -> None:
    with opened(shop, shop.sealed(40 << 20)) as model:
        assert model.read(1000) == pattern(1000)
        key_id = shop.key.key_id
        revoker = shop.desk.manager() if by_another_process else shop.manager
        revoker.revoke([key_id], reason="leaked")
        model.seek(30 << 20)
        with pytest.raises(RevokedError, match="while the model was open"):
            model.read(1)


class WatchedManager:
    """A manager, as far as the check asks it, that tells how often it looked for a key."""

    def __init__(self, manager: KeyManager) -> None:
        self.path = manager.path
        self.looks: list[str] = []
        self._manager = manager

    def find(self, key_id: str) -> ManagedKey:
        self.looks.append(key_id)
        return self._manager.find(key_id)


def test_the_check_looks_again_only_when_the_keystore_changed(shop: Workshop) -> None:
    watched: Any = WatchedManager(shop.manager)
    looks, years_later = watched.looks, 2**62
    check = revocation_check(watched, shop.key)
    check()
    check()
    assert len(looks) == 2, "a file that changed just now may change again without its time showing it"
    os.utime(shop.desk.file, (1, 1))
    check = revocation_check(watched, shop.key, now=lambda: years_later)
    looks.clear()
    for _ in range(5):
        check()
    assert len(looks) == 1
    os.utime(shop.desk.file, (2, 2))
    check()
    assert len(looks) == 2


def test_a_keystore_that_is_gone_closes_what_is_open(shop: Workshop) -> None:
    check = revocation_check(shop.desk.manager(), shop.key)
    check()
    shop.desk.folder.rename(shop.desk.folder.with_name("away"))
    with pytest.raises((NotFoundError, IntegrityError)):
        check()
    shop.desk.folder.with_name("away").rename(shop.desk.folder)


# Tensors.


def arrays() -> dict[str, numpy.ndarray[Any, Any]]:
    made: dict[str, numpy.ndarray[Any, Any]] = {
        "f32": numpy.arange(700_000, dtype=numpy.float32).reshape(700, 1000),
        "f16": numpy.ones((3, 4), dtype=numpy.float16),
        "i64": numpy.array(-7),
        "bool": numpy.array([True, False]),
        "empty": numpy.zeros((0, 5), dtype=numpy.float64),
        "u8": numpy.arange(256, dtype=numpy.uint8),
    }
    return made


def sealed_tensors(shop: Workshop, name: str = "model.safetensors") -> Path:
    save_file(arrays(), shop.folder / name, metadata={"format": "np"})
    made = encrypt_model(shop.manager, shop.folder / name, key=MODEL, license_key=LICENSE).destination
    assert isinstance(made, Path)
    (shop.folder / name).unlink()
    return made


def test_tensors_equal_those_that_were_saved(shop: Workshop) -> None:
    dtypes = {}
    for name, dtype, shape, buffer in load_tensors(sealed_tensors(shop), shop.manager, LICENSE):
        array = arrays()[name]
        assert shape == array.shape
        assert buffer.dtype == array.dtype
        assert numpy.array_equal(buffer, array)
        dtypes[name] = dtype
    assert dtypes == {"f32": "F32", "f16": "F16", "i64": "I64", "bool": "BOOL", "empty": "F64", "u8": "U8"}
    assert shop.names() == {"model.safetensors.ttm"}


def test_dtypes_that_numpy_lacks(shop: Workshop) -> None:
    tensors = {
        "bf16": ("BF16", [3, 5], pattern(30)),
        "f8": ("F8_E5M2", [2, 3], pattern(6)),
        "f4": ("F4", [2, 4], pattern(4)),
        "c64": ("C64", [1], pattern(8)),
    }
    (shop.folder / "m.safetensors").write_bytes(safetensors(tensors))
    encrypt_model(shop.manager, shop.folder / "m.safetensors", key=MODEL, license_key=LICENSE)
    seen = {tensor.name: tensor for tensor in load_tensors(shop.folder / "m.safetensors.ttm", shop.manager, LICENSE)}
    for name, (dtype, _, data) in tensors.items():
        assert seen[name].dtype == dtype
        assert seen[name].buffer.tobytes() == data
    assert (seen["bf16"].buffer.dtype, seen["bf16"].buffer.shape) == (numpy.dtype("<u2"), (3, 5))
    assert (seen["f8"].buffer.dtype, seen["f8"].buffer.shape) == (numpy.dtype("u1"), (2, 3))
    assert (seen["f4"].buffer.shape, seen["f4"].shape) == ((4,), (2, 4))


def test_only_those_that_are_named(shop: Workshop) -> None:
    path = sealed_tensors(shop)
    assert [tensor.name for tensor in load_tensors(path, shop.manager, LICENSE, names={"f16"})] == ["f16"]
    with pytest.raises(NotFoundError, match="no tensor 'absent'"):
        load_tensors(path, shop.manager, LICENSE, names=["f16", "absent"])


def test_into_buffers_of_the_caller(shop: Workshop) -> None:
    path = sealed_tensors(shop)
    mine = bytearray(2_800_000)
    (tensor,) = load_tensors(path, shop.manager, LICENSE, names=["f32"], out={"f32": mine})
    assert tensor.buffer is mine
    assert bytes(mine) == arrays()["f32"].tobytes()
    with pytest.raises(UsageError, match="has 3 bytes"):
        list(load_tensors(path, shop.manager, LICENSE, names=["f32"], out={"f32": bytearray(3)}))


def sharded(shop: Workshop, change: Callable[[Path, dict[str, str]], None] | None = None, **options: Any) -> Path:
    """An encrypted folder of two shards with an index; `change` gets the source folder and the index's map."""
    folder = shop.folder / "llama"
    folder.mkdir()
    first, second = {"a": numpy.arange(10)}, {"b": numpy.ones((2, 2), dtype=numpy.float32)}
    save_file(first, folder / "model-1.safetensors")
    save_file(second, folder / "model-2.safetensors")
    weights = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    if change is not None:
        change(folder, weights)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    return encrypt_folder(shop.manager, folder_request(folder, **options)).destination


@pytest.mark.parametrize("plain", [(), ("*.json",)])
def test_a_sharded_folder(shop: Workshop, plain: tuple[str, ...]) -> None:
    folder = sharded(shop, plain=plain)
    seen = {tensor.name: tensor.buffer for tensor in load_tensors(folder, shop.manager, LICENSE)}
    assert numpy.array_equal(seen["a"], numpy.arange(10))
    assert numpy.array_equal(seen["b"], numpy.ones((2, 2)))
    (only,) = load_tensors(folder, shop.manager, LICENSE, names=["b"])
    assert only.name == "b"


def test_a_folder_without_an_index(shop: Workshop) -> None:
    folder = sharded(shop, exclude=["*.json"])
    assert {tensor.name for tensor in load_tensors(folder, shop.manager, LICENSE)} == {"a", "b"}


def test_shards_that_are_not_as_the_manifest_says(shop: Workshop) -> None:
    folder = sharded(shop)
    there = folder / "tiktrue-manifest.json"
    there.write_bytes(signed_again(shop, there.read_bytes(), lambda said: said["files"][0].update(length=1)))
    with pytest.raises(IntegrityError, match="another container than the manifest lists"):
        load_tensors(folder, shop.manager, LICENSE)


def absent_shard(_: Path, weights: dict[str, str]) -> None:
    weights["c"] = "model-3.safetensors"


def exchanged_shards(_: Path, weights: dict[str, str]) -> None:
    weights["a"], weights["b"] = weights["b"], weights["a"]


def unlisted_tensor(_: Path, weights: dict[str, str]) -> None:
    del weights["b"]
    weights["x"] = "model-2.safetensors"


@pytest.mark.parametrize("change", [absent_shard, exchanged_shards, unlisted_tensor])
def test_shards_that_are_not_as_the_index_says(shop: Workshop, change: Callable[[Path, dict[str, str]], None]) -> None:
    folder = sharded(shop, change)
    with pytest.raises(IntegrityError, match="index"):
        load_tensors(folder, shop.manager, LICENSE)


def test_a_tensor_in_two_shards(shop: Workshop) -> None:
    def twice(folder: Path, _: dict[str, str]) -> None:
        save_file({"a": numpy.arange(3)}, folder / "model-2.safetensors")

    folder = sharded(shop, twice, exclude=["*.json"])
    with pytest.raises(IntegrityError, match="in two shards"):
        load_tensors(folder, shop.manager, LICENSE)


def test_a_shard_that_was_exchanged_after_the_manifest(shop: Workshop) -> None:
    folder = sharded(shop)
    os.replace(folder / "model-2.safetensors.ttm", folder / "model-1.safetensors.ttm")
    with pytest.raises((IntegrityError, NotFoundError)):
        load_tensors(folder, shop.manager, LICENSE)


def test_a_folder_without_tensors(shop: Workshop) -> None:
    (shop.folder / "llama").mkdir()
    shop.plain(10, "llama/a.bin")
    folder = encrypt_folder(shop.manager, folder_request(shop.folder / "llama")).destination
    with pytest.raises(NotFoundError, match="no encrypted safetensors"):
        load_tensors(folder, shop.manager, LICENSE)


def test_what_is_no_safetensors(shop: Workshop) -> None:
    with pytest.raises(IntegrityError, match="not a safetensors file"):
        load_tensors(shop.sealed(), shop.manager, LICENSE)
