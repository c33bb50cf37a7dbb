"""The operation `validate`: checks the binding, the rows and the status of keys.

Come here for what `deep` adds: every row, every audit record, and SQLite's own check.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from tiktrue_keys.core.containers.intents import open_intents
from tiktrue_keys.core.containers.registry import all_containers, containers_of
from tiktrue_keys.core.fingerprint import DriftReport, drift, opens
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.health import KeyChecks
from tiktrue_keys.core.keys.keyring import all_keys, find_key
from tiktrue_keys.core.keys.packed import PackedKeys
from tiktrue_keys.core.keystore.bind import binding_here
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.operations.results import ValidateResult
from tiktrue_keys.core.operations.standing_notices import (
    binding_notices,
    recovery_notices,
    shared_notices,
    time_notices,
)
from tiktrue_keys.core.operations.verify import verify_view
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import WrongMachineError


def validate(session: KeystoreSession, arguments: Sequence[str], *, deep: bool) -> ValidateResult:
    """Check the named keys, or all. Problems of single keys are in the result.

    Raises only errors that make every answer worthless: IntegrityError, WrongMachineError, NotFoundError for a key that
    does not exist.
    """
    with session.read() as (view, now):
        checks = _named(view.rows, arguments, now) if arguments else _all(view.rows, now)
        facts = session.facts(again=True)
        binding, _ = binding_here(view.rows, facts)
        report = drift(binding, facts)
        if not opens(binding, facts):  # parts were changed while the keystore was open
            raise WrongMachineError(
                f"this machine would not open the keystore any more without {', '.join(report.names())}",
                "put the changed part back",
                remedy="machine-changed",
            )
        if deep:
            session.keystore.check_file()
            verify_view(view, now)
        notices = (
            *_drift_notices(report),
            *binding_notices(binding, facts),
            *shared_notices(binding, facts),
            *recovery_notices(view.rows),
            *time_notices(session.clock_reading(view)),
            *_intent_notices(view.rows),
        )
        return ValidateResult(checks, binding, report, view.audit.size, deep, notices)


def _named(rows: Rows, arguments: Sequence[str], now: Instant) -> KeyChecks:
    keys = {stored.key.key_id: stored.key for stored in (find_key(rows, argument, now) for argument in arguments)}
    return KeyChecks(PackedKeys(keys.values()), now, {key_id for key_id in keys if containers_of(rows, key_id)})


def _all(rows: Rows, now: Instant) -> KeyChecks:
    needed = {key_id for record in all_containers(rows) for key_id in record.keys}
    keys = PackedKeys((stored.key for stored in all_keys(rows, now)), order=attrgetter("order"))
    return KeyChecks(keys, now, needed)


def _drift_notices(report: DriftReport) -> tuple[Notice, ...]:
    return tuple(
        Notice("drift", f"the {name} differs from the one that the keystore is sealed to") for name in report.names()
    )


def _intent_notices(rows: Rows) -> tuple[Notice, ...]:
    return tuple(
        Notice(
            "open-intent", f"an {intent.operation} of {intent.path or intent.file_id.hex()} was begun but not finished"
        )
        for intent in open_intents(rows)
    )
