"""What an operation under the policy runs into: each way in which an approval does not count, and the one in which it
does. `forget` stands for all of them; tests/test_approved_operations.py has each operation.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from tests.core.approvals.approvers import (
    ADA,
    BOB,
    EVE,
    SK_ECDSA,
    SK_ED25519,
    Person,
    approve,
    approved,
    armored,
    needs_ssh_keygen,
    policy_of,
)
from tests.keystores import Desk, desk_in_memory, error_of, events
from tiktrue_keys.core.approvals.plans import get_plan, put_plan
from tiktrue_keys.core.approvals.policy import DESTROY, FORGET
from tiktrue_keys.core.approvals.proposals import MAX_OPEN, Proposal, must_be_approved
from tiktrue_keys.core.keys.keyring import all_key_ids
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations.approvals import add_signature, approval_text, approvals, set_policy
from tiktrue_keys.errors import IntegrityError, NeedsApprovalError, NotFoundError, RefusedError, TikTrueKeysError

pytestmark = needs_ssh_keygen


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    """A keystore with a key, whose policy wants two approvals for forget."""
    manager = desk.manager()
    manager.generate("llama", no_license=True)
    policy_of(manager.session, forget=2)
    return manager


def act(manager: KeyManager, *, subject: str = "x", **arguments: object) -> None:
    """An operation that rests on every key, and records one event."""
    with manager.session.write(new_operation_id()) as transaction:
        names = [(RecordKind.KEY, key_id) for key_id in all_key_ids(transaction.rows)]
        must_be_approved(transaction, Proposal(FORGET, subject, dict(arguments), names))
        transaction.record("forget", detail={"subject": subject})


def refusal(manager: KeyManager, number: int | None, **asked: Any) -> TikTrueKeysError:
    """The error of the operation with that approval; nothing may have happened by it."""
    manager.session.approval = number
    try:
        error = error_of(lambda: act(manager, **asked))
    finally:
        manager.session.approval = None
    assert isinstance(error, RefusedError | NotFoundError), error
    assert ("forget", "ok") not in events(manager)
    return error


def test_without_an_approval_a_plan_is_stored_and_nothing_is_done(manager: KeyManager) -> None:
    error = refusal(manager, None)

    assert isinstance(error, NeedsApprovalError)
    assert (error.exit_code, error.code, error.remedy) == (5, "needs-approval", "needs-approval")
    assert error.about == {"approval": "1"}
    assert events(manager)[-1] == ("approval-plan", "ok")
    (standing,) = approvals(manager.session)
    assert (standing.state, standing.needed, standing.signed) == ("open", 2, ())


def test_two_signatures_let_it_run_once(manager: KeyManager) -> None:
    refusal(manager, None)

    approved(manager.session, 1, lambda: act(manager))

    assert events(manager)[-4:] == [
        ("approval-add", "ok"),
        ("approval-add", "ok"),
        ("approval-use", "ok"),
        ("forget", "ok"),
    ]
    (standing,) = approvals(manager.session)
    assert standing.state == "used"


def test_a_used_approval_is_refused(manager: KeyManager) -> None:
    refusal(manager, None)
    approved(manager.session, 1, lambda: act(manager))
    manager.session.approval = 1

    with pytest.raises(RefusedError, match="approval 1 was used"):
        act(manager)
    with pytest.raises(RefusedError, match="approval 1 was used"):
        approval_text(manager.session, 1)


def test_asking_again_returns_the_same_plan(manager: KeyManager) -> None:
    for _ in range(2):
        assert refusal(manager, None).about == {"approval": "1"}
    assert refusal(manager, None, subject="another").about == {"approval": "2"}

    assert [event for event, _ in events(manager)].count("approval-plan") == 2


def test_a_plan_of_the_same_subject_takes_the_place_of_the_former(manager: KeyManager) -> None:
    refusal(manager, None, path="/a")
    refusal(manager, None, path="/b")

    assert [each.plan.number for each in approvals(manager.session)] == [2]
    assert isinstance(refusal(manager, 1, path="/a"), NotFoundError)


@pytest.mark.parametrize("people", [(ADA,), (ADA, ADA)], ids=["one", "one twice"])
def test_too_few_signatures_are_refused(manager: KeyManager, people: tuple[Person, ...]) -> None:
    refusal(manager, None)
    approve(manager.session, 1, *people)

    error = refusal(manager, 1)

    assert isinstance(error, NeedsApprovalError)
    assert error.message == "approval 1 has 1 of 2 signatures"


def test_one_key_under_two_names_counts_once(desk: Desk) -> None:
    manager = desk.manager()
    manager.generate("llama", no_license=True)
    anne = replace(ADA, name="anne", seed=0)
    anne._key = ADA._key
    policy_of(manager.session, (ADA, BOB, anne), forget=2)
    refusal(manager, None)

    approve(manager.session, 1, ADA, anne)

    assert refusal(manager, 1).message == "approval 1 has 1 of 2 signatures"


def test_an_expired_approval_is_refused(manager: KeyManager, desk: Desk) -> None:
    refusal(manager, None)
    approve(manager.session, 1)
    desk.clock.forward(days=1)

    assert "approval 1 expired at" in refusal(manager, 1).message
    with pytest.raises(RefusedError, match="expired"):
        approval_text(manager.session, 1)
    assert refusal(manager, None).about == {"approval": "2"}


def test_a_second_before_its_end_it_counts(manager: KeyManager, desk: Desk) -> None:
    refusal(manager, None)
    approve(manager.session, 1)
    desk.clock.forward(seconds=86_399)

    approved(manager.session, 1, lambda: act(manager))


def test_the_signature_of_an_expired_plan_is_refused(manager: KeyManager, desk: Desk) -> None:
    refusal(manager, None)
    text = approval_text(manager.session, 1)
    desk.clock.forward(days=1)

    with pytest.raises(RefusedError, match="approval 1 expired"):
        add_signature(manager.session, ADA.sign(text), operation_id=None)


def test_a_row_that_changed_is_named(manager: KeyManager) -> None:
    refusal(manager, None)
    approve(manager.session, 1)
    (key,) = manager.keys()
    manager.export_public(key.key_id)

    error = refusal(manager, 1)

    assert error.message == f"approval 1 does not hold any more: key {key.key_id} changed since"
    assert approvals(manager.session)[0].state == "void"
    with pytest.raises(RefusedError, match="does not hold any more"):
        approval_text(manager.session, 1)


def test_a_row_that_was_added_or_removed_voids_it(manager: KeyManager) -> None:
    refusal(manager, None)
    approve(manager.session, 1)
    manager.generate("second", no_license=True)

    assert "changed since" in refusal(manager, 1).message


@pytest.mark.parametrize("asked", [{"subject": "y"}, {"path": "/b"}], ids=["subject", "argument"])
def test_another_request_is_refused(manager: KeyManager, asked: dict[str, Any]) -> None:
    refusal(manager, None, path="/a")
    approve(manager.session, 1)

    assert "approval 1 is for forget of x" in refusal(manager, 1, **({"path": "/a"} | asked)).message


def change_plan(manager: KeyManager, **changes: Any) -> None:
    """What no operation does to a stored plan."""
    with manager.session.write(new_operation_id()) as transaction:
        put_plan(transaction.rows, replace(get_plan(transaction.rows, 1), **changes))
        transaction.record("forget", outcome="failed")


def test_another_operation_is_refused(manager: KeyManager) -> None:
    refusal(manager, None)
    approve(manager.session, 1)
    change_plan(manager, kind=DESTROY)

    assert "approval 1 is for destroy of x" in refusal(manager, 1).message


def test_an_approval_of_another_epoch_is_refused(manager: KeyManager) -> None:
    refusal(manager, None)
    approve(manager.session, 1)
    change_plan(manager, epoch=2)

    assert refusal(manager, 1).message == "approval 1 belongs to epoch 2, and this is epoch 1"
    assert approvals(manager.session)[0].state == "void"
    assert refusal(manager, None).about == {"approval": "2"}


def test_an_approval_that_does_not_exist_is_not_found(manager: KeyManager) -> None:
    assert isinstance(refusal(manager, 7), NotFoundError)


def test_an_approval_is_not_used_where_none_is_needed(manager: KeyManager) -> None:
    manager.session.approval = 7

    manager.generate("second", no_license=True)


@pytest.mark.parametrize("number", [1, 2], ids=["the same number", "another number"])
def test_the_approval_of_another_keystore_is_refused(manager: KeyManager, number: int) -> None:
    refusal(manager, None)
    with desk_in_memory() as other:
        foreign = other.manager()
        foreign.generate("llama", no_license=True)
        policy_of(foreign.session, forget=2)
        for each in range(number):
            refusal(foreign, None, subject="x" if each == number - 1 else "first")
        text = approval_text(foreign.session, number)

    with pytest.raises(IntegrityError, match="of no plan of this keystore"):
        add_signature(manager.session, ADA.sign(text), operation_id=None)


def test_an_edited_plan_is_refused(manager: KeyManager) -> None:
    refusal(manager, None)
    text = approval_text(manager.session, 1)

    for edited in (text.replace(b'"x"', b'"y"'), text.replace(b"epoch 1", b"epoch 2"), text + b"\n"):
        with pytest.raises(IntegrityError, match="of no plan of this keystore"):
            add_signature(manager.session, ADA.sign(edited), operation_id=None)


def test_the_signature_of_a_stranger_is_refused(manager: KeyManager) -> None:
    refusal(manager, None)

    with pytest.raises(RefusedError, match="not an approver's"):
        add_signature(manager.session, EVE.sign(approval_text(manager.session, 1)), operation_id=None)
    with pytest.raises(IntegrityError, match="of no plan"):
        add_signature(manager.session, EVE.sign(approval_text(manager.session, 1), key=ADA.blob), operation_id=None)


def test_a_signature_of_a_former_approver_does_not_count(desk: Desk) -> None:
    manager = desk.manager()
    manager.generate("llama", no_license=True)
    policy_of(manager.session, (ADA, BOB, EVE), forget=2, policy=0)
    refusal(manager, None)
    approve(manager.session, 1, ADA, EVE)

    def remove() -> None:
        set_policy(manager.session, require={}, removed=["eve"], operation_id=None)

    error = error_of(remove)
    assert isinstance(error, NeedsApprovalError)
    approved(manager.session, int(error.about["approval"]), remove, ADA, BOB)

    assert refusal(manager, 1).message == "approval 1 has 1 of 2 signatures"
    with pytest.raises(RefusedError, match="not an approver's"):
        add_signature(manager.session, EVE.sign(approval_text(manager.session, 1)), operation_id=None)


def test_a_policy_that_wants_more_meanwhile_counts(desk: Desk) -> None:
    manager = desk.manager()
    manager.generate("llama", no_license=True)
    policy_of(manager.session, (ADA, BOB), forget=1)
    refusal(manager, None)
    approve(manager.session, 1, ADA)

    def stricter() -> None:
        set_policy(manager.session, require={FORGET: 2}, operation_id=None)

    error_of(stricter)
    approved(manager.session, 2, stricter, BOB)

    assert refusal(manager, 1).message == "approval 1 has 1 of 2 signatures"


@pytest.mark.parametrize("key_type", [SK_ED25519, SK_ECDSA])
def test_a_security_key_approves_when_it_was_touched(desk: Desk, key_type: str) -> None:
    manager, touched = desk.manager(), Person("ada", key_type, counter=9)
    manager.generate("llama", no_license=True)
    policy_of(manager.session, (touched, BOB), forget=2)
    refusal(manager, None)
    text, untouched = approval_text(manager.session, 1), Person("ada", key_type, flags=0)

    with pytest.raises(RefusedError, match="without being touched"):
        add_signature(manager.session, untouched.sign(text), operation_id=None)
    approved(manager.session, 1, lambda: act(manager), touched, BOB)

    (standing,) = approvals(manager.session)
    assert [each.counter for each in standing.signed] == [9, None]


def test_flags_that_were_set_afterwards_do_not_verify(desk: Desk) -> None:
    manager, person = desk.manager(), Person("ada", SK_ED25519, flags=0)
    manager.generate("llama", no_license=True)
    policy_of(manager.session, (person, BOB), forget=2)
    refusal(manager, None)
    signed = person.sign(approval_text(manager.session, 1))
    forged = _with_flags(signed, 1)

    with pytest.raises(IntegrityError, match="of no plan"):
        add_signature(manager.session, forged, operation_id=None)


def _with_flags(signature: bytes, flags: int) -> bytes:
    blob = bytearray(base64.b64decode(b"".join(signature.splitlines()[1:-1])))
    blob[-5] = flags
    return armored(bytes(blob))


def test_there_is_an_end_to_open_plans(manager: KeyManager, desk: Desk) -> None:
    for number in range(MAX_OPEN):
        refusal(manager, None, subject=str(number))

    assert "64 plans are open" in refusal(manager, None, subject="more").message
    desk.clock.forward(days=1)
    assert isinstance(refusal(manager, None, subject="more"), NeedsApprovalError)


def test_ended_plans_are_deleted_after_a_month(manager: KeyManager, desk: Desk) -> None:
    refusal(manager, None)
    desk.clock.forward(days=32)
    refusal(manager, None, subject="later")

    assert [each.plan.number for each in approvals(manager.session)] == [2]


def test_a_plan_of_thousands_of_rows_is_stored(manager: KeyManager) -> None:
    names = [(RecordKind.KEY, f"{'m' * 90}_{number:016x}") for number in range(1_000)]

    def many() -> None:
        with manager.session.write(new_operation_id()) as transaction:
            must_be_approved(transaction, Proposal(FORGET, "many", rows=names))
            transaction.record("forget")

    assert isinstance(error_of(many), NeedsApprovalError)
    assert approval_text(manager.session, 1).count(b" revision 0\n") == 1_000
    approved(manager.session, 1, many)


def test_arguments_that_are_too_long_are_refused(manager: KeyManager) -> None:
    assert "too many arguments" in refusal(manager, None, path="/" * 9_000).message


def test_the_text_of_a_plan_is_ascii_lines(manager: KeyManager) -> None:
    refusal(manager, None, subject="a\noperation destroy\u202e", path="/é\udcff")

    text = approval_text(manager.session, 1).decode("ascii")

    (key,) = manager.keys()
    assert text.splitlines() == [
        "tiktrue-keys/1 approval",
        f"keystore {manager.document().keystore_id.hex()}",
        "epoch 1",
        "number 1",
        "operation forget",
        r'subject "a\noperation destroy\u202e"',
        r'argument path "/\u00e9\udcff"',
        f'row key "{key.key_id}" revision 1',
        "created 2026-11-25T12:00:00Z",
        "expires 2026-11-26T12:00:00Z",
    ]
