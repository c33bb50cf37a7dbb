"""Encrypted folders in object storage: file by file there, manifest last; and back, or read where they lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

from tests.keystores import LICENSE
from tests.models.workshop import MODEL, Workshop, folder_request, pattern, signed_again
from tests.program import Program
from tests.remote.conftest import Bucket, storage_environment
from tests.remote.test_settling import left_open
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, UnavailableError, UsageError
from tiktrue_keys.models.file.rewrap import rewrap_registered
from tiktrue_keys.models.folder.decrypt import decrypt_folder
from tiktrue_keys.models.folder.encrypt import EncryptedFolder
from tiktrue_keys.models.folder.upload import encrypt_folder_to
from tiktrue_keys.models.settle.interrupted import settle_intents
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.tensors import load_tensors

TENSORS: dict[str, numpy.ndarray[Any, Any]] = {
    "a": numpy.arange(1000, dtype=numpy.float32),
    "b": numpy.ones((7, 3), dtype=numpy.int16),
}
THERE = [
    "m/config.json",
    "m/deep/notes.txt.ttm",
    "m/model-1.safetensors.ttm",
    "m/model-2.safetensors.ttm",
    "m/model.safetensors.index.json.ttm",
    "m/tiktrue-manifest.json",
]


@pytest.fixture
def folder(shop: Workshop) -> Path:
    root = shop.folder / "m"
    (root / "deep").mkdir(parents=True)
    for number, (name, tensor) in enumerate(TENSORS.items(), 1):
        save_file({name: tensor}, root / f"model-{number}.safetensors")
    weights = {name: f"model-{number}.safetensors" for number, name in enumerate(TENSORS, 1)}
    (root / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    (root / "config.json").write_text("{}")
    (root / "deep/notes.txt").write_bytes(pattern(2 << 20))
    return root


def uploaded(shop: Workshop, bucket: Bucket, folder: Path, **options: Any) -> EncryptedFolder[Url]:
    prefix = Url("s3", f"{bucket.name}/m/")
    return encrypt_folder_to(shop.manager, folder_request(folder, destination=prefix, plain=["config.json"], **options))


@pytest.mark.parametrize("option", [{"force": True}, {"jobs": 1}, {"resume": "state"}, {"destination": Path("m.ttm")}])
def test_what_only_a_folder_on_a_disk_takes(
    shop: Workshop, bucket: Bucket, folder: Path, option: dict[str, Any]
) -> None:
    request = folder_request(folder, **{"destination": Url("s3", f"{bucket.name}/m/"), **option})
    with pytest.raises(UsageError):
        encrypt_folder_to(shop.manager, request)
    assert (bucket.names(), shop.last_events(1)) == ([], [("generate", "ok")])


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_there_and_back(shop: Workshop, bucket: Bucket, folder: Path) -> None:
    made = uploaded(shop, bucket, folder)
    assert bucket.names() == THERE
    assert len(shop.manager.containers()) == 4
    shop.manager.rotate([MODEL], license_key=LICENSE)
    assert len(rewrap_registered(shop.manager, license_key=LICENSE).done) == 4
    back = decrypt_folder(shop.manager, made.destination, shop.folder / "back", license_key=LICENSE)
    assert content(shop.folder / "back") == content(folder)
    assert (str(back.source), back.plain) == (bucket.url("m/"), ("config.json",))
    loaded = {tensor.name: tensor.buffer for tensor in load_tensors(bucket.url("m/"), shop.manager, LICENSE)}
    assert set(loaded) == set(TENSORS)
    assert all((loaded[name] == TENSORS[name]).all() for name in TENSORS)
    with pytest.raises(RefusedError, match="there are objects below"):
        uploaded(shop, bucket, folder)


def test_what_is_not_as_the_manifest_says(shop: Workshop, bucket: Bucket, folder: Path) -> None:
    source = uploaded(shop, bucket, folder).destination
    there = {name: bucket.get(name) for name in bucket.names()}
    one, two = "m/model-1.safetensors.ttm", "m/model-2.safetensors.ttm"
    manifest = there["m/tiktrue-manifest.json"]
    forged = manifest[:-3] + (b"0" if manifest[-3:-2] != b"0" else b"1") + manifest[-2:]
    longer = signed_again(shop, manifest, lambda said: said["files"][1].update(length=2**52))
    changes: dict[str, dict[str, bytes | None]] = {
        "another container than the manifest": {"m/tiktrue-manifest.json": longer},
        "missing": {one: None},
        "not in the manifest": {"m/more.txt": b""},
        "another container": {one: there[two], two: there[one]},
        "another file": {"m/config.json": b"[]"},
        "signature of the folder's manifest": {"m/tiktrue-manifest.json": forged},
        "has no tiktrue-manifest": {"m/tiktrue-manifest.json": None},
    }
    for words, change in changes.items():
        for name, data in change.items():
            bucket.remove(name) if data is None else bucket.put(name, data)
        with pytest.raises((IntegrityError, NotFoundError), match=words):
            decrypt_folder(shop.manager, source, shop.folder / "back", license_key=LICENSE)
        for name in change:
            bucket.put(name, there[name]) if name in there else bucket.remove(name)
    assert sorted(path.name for path in shop.folder.iterdir()) == ["m"]


def test_a_failure_takes_back_what_had_arrived(shop: Workshop, bucket: Bucket, folder: Path) -> None:
    def change(done: int, _: int | None) -> None:
        (folder / "model-2.safetensors").write_bytes(b"")

    (folder / "model-2.safetensors").write_bytes(pattern(3 << 20))
    with pytest.raises(UnavailableError):
        uploaded(shop, bucket, folder, progress=lambda done, total: change(done, total) if done > (3 << 20) else None)
    assert (bucket.names(), bucket.uploads(), shop.manager.containers()) == ([], [], ())
    assert folder_records(shop) == [("intent", "ok"), ("encrypt-folder", "failed")]
    assert shop.manager.open_intents() == ()


def folder_records(shop: Workshop) -> list[tuple[str, str]]:
    """What the log says of the folder itself."""
    told = [each for each in shop.manager.audit_records() if each.detail.get("path", "").endswith("/m/")]
    return [(each.event, each.outcome) for each in told]


def test_an_operation_that_was_done_gives_the_folder_again(shop: Workshop, bucket: Bucket, folder: Path) -> None:
    made = uploaded(shop, bucket, folder, operation_id="nightly")
    assert folder_records(shop) == [("intent", "ok"), ("encrypt-folder", "ok")]
    again = uploaded(shop, bucket, folder, operation_id="nightly")
    assert (again.changed, again.folder_id, again.destination) == (False, made.folder_id, made.destination)
    assert {each.file_id for each in again.files} == {each.file_id for each in made.files}


@pytest.mark.parametrize("whole", [True, False])
def test_a_folder_counts_as_done_with_its_manifest(shop: Workshop, bucket: Bucket, folder: Path, whole: bool) -> None:
    """Of a process that died between the manifest and the record, or before the manifest."""
    made = uploaded(shop, bucket, folder)
    if not whole:
        bucket.remove("m/tiktrue-manifest.json")
    left_open(shop, FileIntent("encrypt-folder", made.folder_id, str(made.destination), frozenset(), frozenset()))
    (settled,) = settle_intents(shop.desk.manager()).operations
    assert settled.outcome == ("ok" if whole else "failed")
    assert len(shop.manager.containers()) == 4


def test_by_the_commands(tmp_path: Path, bucket: Bucket) -> None:
    (home := tmp_path / "home").mkdir()
    program = Program(home, storage_environment(bucket.relay.url))
    program.generate("llama")
    (home / "m").mkdir()
    (home / "m/weights.bin").write_bytes(pattern(1000))
    made = program.json("encrypt-model", "m", "--key", "llama", "-o", bucket.url("m"))["result"]
    assert made["destination"] == bucket.url("m/")
    assert bucket.names() == ["m/tiktrue-manifest.json", "m/weights.bin.ttm"]
    program.ok("decrypt-model", bucket.url("m/"), "-o", "back")
    assert content(home / "back") == content(home / "m")
    assert program.json("decrypt-model", bucket.url("m/"), code=2)["error"]["code"] == "usage"
    program.ok("encrypt-model", "m", "--key", "llama", "-o", f"file://{home}/local.ttm")
    program.ok("decrypt-model", "local.ttm", "-o", "again")
    assert content(home / "again") == content(home / "m")
