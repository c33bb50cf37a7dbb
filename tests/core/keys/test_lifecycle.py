"""States of a key: from which times they follow, what each allows, what is due. Every edge to the second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.keystores import error_of
from tiktrue_keys.core.instants import DAY, Instant, Seconds
from tiktrue_keys.core.keys.lifecycle import (
    DEFAULT_WITHIN,
    ManagedKey,
    Status,
    Use,
    is_due,
    is_usable,
    may_be_destroyed,
    must_allow,
    status_at,
    warns_when_decrypting,
)
from tiktrue_keys.core.names import KeyId, ModelId
from tiktrue_keys.errors import ExpiredError, RefusedError, RevokedError, TikTrueKeysError

BORN = Instant(1_000_000)
EXPIRES = Instant(BORN + 30 * DAY)
DECRYPTS_UNTIL = Instant(EXPIRES + 90 * DAY)
ROTATED = Instant(BORN + 23 * DAY)
OVERLAP_ENDS = Instant(ROTATED + 7 * DAY)
SUCCESSOR = KeyId("m_fedcba9876543210")


def key(**changes: Any) -> ManagedKey:
    """A key of 30 days that decrypts for another 90."""
    made = ManagedKey(KeyId("m_0123456789abcdef"), ModelId("m"), 1, BORN, EXPIRES, DECRYPTS_UNTIL)
    return replace(made, **changes)


ACTIVE = key()
ROTATING = key(rotated_at=ROTATED, overlap_ends_at=OVERLAP_ENDS, successor=SUCCESSOR)
WITHOUT_OVERLAP = key(rotated_at=ROTATED, overlap_ends_at=ROTATED, successor=SUCCESSOR)
PENDING = key(pending=True, predecessor=SUCCESSOR)
REVOKED = key(revoked_at=ROTATED, revoke_reason="lost")
DESTROYED = key(destroyed_at=ROTATED)


@pytest.mark.parametrize(
    ("subject", "now", "status"),
    [
        (ACTIVE, BORN, Status.ACTIVE),
        (ACTIVE, EXPIRES - 1, Status.ACTIVE),
        (ACTIVE, EXPIRES, Status.EXPIRED),
        (ACTIVE, DECRYPTS_UNTIL + 1, Status.EXPIRED),
        (ROTATING, OVERLAP_ENDS - 1, Status.ROTATING),
        (ROTATING, OVERLAP_ENDS, Status.DEPRECATED),
        (ROTATING, DECRYPTS_UNTIL + 1, Status.DEPRECATED),
        (WITHOUT_OVERLAP, ROTATED, Status.DEPRECATED),
        (key(rotated_at=ROTATED), ROTATED, Status.DEPRECATED),
        (PENDING, BORN, Status.PENDING),
        (REVOKED, BORN, Status.REVOKED),
        (REVOKED, DECRYPTS_UNTIL + 1, Status.REVOKED),
        (DESTROYED, BORN, Status.DESTROYED),
    ],
)
def test_status(subject: ManagedKey, now: Instant, status: Status) -> None:
    assert status_at(subject, now) is status
    assert subject.at(now).status is status


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"destroyed_at": ROTATED, "revoked_at": ROTATED, "rotated_at": ROTATED, "pending": True}, Status.DESTROYED),
        ({"revoked_at": ROTATED, "rotated_at": ROTATED, "overlap_ends_at": DECRYPTS_UNTIL}, Status.REVOKED),
        ({"rotated_at": ROTATED, "overlap_ends_at": DECRYPTS_UNTIL}, Status.ROTATING),
        ({}, Status.EXPIRED),
    ],
)
def test_the_graver_state_goes_first(changes: dict[str, Any], status: Status) -> None:
    assert status_at(key(**changes), EXPIRES) is status


ALLOWED: list[tuple[str, ManagedKey, int, dict[Use, type[TikTrueKeysError] | None]]] = [
    ("pending", PENDING, BORN, {Use.ENCRYPT: RefusedError, Use.DECRYPT: None}),
    ("active", ACTIVE, EXPIRES - 1, {Use.ENCRYPT: None, Use.DECRYPT: None}),
    ("rotating", ROTATING, OVERLAP_ENDS - 1, {Use.ENCRYPT: RefusedError, Use.DECRYPT: None}),
    ("deprecated", ROTATING, OVERLAP_ENDS, {Use.ENCRYPT: RefusedError, Use.DECRYPT: None}),
    ("deprecated, last second", ROTATING, DECRYPTS_UNTIL - 1, {Use.DECRYPT: None}),
    (
        "deprecated, over",
        ROTATING,
        DECRYPTS_UNTIL,
        {Use.ENCRYPT: RefusedError, Use.DECRYPT: ExpiredError, Use.DECRYPT_DEPRECATED: None},
    ),
    ("expired", ACTIVE, EXPIRES, {Use.ENCRYPT: ExpiredError, Use.DECRYPT: None}),
    ("expired, last second", ACTIVE, DECRYPTS_UNTIL - 1, {Use.DECRYPT: None}),
    (
        "expired, over",
        ACTIVE,
        DECRYPTS_UNTIL,
        {Use.ENCRYPT: ExpiredError, Use.DECRYPT: ExpiredError, Use.DECRYPT_DEPRECATED: None},
    ),
    (
        "revoked",
        REVOKED,
        BORN,
        {
            Use.ENCRYPT: RevokedError,
            Use.DECRYPT: RevokedError,
            Use.DECRYPT_DEPRECATED: RevokedError,
            Use.RECOVER_REVOKED: None,
        },
    ),
    ("destroyed", DESTROYED, BORN, dict.fromkeys(Use, RefusedError)),
    ("destroyed after revocation", replace(REVOKED, destroyed_at=ROTATED), BORN, dict.fromkeys(Use, RefusedError)),
]


@pytest.mark.parametrize(
    ("subject", "now", "use", "error"),
    [
        pytest.param(subject, now, use, error, id=f"{name}: {use.value}")
        for name, subject, now, uses in ALLOWED
        for use, error in uses.items()
    ],
)
def test_use(subject: ManagedKey, now: Instant, use: Use, error: type[TikTrueKeysError] | None) -> None:
    found = error_of(lambda: must_allow(subject, use, now))
    assert type(found) is (type(None) if error is None else error)
    if found is not None:
        assert found.key_id == subject.key_id
        assert found.hint


def test_a_refusal_says_why_and_what_to_do() -> None:
    revoked = error_of(lambda: must_allow(REVOKED, Use.DECRYPT, BORN))
    assert revoked is not None
    assert "was revoked at 1970-02-04T13:46:40Z (lost)" in revoked.message
    assert (revoked.remedy, revoked.about) == ("recover-revoked", {"model": REVOKED.model_id})
    rotating = error_of(lambda: must_allow(ROTATING, Use.ENCRYPT, ROTATED))
    assert rotating is not None
    assert SUCCESSOR in rotating.hint


def test_decryption_warns_once_the_key_is_deprecated_or_expired() -> None:
    assert not warns_when_decrypting(ACTIVE, Instant(EXPIRES - 1))
    assert not warns_when_decrypting(ROTATING, Instant(OVERLAP_ENDS - 1))
    assert warns_when_decrypting(ACTIVE, EXPIRES)
    assert warns_when_decrypting(ROTATING, OVERLAP_ENDS)


@pytest.mark.parametrize(
    ("subject", "within", "before_the_end", "due"),
    [
        (ACTIVE, 7 * DAY, 7 * DAY + 1, False),
        (ACTIVE, 7 * DAY, 7 * DAY, True),
        (ACTIVE, 7 * DAY, 0, True),
        (ACTIVE, 7 * DAY, -400 * DAY, True),
        (ACTIVE, 20 * DAY, 10 * DAY + 1, False),  # a third of the lifetime, however much is asked for
        (ACTIVE, 20 * DAY, 10 * DAY, True),
        (ACTIVE, 0, 1, False),
        (ACTIVE, 0, 0, True),
        (key(expires_at=Instant(BORN + 3 * 3600)), 7 * DAY, 3601, False),
        (key(expires_at=Instant(BORN + 3 * 3600)), 7 * DAY, 3600, True),
        (ROTATING, 7 * DAY, 0, False),
        (key(successor=SUCCESSOR), 7 * DAY, 0, False),
        (PENDING, 7 * DAY, 0, False),
        (REVOKED, 7 * DAY, 0, False),
        (DESTROYED, 7 * DAY, 0, False),
    ],
)
def test_due(subject: ManagedKey, within: int, before_the_end: int, due: bool) -> None:
    assert is_due(subject, Instant(subject.expires_at - before_the_end), Seconds(within)) is due


@pytest.mark.parametrize(
    ("subject", "now", "may"),
    [
        (ACTIVE, EXPIRES, False),
        (ACTIVE, DECRYPTS_UNTIL - 1, False),
        (ACTIVE, DECRYPTS_UNTIL, True),
        (ROTATING, OVERLAP_ENDS, False),
        (ROTATING, DECRYPTS_UNTIL - 1, False),
        (ROTATING, DECRYPTS_UNTIL, True),
        (key(rotated_at=ROTATED, overlap_ends_at=DECRYPTS_UNTIL + 1), DECRYPTS_UNTIL, False),
        (PENDING, DECRYPTS_UNTIL, False),
        (REVOKED, BORN, True),
        (DESTROYED, DECRYPTS_UNTIL, False),
    ],
)
def test_candidates_of_cleanup(subject: ManagedKey, now: Instant, may: bool) -> None:
    assert may_be_destroyed(subject, now) is may


def test_usable_means_pending_active_rotating() -> None:
    usable = {
        status_at(one, ROTATED): is_usable(one, ROTATED) for one in (PENDING, ACTIVE, ROTATING, REVOKED, DESTROYED)
    }
    usable[Status.EXPIRED] = is_usable(ACTIVE, EXPIRES)
    usable[Status.DEPRECATED] = is_usable(ROTATING, OVERLAP_ENDS)
    assert {status for status, is_one in usable.items() if is_one} == {Status.PENDING, Status.ACTIVE, Status.ROTATING}
    assert set(usable) == set(Status)


ORDER = [Status.ACTIVE, Status.ROTATING, Status.DEPRECATED, Status.EXPIRED, Status.REVOKED, Status.DESTROYED]
TIMES = st.integers(0, 400 * DAY).map(lambda after: Instant(BORN + after))
KEYS = st.builds(
    key,
    expires_at=TIMES,
    decrypt_until=TIMES,
    rotated_at=st.none() | TIMES,
    overlap_ends_at=st.none() | TIMES,
    revoked_at=st.none() | TIMES,
    destroyed_at=st.none() | TIMES,
)


@given(KEYS, TIMES, TIMES)
def test_no_state_goes_back_as_time_goes_on(subject: ManagedKey, one: Instant, other: Instant) -> None:
    before, after = sorted((one, other))
    assert ORDER.index(status_at(subject, before)) <= ORDER.index(status_at(subject, after))


@given(KEYS, TIMES, TIMES, st.sampled_from([Use.ENCRYPT, Use.DECRYPT]))
def test_what_was_refused_once_stays_refused(subject: ManagedKey, one: Instant, other: Instant, use: Use) -> None:
    before, after = sorted((one, other))
    if error_of(lambda: must_allow(subject, use, before)) is not None:
        assert error_of(lambda: must_allow(subject, use, after)) is not None


@given(KEYS, TIMES, TIMES)
def test_a_candidate_of_cleanup_stays_one_until_it_is_destroyed(
    subject: ManagedKey, one: Instant, other: Instant
) -> None:
    before, after = sorted((one, other))
    if may_be_destroyed(subject, before):
        assert may_be_destroyed(subject, after)


@given(KEYS, TIMES, st.integers(0, 60 * DAY))
def test_due_is_never_earlier_than_asked_nor_than_a_third_of_the_lifetime(
    subject: ManagedKey, now: Instant, within: int
) -> None:
    if is_due(subject, now, Seconds(within)):
        assert subject.expires_at - now <= within
        assert 3 * (subject.expires_at - now) <= subject.lifetime
        assert is_due(subject, Instant(now + DAY), Seconds(within))


def test_by_default_a_key_is_due_in_its_last_week() -> None:
    assert DEFAULT_WITHIN == 7 * DAY
    assert is_due(ACTIVE, Instant(EXPIRES - 7 * DAY))
    assert not is_due(ACTIVE, Instant(EXPIRES - 7 * DAY - 1))


def test_binding_and_algorithm_in_words() -> None:
    assert (ACTIVE.binding, ACTIVE.algorithm) == ("machine", "AES-256-GCM-SIV")
    assert key(license_tag="0a1b2c3d").binding == "machine+license"
