"""Models and containers in object storage: what arrives is what was sent, byte for byte."""

from __future__ import annotations

from typing import Any

import numpy
from safetensors.numpy import save_file

from tests.keystores import LICENSE
from tests.models.workshop import MODEL, Workshop, pattern
from tests.remote.conftest import Bucket
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.inspect import inspect_model
from tiktrue_keys.models.file.open import open_model
from tiktrue_keys.models.file.verify import verify_model
from tiktrue_keys.models.tensors import load_tensors

LENGTH = 5 * (1 << 20) + 12345


def sealed(shop: Workshop, bucket: Bucket, length: int = LENGTH, name: str = "weights.bin.ttm") -> str:
    made = encrypt_model(shop.manager, shop.plain(length), bucket.url(name), key=MODEL, license_key=LICENSE)
    return str(made.destination)


def test_a_model_goes_there_and_comes_back(shop: Workshop, bucket: Bucket) -> None:
    tensors: dict[str, numpy.ndarray[Any, Any]] = {
        "a": numpy.arange(700_000, dtype=numpy.float32),
        "b": numpy.ones((3, 5), dtype=numpy.int8),
    }
    model = shop.folder / "model.safetensors"
    save_file(tensors, model)
    url = bucket.put("model.safetensors", model.read_bytes())
    made = encrypt_model(shop.manager, url, key=MODEL, license_key=LICENSE)
    assert str(made.destination) == f"{url}.ttm"
    assert bucket.names() == ["model.safetensors", "model.safetensors.ttm"]
    back = decrypt_model(shop.manager, f"{url}.ttm", shop.folder / "back", license_key=LICENSE)
    assert (shop.folder / "back").read_bytes() == model.read_bytes()
    assert str(back.source) == f"{url}.ttm"
    decrypt_model(shop.manager, f"{url}.ttm", bucket.url("back"), license_key=LICENSE)
    assert bucket.get("back") == model.read_bytes()
    loaded = {tensor.name: tensor.buffer for tensor in load_tensors(f"{url}.ttm", shop.manager, LICENSE)}
    assert all((loaded[name] == tensors[name]).all() for name in tensors)
    assert bucket.uploads() == []


def test_a_file_of_it_is_the_container_that_a_local_one_would_be(shop: Workshop, bucket: Bucket) -> None:
    url = sealed(shop, bucket)
    copy = shop.folder / "copy.ttm"
    copy.write_bytes(bucket.get("weights.bin.ttm"))
    here, there = inspect_model(copy).to_json(), inspect_model(url).to_json()
    assert here | {"path": url} == there
    assert there["piped"] is False
    assert verify_model(shop.manager, url, license_key=LICENSE).signed


def test_open_model_reads_anywhere(shop: Workshop, bucket: Bucket) -> None:
    expected = pattern(LENGTH)
    url, before = sealed(shop, bucket), bucket.relay.requests
    with open_model(url, shop.manager, LICENSE) as model:
        assert bucket.relay.requests - before == 4  # what it is, its beginning, its end, its detached header
        for offset in (0, LENGTH - 7, 1 << 20, (3 << 20) - 30, 5):
            model.seek(offset)
            assert model.read(100) == expected[offset : offset + 100]
        model.seek(0)
        assert model.readall() == expected
