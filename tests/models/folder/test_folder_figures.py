"""What operations on folders of many files cost, in transactions and system calls: not more for each file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.counting import commits_of
from tests.keystores import LICENSE
from tests.models.workshop import Workshop, folder_request, pattern
from tiktrue_keys.models.folder.decrypt import decrypt_folder
from tiktrue_keys.models.folder.encrypt import encrypt_folder
from tiktrue_keys.models.folder.rewrap import rewrap_folder

FEW, MANY = 4, 40
BATCH = 10


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiktrue_keys.models.storage.unsynced.FILES_AT_ONCE", BATCH)
    monkeypatch.setattr("tiktrue_keys.models.file.rewrap_batch.FILES_AT_ONCE", BATCH)
    monkeypatch.setattr("tiktrue_keys.core.manager.ROWS_AT_ONCE", BATCH)


def source_of(shop: Workshop, count: int) -> Path:
    folder = shop.folder / f"llama-{count}"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:02}.bin").write_bytes(pattern(4096))
    return folder


def sealed_of(shop: Workshop, count: int) -> Path:
    return encrypt_folder(shop.manager, folder_request(source_of(shop, count))).destination


class Calls:
    """How often each of `names` in the module os is called for a path or descriptor below a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.folder = str(folder)
        self.count: Counter[str] = Counter()
        for name in names:
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(first: Any, *rest: Any, **named: Any) -> Any:
            place = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else os.fsdecode(first)
            self.count[name] += place.startswith(self.folder)
            return call(first, *rest, **named)

        return counted


def test_encrypt(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = source_of(shop, FEW), source_of(shop, MANY)
    calls = Calls(shop.folder, monkeypatch, "fsync", "pwrite", "rename", "link", "unlink")
    assert commits_of(lambda: encrypt_folder(shop.manager, folder_request(few))) == 2
    once = calls.count.copy()
    calls.count.clear()
    # The intent, and the rows in parts: the last one is written with the outcome.
    assert commits_of(lambda: encrypt_folder(shop.manager, folder_request(many))) == 1 + MANY // BATCH
    # One sync and one write for each container; four syncs for the folder, its manifest, and the parents of both.
    assert (once["fsync"], calls.count["fsync"]) == (FEW + 4, MANY + 4)
    assert (once["pwrite"], calls.count["pwrite"]) == (FEW, MANY)
    assert {name: calls.count[name] for name in ("rename", "link", "unlink")} == {
        name: once[name] for name in ("rename", "link", "unlink")
    }


def test_encrypt_so_that_it_can_be_resumed(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    source, state = source_of(shop, MANY), shop.folder / "state"
    calls = Calls(state, monkeypatch, "fsync")
    request = folder_request(source, resume=state, jobs=1)
    # Of each batch the rows before its lines; at the end the rows move.
    assert commits_of(lambda: encrypt_folder(shop.manager, request)) == 1 + 2 * MANY // BATCH
    assert calls.count["fsync"] == 1 + MANY // BATCH
    assert sorted(shop.paths()) == [f"llama-{MANY}.ttm/{number:02}.bin.ttm" for number in range(MANY)]


def test_decrypt(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed, out = sealed_of(shop, MANY), shop.folder / "out"
    calls = Calls(shop.folder, monkeypatch, "fsync", "pwrite", "rename", "link", "unlink")
    assert commits_of(lambda: decrypt_folder(shop.manager, sealed, out, license_key=LICENSE)) == 2
    # One sync and one write for each file; two syncs for the folder and its parent.
    assert calls.count == {"fsync": MANY + 2, "pwrite": MANY, "rename": 1, "unlink": 0}
    record = list(shop.manager.audit_records())[-1]
    assert (record.event, record.key_id, record.detail["files"]) == ("decrypt-folder", shop.key.key_id, MANY)


def test_decrypt_where_the_registry_has_the_folder_elsewhere(shop: Workshop) -> None:
    moved = sealed_of(shop, MANY).rename(shop.folder / "moved.ttm")
    out = shop.folder / "out"
    commits = commits_of(lambda: decrypt_folder(shop.manager, moved, out, license_key=LICENSE, jobs=1))
    assert commits == 2 + MANY // BATCH
    assert sorted(shop.paths()) == [f"moved.ttm/{number:02}.bin.ttm" for number in range(MANY)]


def test_rewrap(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = sealed_of(shop, MANY)
    shop.manager.rotate([shop.key.key_id], license_key=LICENSE)
    calls = Calls(shop.folder, monkeypatch, "fsync", "pwrite", "pwritev")
    # Of each batch one with the intents and one with the outcomes.
    assert commits_of(lambda: rewrap_folder(shop.manager, sealed, license_key=LICENSE)) == 2 * MANY // BATCH
    assert calls.count == {"pwritev": 2 * MANY, "pwrite": 0, "fsync": 0}  # each writes a slot and syncs it
    assert {row.keys for row in shop.manager.containers()} == {frozenset({shop.key.key_id})}
    assert commits_of(lambda: rewrap_folder(shop.manager, sealed, license_key=LICENSE)) == 0
