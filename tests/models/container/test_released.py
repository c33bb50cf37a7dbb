"""A container that its model's release does not name is refused at every way in, however good its signature is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.keystores import LICENSE
from tests.models.workshop import MODEL, Workshop, drained, fed_pipe, folder_request, safetensors
from tiktrue_keys import ModelEncryption
from tiktrue_keys.core.dispatch.releases import ReleaseEntry, Standing
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.operations.release import ReleaseRequest
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.open import open_model
from tiktrue_keys.models.file.rewrap import rewrap_model
from tiktrue_keys.models.file.verify import verify_model
from tiktrue_keys.models.folder.decrypt import decrypt_folder
from tiktrue_keys.models.folder.encrypt import encrypt_folder
from tiktrue_keys.models.folder.upload import encrypt_folder_to
from tiktrue_keys.models.folder.verify import verify_folder
from tiktrue_keys.models.format.manifest import MANIFEST_NAME
from tiktrue_keys.models.model_release import release_models
from tiktrue_keys.models.registry.containers import list_containers
from tiktrue_keys.models.serving.execute import held_models
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.tensors import load_tensors

WEIGHTS = safetensors({"w": ("F32", [2], bytes(8))})


class Shelf:
    """A storage folder with this week's container, last week's beside it, and a folder of each."""

    def __init__(self, shop: Workshop) -> None:
        self.shop, self.manager = shop, shop.manager
        self.this, self.last = self._sealed("this.safetensors", 1), self._sealed("last.safetensors", 2)
        self.folder, self.old_folder = self._folder("new", 3), self._folder("old", 4)

    def release(self, *paths: Path | str, **options: Any) -> None:
        release_models(self.manager, paths, **options)

    def _sealed(self, name: str, extra: int) -> Path:
        plain = self.shop.folder / name
        plain.write_bytes(safetensors({"w": ("F32", [2], bytes([extra]) * 8)}))
        made = encrypt_model(self.manager, plain, key=MODEL, license_key=LICENSE).destination
        plain.unlink()
        assert isinstance(made, Path)
        return made

    def _folder(self, name: str, extra: int) -> Path:
        source = self.shop.folder / name
        source.mkdir()
        (source / "a.safetensors").write_bytes(safetensors({"w": ("F32", [2], bytes([extra]) * 8)}))
        made = encrypt_folder(self.manager, folder_request(source)).destination
        shutil.rmtree(source)
        return Path(str(made))


@pytest.fixture
def shelf(shop: Workshop) -> Shelf:
    return Shelf(shop)


def run_held(shelf: Shelf, path: Path, **options: Any) -> None:
    with held_models(shelf.manager, [path], program="cat", license_key=LICENSE, **options) as (held,):
        assert held.length


def decrypt_to_pipe(shelf: Shelf, path: Path, **options: Any) -> None:
    def write(sink: Any) -> None:
        with fed_pipe(path.read_bytes()) as source:
            decrypt_model(shelf.manager, source, sink, license_key=LICENSE, **options)

    error: list[RefusedError] = []

    def caught(sink: Any) -> None:
        try:
            write(sink)
        except RefusedError as refused:
            error.append(refused)

    _, data = drained(caught)
    if error:
        assert data == b"", "plaintext was released before the refusal"
        raise error[0]


def open_it(shelf: Shelf, path: Path, **options: Any) -> None:
    with closing(open_model(path, shelf.manager, LICENSE, **options)) as model:
        model.read()


WAYS_IN: dict[str, Callable[..., Any]] = {
    "verify": lambda shelf, path, **more: verify_model(shelf.manager, path, license_key=LICENSE, **more),
    "decrypt": lambda shelf, path, **more: decrypt_model(
        shelf.manager, path, shelf.shop.folder / "out", license_key=LICENSE, force=True, **more
    ),
    "pipe": decrypt_to_pipe,
    "open": open_it,
    "tensors": lambda shelf, path, **more: list(load_tensors(path, shelf.manager, LICENSE, **more)),
    "exec": run_held,
    "encryption": lambda shelf, path, **more: ModelEncryption(shelf.manager).decrypt_file(
        path, shelf.shop.folder / "out", license_key=LICENSE, force=True, **more
    ),
}
FOLDER_WAYS_IN: dict[str, Callable[..., Any]] = {
    "verify": lambda shelf, path, **more: verify_folder(shelf.manager, path, license_key=LICENSE, **more),
    "decrypt": lambda shelf, path, **more: decrypt_folder(
        shelf.manager, path, shelf.shop.folder / "out", license_key=LICENSE, **more
    ),
    "tensors": lambda shelf, path, **more: list(load_tensors(path, shelf.manager, LICENSE, **more)),
}


def test_rollback_to_an_older_signed_container_is_refused_at_every_way_in(shelf: Shelf) -> None:
    """An attacker who can write the storage puts last week's container, whole and signed, in this week's place."""
    for way in WAYS_IN.values():
        way(shelf, shelf.last)
    shelf.release(shelf.this)
    for way in WAYS_IN.values():
        way(shelf, shelf.this)
    shutil.copy(shelf.last, shelf.this)
    (shelf.shop.folder / "out").unlink()
    for name, way in WAYS_IN.items():
        with pytest.raises(RefusedError, match="release 1 of model llama/7b does not name container") as refused:
            way(shelf, shelf.this)
        assert refused.value.remedy == "superseded-here", name
    assert not (shelf.shop.folder / "out").exists()
    for way in WAYS_IN.values():
        way(shelf, shelf.this, allow_superseded=True)


def test_a_superseded_container_that_is_let_in_is_recorded_and_warned_of(shelf: Shelf) -> None:
    shelf.release(shelf.this)
    found = verify_model(shelf.manager, shelf.last, license_key=LICENSE, allow_superseded=True)
    assert [notice.code for notice in found.warnings] == ["superseded"]
    for name in ("decrypt", "pipe", "open", "exec"):
        WAYS_IN[name](shelf, shelf.last, allow_superseded=True)
        record = list(shelf.manager.audit_records())[-1]
        assert record.detail["allow_superseded"] is True, name
    with pytest.raises(RefusedError):
        WAYS_IN["open"](shelf, shelf.last)
    record = list(shelf.manager.audit_records())[-1]
    assert (record.event, record.outcome) == ("open-model", "refused")


def test_the_root_counts_too_and_a_pipe_is_judged_at_its_end(shelf: Shelf) -> None:
    """The id alone would do for an honest signer; the root is compared where it is known."""
    found = verify_model(shelf.manager, shelf.this, license_key=LICENSE)
    entry = ReleaseEntry(found.file_id, bytes(32))
    shelf.manager.release(ReleaseRequest({MODEL: [entry]}), OperationRequest.of("release", None, {}))
    out = shelf.shop.folder / "out"
    with pytest.raises(RefusedError, match="does not name container"), fed_pipe(shelf.this.read_bytes()) as source:
        decrypt_model(shelf.manager, source, out, license_key=LICENSE)
    assert not out.exists()
    with pytest.raises(RefusedError, match="does not name container"):
        verify_model(shelf.manager, shelf.this, license_key=LICENSE)


def test_an_older_folder_is_refused_with_every_file_in_it(shelf: Shelf) -> None:
    shelf.release(shelf.folder)
    for name, way in FOLDER_WAYS_IN.items():
        way(shelf, shelf.folder)
        with pytest.raises(RefusedError, match="does not name folder") as refused:
            way(shelf, shelf.old_folder)
        assert refused.value.about["path"] == str(shelf.old_folder), name
        shutil.rmtree(shelf.shop.folder / "out", ignore_errors=True)
        way(shelf, shelf.old_folder, allow_superseded=True)
        shutil.rmtree(shelf.shop.folder / "out", ignore_errors=True)
    old = shelf.old_folder / "a.safetensors.ttm"
    for way in WAYS_IN.values():
        with pytest.raises(RefusedError, match="does not name container"):
            way(shelf, old)


def test_a_file_of_a_released_folder_opens_by_itself_where_its_manifest_is(shelf: Shelf) -> None:
    shelf.release(shelf.folder)
    inside, old = shelf.folder / "a.safetensors.ttm", shelf.old_folder / "a.safetensors.ttm"
    found = verify_model(shelf.manager, inside, license_key=LICENSE)
    assert "release 1 of model llama/7b names it" in found.checks
    alone = shelf.shop.folder / "alone.ttm"
    shutil.copy(inside, alone)
    with pytest.raises(RefusedError, match="does not name container"):
        verify_model(shelf.manager, alone, license_key=LICENSE)
    # Neither an old file under the new manifest nor an old manifest over its own file is covered.
    shutil.copy(old, inside)
    with pytest.raises(RefusedError, match="does not name container"):
        verify_model(shelf.manager, inside, license_key=LICENSE)
    shutil.copy(shelf.old_folder / MANIFEST_NAME, shelf.folder / MANIFEST_NAME)
    with pytest.raises(RefusedError, match="does not name container"):
        verify_model(shelf.manager, inside, license_key=LICENSE)
    (shelf.folder / MANIFEST_NAME).write_text("{")
    with pytest.raises(RefusedError, match="does not name container"):
        verify_model(shelf.manager, inside, license_key=LICENSE)


def test_going_back_is_a_higher_release_and_a_withdrawn_one_never_comes_back(shelf: Shelf) -> None:
    shelf.release(shelf.this)
    shelf.release(shelf.last, only=True)
    verify_model(shelf.manager, shelf.last, license_key=LICENSE)
    with pytest.raises(RefusedError, match="release 2"):
        verify_model(shelf.manager, shelf.this, license_key=LICENSE)
    withdrawn = verify_model(shelf.manager, shelf.this, license_key=LICENSE, allow_superseded=True).file_id.hex()
    shelf.release(withdraw=[withdrawn])
    with pytest.raises(RefusedError, match="was withdrawn from model llama/7b") as refused:
        verify_model(shelf.manager, shelf.this, license_key=LICENSE)
    assert refused.value.remedy == "withdrawn"
    with pytest.raises(RefusedError, match="cannot be released again"):
        shelf.release(shelf.this)


def test_a_file_withdrawn_from_a_released_folder_takes_the_folder_with_it(shelf: Shelf) -> None:
    shelf.release(shelf.folder)
    inside = verify_model(shelf.manager, shelf.folder / "a.safetensors.ttm", license_key=LICENSE).file_id
    shelf.release(withdraw=[inside.hex()])
    for check in (
        lambda: verify_folder(shelf.manager, shelf.folder, license_key=LICENSE),
        lambda: verify_model(shelf.manager, shelf.folder / "a.safetensors.ttm", license_key=LICENSE),
    ):
        with pytest.raises(RefusedError, match=f"container {inside.hex()} was withdrawn"):
            check()


def test_a_rewrap_releases_no_plaintext_and_passes(shelf: Shelf) -> None:
    shelf.release(shelf.this)
    shelf.manager.rotate([MODEL], license_key=LICENSE)
    assert rewrap_model(shelf.manager, shelf.last, license_key=LICENSE).changed
    with pytest.raises(RefusedError, match="does not name"):
        verify_model(shelf.manager, shelf.last, license_key=LICENSE)
    verify_model(shelf.manager, shelf.this, license_key=LICENSE)


def test_the_registry_says_what_is_released(shelf: Shelf) -> None:
    assert {each.release for each in list_containers(shelf.manager)} == {None}
    shelf.release(shelf.this, shelf.folder)
    shelf.release(withdraw=[verify_model(shelf.manager, shelf.last, license_key=LICENSE, **ALLOW).file_id.hex()])
    standing = {
        Path(each.record.path).relative_to(shelf.shop.folder).as_posix(): each.release
        for each in list_containers(shelf.manager)
    }
    assert standing == {
        "this.safetensors.ttm": Standing.NAMED,
        "last.safetensors.ttm": Standing.WITHDRAWN,
        "new.ttm/a.safetensors.ttm": Standing.NAMED,
        "old.ttm/a.safetensors.ttm": Standing.SUPERSEDED,
    }


ALLOW: dict[str, Any] = {"allow_superseded": True}


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://shelf"
    fsspec.filesystem("memory").rm("/shelf", recursive=True)


def test_a_folder_in_object_storage_covers_its_objects(shop: Workshop, memory: str) -> None:
    source = shop.folder / "m"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a.safetensors").write_bytes(WEIGHTS)
    encrypt_folder_to(shop.manager, folder_request(source, destination=Url("memory", "shelf/m/")))
    other = shop.sealed()
    release_models(shop.manager, [other])
    inside = Url("memory", "shelf/m/deep/a.safetensors.ttm")
    with pytest.raises(RefusedError, match="does not name container"):
        verify_model(shop.manager, inside, license_key=LICENSE)
    with pytest.raises(RefusedError, match="does not name folder"):
        list(load_tensors(f"{memory}/m/", shop.manager, LICENSE))
    release_models(shop.manager, [f"{memory}/m/"], only=True)
    verify_model(shop.manager, inside, license_key=LICENSE)
    assert [each.name for each in load_tensors(f"{memory}/m/", shop.manager, LICENSE)] == ["w"]
    assert {each.release for each in list_containers(shop.manager)} == {Standing.NAMED, Standing.SUPERSEDED}
