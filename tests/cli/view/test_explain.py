"""`validate --explain`: the instant that decided, what is allowed, what comes next; one line a state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.keystores import NOON
from tests.program import Program
from tiktrue_keys.cli.view.explain import explain, explanation_table, time_fields
from tiktrue_keys.core.instants import DAY, Instant, rfc3339
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.names import KeyId, ModelId

SUCCESSOR = KeyId("m_" + "2" * 16)
KEY = ManagedKey(
    key_id=KeyId("m_" + "1" * 16),
    model_id=ModelId("m"),
    generation=1,
    created_at=NOON,
    expires_at=Instant(NOON + 30 * DAY),
    decrypt_until=Instant(NOON + 120 * DAY),
)
ROTATED: dict[str, Any] = {"rotated_at": NOON, "overlap_ends_at": Instant(NOON + 7 * DAY), "successor": SUCCESSOR}
ALL = ("encrypt", "decrypt", "decrypt-deprecated")
OLD = ("decrypt", "decrypt-deprecated")


@pytest.mark.parametrize(
    ("changes", "days", "status", "decided", "may", "comes"),
    [
        ({}, 0, "active", ("expires_at", 30), ALL, ("expired", 30)),
        ({}, 30, "expired", ("expires_at", 30), OLD, ("decrypts no more", 120)),
        ({}, 120, "expired", ("expires_at", 30), ("decrypt-deprecated",), (None, None)),
        ({"pending": True}, 0, "pending", ("pending", None), OLD, (None, None)),
        (ROTATED, 6, "rotating", ("overlap_ends_at", 7), OLD, ("deprecated", 7)),
        (ROTATED, 7, "deprecated", ("overlap_ends_at", 7), OLD, ("decrypts no more", 120)),
        (ROTATED | {"destroy_at": Instant(NOON + 200 * DAY)}, 130, "deprecated", ("overlap_ends_at", 7),
         ("decrypt-deprecated",), ("destroyed", 200)),
        (ROTATED | {"overlap_ends_at": None}, 1, "deprecated", ("overlap_ends_at", 0), OLD, ("decrypts no more", 120)),
        ({"revoked_at": NOON, "revoke_reason": "r"}, 1, "revoked", ("revoked_at", 0), ("recover-revoked",),
         (None, None)),
        ({"revoked_at": NOON, "destroyed_at": Instant(NOON + DAY)}, 1, "destroyed", ("destroyed_at", 1), (),
         (None, None)),
    ],
)  # fmt: skip
def test_each_state(
    changes: dict[str, Any],
    days: int,
    status: str,
    decided: tuple[str, int | None],
    may: tuple[str, ...],
    comes: tuple[str | None, int | None],
) -> None:
    found = explain(replace(KEY, **changes), Instant(NOON + days * DAY))

    assert found.key.status.value == status
    assert (found.decided_by, found.decided_at) == (decided[0], instant(decided[1]))
    assert tuple(use.value for use in found.may) == may
    assert (found.next_status, found.next_at) == (comes[0], instant(comes[1]))
    if found.decided_at is not None:
        assert str(rfc3339(found.decided_at)) in found.because


def instant(days: int | None) -> Instant | None:
    return None if days is None else Instant(NOON + days * DAY)


def test_in_words() -> None:
    old = explain(replace(KEY, **ROTATED), Instant(NOON + 121 * DAY))
    gone = explain(replace(KEY, destroyed_at=NOON), NOON)

    (first, second) = explanation_table([old, gone]).rows

    assert first == (
        KEY.key_id,
        "deprecated",
        f"rotated to {SUCCESSOR} at 2026-11-25T12:00:00Z; the overlap ended at 2026-12-02T12:00:00Z",
        "--allow-deprecated, rewrap, re-encrypt",
        "",
    )
    assert second[3:] == ("nothing", "")


@pytest.mark.parametrize(("clock", "whose"), [(NOON, "the clock's"), (NOON - 1, "the newest audit record's")])
def test_it_says_whose_instant_the_statuses_are_as_of(clock: int, whose: str) -> None:
    ((_, words),) = time_fields(NOON, Instant(clock)).rows

    assert words.startswith(f"2026-11-25T12:00:00Z, {whose}")


def test_the_program_explains_under_the_checks_and_keeps_its_exit_code(program: Program) -> None:
    program.generate("m")
    program.ok("rotate", "m")
    program.generate("gone")
    program.ok("revoke", "--model", "gone", "--reason", "stolen", "--yes")

    whole = program.run("validate", "--explain", "--deep")
    named = program.run("validate", "gone", "--explain")

    assert (whole.returncode, named.returncode) == (0, 10)
    assert "rotating  rotated to m_" in whole.stdout
    assert "encrypt; decrypt  " in whole.stdout
    assert ": stolen  reencrypt-model --recover-revoked" in named.stdout
    assert "status as of:  " in whole.stdout
    assert "fingerprint:" in whole.stdout
    assert "explanations" not in program.json("validate")["result"]
