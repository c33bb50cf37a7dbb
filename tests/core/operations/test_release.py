"""`release` as an operation: who may, what is recorded, what a repetition does, and what a dry run leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.dispatch.test_releases import entry, identity
from tests.keystores import LICENSE, Desk
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.release import Released, ReleaseRequest
from tiktrue_keys.errors import NotFoundError, RefusedError


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[KeyManager]:
    with Desk(tmp_path) as desk:
        made = desk.manager()
        made.generate("llama", license_key=LICENSE)
        yield made


def release(manager: KeyManager, request: ReleaseRequest, operation_id: str | None = None) -> Released:
    return manager.release(request, OperationRequest.of("release", operation_id, {}))


def of(*numbers: int) -> ReleaseRequest:
    return ReleaseRequest({"llama": [entry(number) for number in numbers]})


def test_a_release_is_recorded_with_what_changed(manager: KeyManager) -> None:
    release(manager, of(1, 2))
    result = release(manager, ReleaseRequest({"llama": [entry(3)]}, [identity(1)], only=True))

    assert result.changed
    assert result.left == (identity(1), identity(2))
    (made,) = result.releases
    assert (made.entries, made.withdrawn, made.number) == ((entry(3),), (identity(1),), 2)
    record = list(manager.audit_records())[-1]
    assert (record.event, record.model_id) == ("release", "llama")
    assert record.detail == {
        "epoch": 1,
        "number": 2,
        "named": 1,
        "added": [identity(3).hex()],
        "left": [identity(1).hex(), identity(2).hex()],
        "withdrawn": [identity(1).hex()],
    }


def test_many_ids_are_counted_in_the_record(manager: KeyManager) -> None:
    release(manager, of(*range(1, 40)))
    detail = list(manager.audit_records())[-1].detail
    assert (len(detail["added"]), detail["added_count"]) == (16, 39)


def test_nothing_new_changes_nothing(manager: KeyManager) -> None:
    release(manager, of(1))
    size = manager.audit_size()
    again = release(manager, of(1))
    assert (again.changed, again.releases[0].number, manager.audit_size()) == (False, 1, size)


def test_a_repeated_operation_id_gives_the_first_result(manager: KeyManager) -> None:
    first = release(manager, of(1), "once")
    again = release(manager, of(2), "once")  # its arguments are compared by the caller's request
    assert (first.changed, again.changed) == (True, False)
    assert again.releases == first.releases


def test_a_dry_run_leaves_the_release_as_it_is(manager: KeyManager) -> None:
    size = manager.audit_size()
    planned = release(manager, ReleaseRequest({"llama": [entry(1)]}, dry_run=True))
    assert (planned.changed, planned.dry_run, planned.releases[0].entries) == (False, True, (entry(1),))
    assert manager.release_of("llama") is None
    assert manager.audit_size() == size


def test_what_is_refused(manager: KeyManager) -> None:
    with pytest.raises(RefusedError, match="no key of model other"):
        release(manager, ReleaseRequest({"other": [entry(1)]}))
    with pytest.raises(NotFoundError, match="neither released nor registered"):
        release(manager, ReleaseRequest(withdraw=[identity(1)]))
    manager.generate("bare", no_license=True)
    with pytest.raises(RefusedError, match="has no release"):
        release(manager, ReleaseRequest({"bare": []}))
    assert manager.releases() == ()
