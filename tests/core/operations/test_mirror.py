"""Sinks get every record after its commit, and catch up when they failed; an operation never does by them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.keystores import Desk
from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.keystore.cursors import FILE_NAME, Cursor, held_cursors, read_cursors
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.mirror import mirroring
from tiktrue_keys.errors import RefusedError, UnavailableError


class List:
    """A sink that takes records, or says that it cannot."""

    def __init__(self, name: str = "list") -> None:
        self.name = name
        self.found: list[tuple[int, int, str]] = []
        self.works = True

    def write(self, records: Sequence[AuditRecord]) -> None:
        if not self.works:
            raise UnavailableError("the list is full")
        self.found += [(record.epoch, record.number, record.event) for record in records]

    @property
    def numbers(self) -> list[int]:
        return [number for _, number, _ in self.found]


def mirrored(desk: Desk, *sinks: List) -> KeyManager:
    manager = desk.manager()
    manager.session.after_commit = mirroring(sinks)
    return manager


def receivers(manager: KeyManager) -> list[str]:
    return [each.message for each in manager.status().findings if each.id == "receiver-failing"]


def test_a_sink_gets_each_record_from_the_first_commit_on(desk: Desk) -> None:
    desk.manager().generate("before", no_license=True)
    sink = List()
    manager = mirrored(desk, sink)
    manager.generate("a", no_license=True)
    manager.generate("b", no_license=True)
    assert sink.numbers == [2, 3]
    desk.manager().generate("c", no_license=True)  # without sinks
    mirrored(desk, sink).generate("d", no_license=True)
    assert sink.numbers == [2, 3, 4, 5]
    assert mirrored(desk, sink).audit_size() == 6  # reading tells nothing
    assert sink.numbers == [2, 3, 4, 5]


def test_a_sink_that_fails_is_a_finding_and_catches_up(desk: Desk) -> None:
    good, bad = List("good"), List("bad")
    manager = mirrored(desk, bad, good)
    manager.generate("a", no_license=True)
    bad.works = False
    desk.clock.forward(days=1)
    manager.generate("b", no_license=True)
    manager.generate("c", no_license=True)
    assert (good.numbers, bad.numbers) == ([0, 1, 2, 3], [0, 1])
    assert receivers(manager) == ["audit records or events do not reach 'sink bad': the list is full"]
    (found,) = (each for each in manager.status().findings if each.id == "receiver-failing")
    assert found.since == desk.clock.now
    bad.works = True
    manager.generate("d", no_license=True)
    assert bad.numbers == [0, 1, 2, 3, 4]
    assert receivers(manager) == []


def test_a_refusal_is_mirrored_too(desk: Desk) -> None:
    sink = List()
    manager = mirrored(desk, sink)
    manager.generate("a", no_license=True)
    with pytest.raises(RefusedError):
        manager.generate("a", no_license=True)
    assert sink.found[-1] == (1, 2, "generate")


def test_after_a_restore_the_numbers_of_the_new_epoch_are_told(desk: Desk, tmp_path: Path) -> None:
    sink = List()
    manager = mirrored(desk, sink)
    manager.generate("a", no_license=True)
    manager.backup(tmp_path / "backup")
    for name in ("b", "c", "d"):
        manager.generate(name, no_license=True)
    desk.manager().restore(tmp_path / "backup")
    del sink.found[:]
    mirrored(desk, sink).generate("e", no_license=True)
    epochs = {epoch for epoch, _, _ in sink.found}
    assert (epochs, sink.numbers) == ({2}, list(range(sink.numbers[0], sink.numbers[0] + len(sink.found))))
    assert "restore" in {event for _, _, event in sink.found}


def test_a_rehearsal_tells_nothing(desk: Desk) -> None:
    sink = List()
    manager = mirrored(desk, sink)
    with manager.session.create("made", manager.session.new_cost()) as transaction:  # type: ignore[arg-type]
        transaction.replace_document(replace(transaction.document, rehearsal=True))
        transaction.record("restore")
    assert sink.found == []


def test_while_another_process_tells_of_records_the_operation_goes_on(desk: Desk) -> None:
    sink = List()
    manager = mirrored(desk, sink)
    manager.generate("a", no_license=True)
    folder = os.open(desk.folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    manager.generate("b", no_license=True)
    os.close(folder)
    assert sink.numbers == [0, 1]
    manager.generate("c", no_license=True)
    assert sink.numbers == [0, 1, 2, 3]


def test_a_damaged_file_of_cursors_begins_again(desk: Desk) -> None:
    sink = List()
    manager = mirrored(desk, sink)
    manager.generate("a", no_license=True)
    for damage in (
        "{",
        "[]",
        '{"sink list": 1}',
        '{"sink list": {"epoch": -1, "position": 0}}',
        "[" * 60_000,
        "x" * 70_000,
    ):
        (desk.folder / FILE_NAME).write_text(damage)
        assert read_cursors(desk.folder) == {}
    del sink.found[:]
    manager.generate("b", no_license=True)
    assert sink.numbers == [2]
    with held_cursors(desk.folder) as cursors:
        assert cursors is not None
        cursors.put("sink gone", Cursor(1, 0, failed_since=1, reason="x"))
    manager.generate("c", no_license=True)
    assert set(read_cursors(desk.folder)) == {"sink list"}  # what left the configuration is forgotten


@pytest.mark.parametrize(("epoch", "position"), [(999, 999_999_999), (1, 999_999_999), (2, 0)])
def test_a_cursor_beyond_the_log_is_a_finding_and_begins_at_the_first_record(
    desk: Desk, epoch: int, position: int
) -> None:
    sink = List()
    manager = mirrored(desk, sink)
    manager.generate("a", no_license=True)
    with held_cursors(desk.folder) as cursors:
        assert cursors is not None
        cursors.put("sink list", Cursor(epoch, position))
    words = "the cursor of 'sink list' is beyond the audit log; the next change sends it all records again"
    assert receivers(manager) == [words]
    del sink.found[:]
    manager.generate("b", no_license=True)
    assert sink.numbers == [0, 1, 2]
    assert receivers(manager) == []
