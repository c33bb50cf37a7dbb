"""Notices about a keystore's standing: they are repeated until their cause is gone.

Come here for the warnings about recovery, binding and time. These functions only read.
"""

from __future__ import annotations

from tiktrue_keys.core.findings.of_machine import more_facts
from tiktrue_keys.core.fingerprint import Binding, shared_anchors, strength
from tiktrue_keys.core.keystore.clock import ClockFault, ClockReading, doubt, lag, late_heartbeat
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.volatile import VolatileParts
from tiktrue_keys.core.machine import MachineFacts
from tiktrue_keys.core.notices import Notice

ESCROW_RECORD = "escrow"
"""The name of the only record of this kind."""


def recovery_notices(rows: Rows) -> tuple[Notice, ...]:
    """Return a notice until an escrow was verified and a backup that holds it was taken."""
    backup, escrow = rows.get(RecordKind.BACKUP, "backup"), rows.get(RecordKind.ESCROW, ESCROW_RECORD)
    backed_up = backup is not None and backup["done"]
    no_backup = "no backup was taken" + (" since the escrow was created" if escrow else "")
    if escrow is None:
        return _no_recovery("no escrow was verified", *([] if backed_up else [no_backup]), remedy="begin-recovery")
    if escrow["verified_at"] is None and not backed_up:
        return _no_recovery("no escrow was verified", no_backup, remedy="verify-and-back-up")
    if escrow["verified_at"] is None:
        return _no_recovery("no escrow was verified", remedy="verify-escrow")
    return () if backed_up else _no_recovery(no_backup, remedy="back-up")


def _no_recovery(*missing: str, remedy: str) -> tuple[Notice, ...]:
    words = f"this keystore cannot be recovered if its disk or mainboard fails: {' and '.join(missing)}"
    return (Notice("no-recovery", words, remedy=remedy),)


def binding_notices(binding: Binding, facts: MachineFacts) -> tuple[Notice, ...]:
    """Return a notice for a binding that a copied disk image would carry along, or that the next new part locks."""
    if binding.weak:
        words = (
            "no hardware fact can be read: the keys are bound only to the machine-id and the host secret on this disk"
        )
        return (Notice("weak-binding", words, **more_facts(facts.unreadable, weak=True)),)
    if binding.has_spare:
        return ()
    return (Notice("no-spare", strength(binding), **more_facts(facts.unreadable)),)


def shared_notices(binding: Binding, facts: MachineFacts) -> tuple[Notice, ...]:
    """Return a notice for each fact in the binding that does not name this machine alone."""
    return tuple(
        Notice(
            "shared-fact",
            f"the {kind.value} that the keystore is sealed to is not a fact of this machine alone: {flaw}",
            remedy="seal-again",
        )
        for kind, flaw in shared_anchors(binding, facts).items()
    )


def storage_notices(found: VolatileParts) -> tuple[Notice, ...]:
    """Return a notice for a keystore on storage that vanishes."""
    return (Notice("volatile-storage", found.words, remedy="move-to-a-volume"),) if found else ()


def time_notices(reading: ClockReading) -> tuple[Notice, ...]:
    """Return a notice for a doubtful clock, a clock that is behind, and scheduled runs that no longer happen."""
    return tuple(
        notice for fault in (doubt(reading), lag(reading), late_heartbeat(reading)) for notice in clock_notice(fault)
    )


def clock_notice(fault: ClockFault | None) -> tuple[Notice, ...]:
    """Return the notice of a fault, if there is one."""
    return () if fault is None else (Notice(fault.code, fault.message, remedy=fault.remedy),)
