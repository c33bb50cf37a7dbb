"""Many containers rewrapped together: what one of them meets is its own, and no lock is waited for under another."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from tests.counting import commits_of
from tests.keystores import LICENSE
from tests.models.file.test_rewrap import rotated, slots
from tests.models.workshop import MODEL, Workshop
from tests.waiting import wait_until
from tiktrue_keys.errors import BusyError, TikTrueKeysError, UnavailableError
from tiktrue_keys.models.file.rewrap import RewrapBatch, rewrap_registered
from tiktrue_keys.models.file.rewrap_batch import RewrapOptions, WantedRewrap, rewrap_all
from tiktrue_keys.models.storage.container_lock import locked_container
from tiktrue_keys.models.storage.readable import pwrite_synced


def sealed(shop: Workshop, count: int) -> list[Path]:
    return [shop.sealed(100 + number, f"{number}.bin") for number in range(count)]


def rewrapped(shop: Workshop, lock_timeout: float = 0.2) -> RewrapBatch:
    return rewrap_registered(shop.manager, license_key=LICENSE, lock_timeout=lock_timeout)


def errors(batch: RewrapBatch) -> list[type[TikTrueKeysError]]:
    return [type(each.error) for each in batch.failed]


def test_one_that_is_locked_holds_no_other_up(shop: Workshop) -> None:
    paths = sealed(shop, 4)
    _, new = rotated(shop)
    with locked_container(paths[1], 1):
        batch = rewrapped(shop)
    assert ([each.path for each in batch.done], errors(batch)) == ([paths[0], *paths[2:]], [BusyError])
    assert [slots(path).current.header.key_ids == {new} for path in paths] == [True, False, True, True]
    assert [each.path for each in rewrapped(shop).done if each.changed] == [paths[1]]


def test_one_that_is_locked_is_waited_for_while_no_other_is(shop: Workshop) -> None:
    paths = sealed(shop, 3)
    _, new = rotated(shop)
    results: list[RewrapBatch] = []
    with locked_container(paths[0], 1):
        waiting = threading.Thread(target=lambda: results.append(rewrapped(shop, lock_timeout=30)))
        waiting.start()
        wait_until(lambda: all(slots(path).current.header.key_ids == {new} for path in paths[1:]))
        for path in paths[1:]:
            wait_until(lambda at=path: is_free(at))  # type: ignore[misc]
        time.sleep(0.05)
        assert results == []
    waiting.join()
    assert [each.path for each in results[0].done] == paths
    assert results[0].failed == ()


def is_free(path: Path) -> bool:
    try:
        with locked_container(path, 0):
            return True
    except BusyError:
        return False


def test_a_copy_in_the_same_batch_has_a_turn_of_its_own(shop: Workshop) -> None:
    (original,) = sealed(shop, 1)
    copy = shop.folder / "another.ttm"
    shutil.copy(original, copy)
    _, new = rotated(shop)
    known = shop.manager.container(slots(original).current.header.file_id)
    assert known is not None

    rewrap_all(shop.manager, [WantedRewrap(original), WantedRewrap(copy)], RewrapOptions(LICENSE))
    assert {slots(path).current.header.key_ids for path in (original, copy)} == {frozenset({new})}
    assert {row.path: row.keys for row in shop.manager.containers()} == {str(original): {new}, str(copy): {new}}


def test_a_failed_write_is_one_containers_own(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sealed(shop, 3)
    old, new = rotated(shop)

    def fail(fd: int, data: bytes, offset: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}") == str(paths[1]):
            raise OSError(5, "Input/output error")
        pwrite_synced(fd, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr("tiktrue_keys.models.storage.header_file.pwrite_synced", fail)
        batch = rewrapped(shop)
    assert ([each.path for each in batch.done], errors(batch)) == ([paths[0], paths[2]], [UnavailableError])
    keys = {Path(row.path): row.keys for row in shop.manager.containers()}
    assert keys == {paths[0]: {new}, paths[1]: {old, new}, paths[2]: {new}}
    assert shop.manager.open_intents() == ()
    assert [each.path for each in rewrapped(shop).done if each.changed] == [paths[1]]


def test_each_has_a_record_of_its_own_in_two_transactions(shop: Workshop) -> None:
    sealed(shop, 5)
    rotated(shop)
    before = shop.manager.audit_size()
    assert commits_of(lambda: rewrapped(shop)) == 2
    records = list(shop.manager.audit_records(start=before))
    assert [record.event for record in records] == ["intent"] * 5 + ["rewrap"] * 5
    assert [record.operation_id for record in records[:5]] == [record.operation_id for record in records[5:]]
    assert len({record.operation_id for record in records}) == 5
    assert {record.model_id for record in records} == {MODEL}
