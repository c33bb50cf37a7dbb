from __future__ import annotations

from types import MappingProxyType

import pytest

from tests.core.approvals.approvers import ADA, BOB, EVE, SK_ED25519, Person
from tiktrue_keys.core.approvals.policy import (
    DECRYPT_OUT,
    DESTROY,
    ESCROW,
    FORGET,
    MAX_APPROVERS,
    NO_POLICY,
    POLICY,
    Policy,
    parse_approver,
    policy_json,
    policy_of,
)
from tiktrue_keys.errors import RefusedError, UsageError

TWO = (ADA.approver, BOB.approver)


def policy(**require: int) -> Policy:
    numbers = {name.replace("_", "-"): count for name, count in require.items()}
    return NO_POLICY.changed(numbers, TWO)


def test_what_the_policy_does_not_name_needs_no_approval() -> None:
    assert NO_POLICY.needed((DESTROY, POLICY, ESCROW)) == 0
    assert policy(destroy=2).needed((FORGET,)) == 0


def test_of_several_operations_the_strictest_counts() -> None:
    assert policy(destroy=2, forget=1).needed((FORGET, DESTROY)) == 2
    assert policy(destroy=2).needed(()) == 0


def test_what_can_undo_the_policy_needs_the_highest_unless_it_is_set() -> None:
    assert policy(destroy=2, forget=1).needed((POLICY,)) == 2
    assert policy(destroy=2, forget=1).needed((ESCROW,)) == 2
    assert policy(destroy=2, policy=1, escrow=1).needed((POLICY, ESCROW)) == 1


def test_a_change_leaves_the_rest() -> None:
    changed = policy(destroy=2, forget=1).changed({"forget": 0, "decrypt-out": 1}, (EVE.approver,), ("bob",))

    assert dict(changed.require) == {DESTROY: 2, DECRYPT_OUT: 1}
    assert [each.name for each in changed.approvers] == ["ada", "eve"]


def test_an_approver_gets_another_key_under_the_same_name() -> None:
    newer = Person("ada", SK_ED25519)

    changed = policy(destroy=2).changed({}, (newer.approver,))

    assert changed.approver_of(newer.blob) == newer.approver
    assert changed.approver_of(ADA.blob) is None


def test_it_is_stored_whole() -> None:
    made = policy(destroy=2, forget=1)

    assert policy_of(policy_json(made)) == made


@pytest.mark.parametrize(
    ("require", "people", "removed"),
    [
        ({"destroy": 3}, (), ()),
        ({"destroy": 2}, (), ("bob",)),
        ({"destroy": 1}, (), ("ada", "bob")),
        ({}, (), ("ada", "bob")),
    ],
)
def test_more_approvals_than_keys_are_refused(
    require: dict[str, int], people: tuple[Person, ...], removed: tuple[str, ...]
) -> None:
    with pytest.raises(RefusedError, match=r"the approvers have \d key"):
        policy(destroy=2).changed(require, (each.approver for each in people), removed)


def test_one_key_under_two_names_is_one_key() -> None:
    again = parse_approver("anne", ADA.line)

    with pytest.raises(RefusedError, match="have 1 key"):
        NO_POLICY.changed({"destroy": 2}, (ADA.approver, again))


@pytest.mark.parametrize(
    ("require", "removed", "words"),
    [
        ({"delete": 1}, (), "'delete' is not an operation"),
        ({"destroy": -1}, (), "cannot need -1"),
        ({"destroy": MAX_APPROVERS + 1}, (), "cannot need 17"),
        ({}, ("eve",), "there is no approver 'eve'"),
    ],
)
def test_nonsense_is_a_usage_error(require: dict[str, int], removed: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        policy(destroy=1).changed(require, (), removed)


def test_there_is_an_end_to_approvers() -> None:
    crowd = [Person(f"p{number}").approver for number in range(MAX_APPROVERS + 1)]

    with pytest.raises(UsageError, match="more than 16"):
        NO_POLICY.changed({}, crowd)
    assert len(NO_POLICY.changed({}, crowd[1:]).approvers) == MAX_APPROVERS


@pytest.mark.parametrize("name", ["", "-ada", "a,b", "a*", "a b", "a=b", "ä", "a" * 64, 'a"'])
def test_an_approvers_name_is_plain(name: str) -> None:
    with pytest.raises(UsageError, match="not an approver's name"):
        parse_approver(name, ADA.line)


def test_it_describes_itself_without_keys() -> None:
    assert Policy(MappingProxyType({"destroy": 1}), TWO[:1]).described() == {
        "require": ["destroy=1"],
        "approvers": [f"ada ssh-ed25519 {ADA.approver.key.fingerprint}"],
    }
