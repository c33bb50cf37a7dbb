"""Checks of the keystore's contents: rows, SQLite's own check, audit log, keys, binding, clock, open intents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tiktrue_keys.cli.checks.check import Check, CheckState, failed, good, skipped, warning
from tiktrue_keys.cli.checks.storage import host_secret_checks, leftover_checks, reserve_check
from tiktrue_keys.cli.view.finding_lines import finding_words
from tiktrue_keys.cli.view.hints import message_of
from tiktrue_keys.core.findings.finding import Finding, Severity
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.keystore.clock import ClockFault, ClockReading, doubt, lag, late_heartbeat
from tiktrue_keys.core.keystore.slots import MACHINE
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.errors import TikTrueKeysError

_HAVE_A_ROW = ("clock-leapt", "clock-unconfirmed", "clock-behind", "rotation-not-running")


def keystore_checks(manager: KeyManager) -> Iterator[Check]:
    """Return the findings about the contents; when the keystore does not open, one failed finding says why."""
    try:
        document = manager.document()
    except TikTrueKeysError as error:
        yield failed("keystore opens", error)
        yield skipped("keystore contents", "the keystore does not open here")
        return
    yield good("keystore opens", f"epoch {document.epoch}, created {rfc3339(document.created_at)}")
    yield from _way_checks(manager)
    yield reserve_check(manager.path, manager.mark_paths())
    yield from _contents(manager)
    yield from clock_checks(manager.clock_reading())
    folders = [Path(record.path).parent for record in manager.containers() if record.path]
    yield from leftover_checks([manager.path, *folders])


def _way_checks(manager: KeyManager) -> Iterator[Check]:
    """Return the checks of what opens the keystore: the host secret's file, and each device."""
    for each in manager.bound_ways():
        if each.way == MACHINE:
            yield from host_secret_checks(manager.host_secret_path(), manager.path)
            continue
        name = f"binding {each.way}"
        try:
            manager.try_way(each.way)
        except TikTrueKeysError as error:
            yield failed(name, error)
        else:
            yield good(name, "the device opens the keystore")


def _contents(manager: KeyManager) -> Iterator[Check]:
    try:
        verified = manager.verify()
    except TikTrueKeysError as error:
        yield failed("every row and audit record", error)
        return
    words = f"{plural(verified.keys, 'key')}, {plural(verified.records, 'audit record')}, and SQLite's own check"
    yield good("every row and audit record", words)
    found = manager.status().findings
    yield from (finding_check(finding) for finding in found if finding.id not in _HAVE_A_ROW)
    if not any(finding.severity is Severity.ERROR for finding in found):
        yield good("keys", "every key that a container needs is usable")
    yield _missing_containers(manager)


def finding_check(finding: Finding) -> Check:
    """Return the row of a finding."""
    name = finding.id.replace("-", " ")
    if finding.severity is Severity.WARNING:
        return warning(name, finding_words(finding))
    return failed(name, finding.as_error())


def _missing_containers(manager: KeyManager) -> Check:
    gone = [
        record.path for record in manager.containers() if record.path.startswith("/") and not Path(record.path).exists()
    ]
    if not gone:
        return good("containers", "every registered file is present")
    words = f"{plural(len(gone), 'registered file')} missing, first {gone[0]}"
    return warning("containers", f"{words}: run models scan if it was moved, models forget if it is gone")


def clock_checks(reading: ClockReading) -> Iterator[Check]:
    """Return the checks of the time: the clock, and whether scheduled runs renew the heartbeat."""
    faults = [fault for fault in (doubt(reading), lag(reading)) if fault is not None]
    yield from (_fault("clock", fault) for fault in faults)
    if not faults:
        yield _sound_clock(reading)
    late = late_heartbeat(reading)
    if late is not None:
        yield _fault("scheduled runs", late)
    elif reading.heartbeat is None:
        yield good("scheduled runs", "none yet: no heartbeat has been written")
    else:
        yield good("scheduled runs", f"the heartbeat is of {rfc3339(reading.heartbeat)}")


def _sound_clock(reading: ClockReading) -> Check:
    word = {
        True: "the kernel calls it synchronised",
        False: "the kernel calls it unsynchronised",
        None: "whether it is synchronised is unknown",
    }[reading.synchronised]
    return good("clock", f"not behind the last known time ({rfc3339(reading.last_known)}); {word}")


def _fault(check: str, fault: ClockFault) -> Check:
    refused = {"clock-leapt": "; nothing is written", "clock-unconfirmed": "; rotate --due and cleanup are refused"}
    words = fault.message + refused.get(fault.code, "")
    return warning(check, message_of(Notice(fault.code, words, remedy=fault.remedy)))


def worst_state(findings: list[Check]) -> CheckState:
    """Return the worst state among findings."""
    states = {finding.state for finding in findings}
    return next((state for state in (CheckState.FAILED, CheckState.WARNING) if state in states), CheckState.OK)
