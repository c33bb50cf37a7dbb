"""Findings become events once, when they are met first, and their end is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.keystores import FILE_ID, Desk
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import DAY, Instant
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import UsageError


def told(manager: KeyManager, after: str | None = None) -> list[tuple[str, str]]:
    return [(event.type, event.subject) for event in manager.events(after=after)]


def test_what_time_brings_is_raised_once_until_it_is_gone(desk: Desk, tmp_path: Path) -> None:
    manager = desk.manager()
    key = manager.generate("llama", no_license=True).keys[0]
    manager.register(ContainerRecord(FILE_ID, "/m.ttm", "llama", "m", frozenset({key.key_id}), Instant(desk.clock.now)))
    manager.backup(tmp_path / "backup")
    assert manager.raise_findings().raised == ()
    size = manager.audit_size()
    desk.clock.forward(days=31)
    assert {each.id for each in manager.raise_findings().raised} == {"expired", "backup-stale", "rotation-due"}
    assert told(manager) == [("expired", key.key_id), ("key-due", key.key_id), ("backup-stale", "")]
    assert manager.raise_findings().raised == ()
    assert manager.audit_size() == size + 4  # with the gap of a month
    other = manager.generate("other", no_license=True, lifetime=9 * DAY).keys[0]
    desk.clock.forward(days=8)
    assert [(each.id, each.subject) for each in manager.raise_findings().raised] == [("rotation-due", other.key_id)]
    manager.backup(tmp_path / "backup", force=True)
    manager.rotate(["llama", "other"])
    desk.manager().raise_findings()
    last = list(manager.events())[3].id
    rotated = [("rotated", key.key_id), ("rotated", other.key_id)]
    assert told(manager, after=last) == [*rotated, ("container-lagging", FILE_ID.hex())]
    gone = [record.detail["finding"] for record in manager.audit_records() if record.event == "finding-cleared"]
    assert sorted(gone) == ["backup-stale", "expired", "rotation-due", "rotation-due"]


def test_events_are_read_from_any_point_over_a_restore(desk: Desk, tmp_path: Path) -> None:
    manager = desk.manager()
    keys = [manager.generate(name, no_license=True).keys[0] for name in ("a", "b")]
    manager.rotate(["a"])
    manager.backup(tmp_path / "backup")
    manager.rotate(["b"])
    lost = list(manager.events())[-1]
    manager.restore(tmp_path / "backup")
    manager.revoke([keys[0].key_id], reason="r")
    manager = desk.manager()
    assert told(manager) == [("rotated", keys[0].key_id), ("revoked", keys[0].key_id)]
    assert (lost.type, told(manager, after=lost.id)) == ("rotated", [("revoked", keys[0].key_id)])
    assert [event.epoch for event in manager.events(after=lost.id)] == [2]
    assert told(manager, after=list(manager.events())[-1].id) == []
    assert told(manager, after="9-0") == []
    with pytest.raises(UsageError):
        manager.events(after="x")
