"""`rebind` before and after a planned repair, on machines that are given."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.keystore.test_bind import in_use, write_something
from tests.core.keystore.test_copied import error_there
from tests.core.machine.test_independence import facts_of
from tests.keystores import LICENSE, Desk, error_of
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.creation import KeyTerms
from tiktrue_keys.core.machine import FactKind
from tiktrue_keys.core.operations.generate import GenerateRequest, generate
from tiktrue_keys.core.operations.keystore_status import keystore_status
from tiktrue_keys.core.operations.rebind import Rebound, rebind
from tiktrue_keys.core.operations.validate import validate
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import RefusedError, TikTrueKeysError, UsageError, WrongLicenseError, WrongMachineError

TWO = facts_of("disk", "naa.55cd2e4151d2f9a7", "nic", "0c:42:a1:5e:77:18")
NEW_CARD = facts_of("disk", "naa.55cd2e4151d2f9a7", "nic", "98:fa:9b:3d:60:12")


@pytest.fixture
def sealed(desk: Desk) -> Desk:
    """A keystore of two facts."""
    with in_use(desk, TWO) as session:
        generate(session, GenerateRequest("m", LICENSE, KeyTerms()), None)
    return desk


def dropped(session: KeystoreSession) -> list[str]:
    return [finding.subject for finding in keystore_status(session, DAY).findings if finding.id == "fact-dropped"]


def test_a_planned_new_card_on_a_machine_of_two_facts(sealed: Desk) -> None:
    assert isinstance(error_there(sealed, NEW_CARD), WrongMachineError)
    with in_use(sealed, TWO) as session:
        planned = rebind(session, None, dry_run=True, operation_id=None, drop=["nic"])
        assert [kind.value for kind in planned.after.kinds] == ["disk"]
        done = rebind(session, LICENSE, dry_run=False, operation_id=None, drop=["nic"])
        assert (done.changed, done.after, dropped(session)) == (True, planned.after, ["nic"])
    with in_use(sealed, NEW_CARD) as session:
        assert dropped(session) == ["nic"]
        again = rebind(session, LICENSE, dry_run=False, operation_id=None)
        assert [kind.value for kind in again.after.kinds] == ["disk", "nic"]
        assert dropped(session) == []
    assert isinstance(error_there(sealed, TWO), WrongMachineError)


def test_a_fact_that_is_not_in_the_binding_is_a_usage_error(sealed: Desk) -> None:
    with in_use(sealed, TWO) as session:
        error = error_of(lambda: rebind(session, LICENSE, dry_run=False, operation_id=None, drop=["wifi"]))
    assert isinstance(error, UsageError)
    assert error.hint == "it is sealed to disk, nic"


def test_what_this_machine_would_not_open_is_refused(desk: Desk) -> None:
    three = facts_of("disk", "naa.55cd2e4151d2f9a7", "nic", "0c:42:a1:5e:77:18", "wifi", "3c:58:c2:a7:19:e6")
    with in_use(desk, three) as session:
        generate(session, GenerateRequest("m", LICENSE, KeyTerms()), None)
    without_a_disk = facts_of("nic", "0c:42:a1:5e:77:18", "wifi", "3c:58:c2:a7:19:e6")
    with in_use(desk, without_a_disk) as session:
        error = error_of(lambda: rebind(session, LICENSE, dry_run=False, operation_id=None, drop=["nic"]))
        assert isinstance(error, RefusedError)
        assert rebind(session, LICENSE, dry_run=False, operation_id=None, drop=["disk"]).changed


def test_a_repetition_with_another_fact_is_refused(sealed: Desk) -> None:
    with in_use(sealed, TWO) as session:
        rebind(session, LICENSE, dry_run=False, operation_id="0123456789abcdef01234567", drop=["nic"])
        again = error_of(lambda: rebind(session, LICENSE, dry_run=False, operation_id="0123456789abcdef01234567"))
    assert isinstance(again, RefusedError)


def test_a_session_that_runs_while_parts_change_looks_again(desk: Desk) -> None:
    server = facts_of("disk", "naa.55cd2e4151d2f9a7", "nic", "0c:42:a1:5e:77:18", "wifi", "3c:58:c2:a7:19:e6")
    new_card = facts_of("disk", "naa.55cd2e4151d2f9a7", "nic", "98:fa:9b:3d:60:12", "wifi", "3c:58:c2:a7:19:e6")
    now = [server]
    session = desk.session(lambda: now[0])
    generate(session, GenerateRequest("m", LICENSE, KeyTerms()), None)
    now[0] = new_card
    assert keystore_status(session, DAY).standing.drift.names() == ()
    desk.clock.forward(seconds=600)
    assert keystore_status(session, DAY).standing.drift.names() == ("nic",)
    now[0] = server
    assert validate(session, (), deep=False).drift.names() == ()
    now[0] = facts_of("wifi", "3c:58:c2:a7:19:e6")
    error = error_of(lambda: validate(session, (), deep=False))
    assert isinstance(error, WrongMachineError)
    assert error.message.endswith("any more without disk, nic")
    session.close()


def awaited(session: KeystoreSession) -> list[str]:
    return [finding.subject for finding in keystore_status(session, DAY).findings if finding.id == "fact-replacing"]


def replace(session: KeystoreSession, *given: str, license_key: str | None = LICENSE, **more: Any) -> Rebound:
    settings = {"dry_run": False, "operation_id": None} | more
    return rebind(session, license_key, replace=given, **settings)


def test_a_named_new_card_opens_beside_the_old_one_and_then_alone(sealed: Desk) -> None:
    with in_use(sealed, TWO) as session:
        planned = replace(session, "nic=98-FA-9B-3D-60-12", license_key=None, dry_run=True)
        assert (planned.changed, [kind.value for kind in planned.replacing]) == (False, ["nic"])
        assert awaited(session) == []
        done = replace(session, "nic=98-FA-9B-3D-60-12")
        assert (done.changed, done.after == done.before, awaited(session)) == (True, True, ["nic"])
        assert not replace(session, "nic=98:fa:9b:3d:60:12").undone
    assert error_there(sealed, TWO) is None
    with in_use(sealed, NEW_CARD) as session:
        assert keystore_status(session, DAY).standing.drift.names() == ()
        assert validate(session, (), deep=False).drift.names() == ()
        assert awaited(session) == []
        write_something(session)
        assert [notice.code for notice in session.notices] == ["replaced"]
    assert isinstance(error_there(sealed, TWO), WrongMachineError), "the old card went with the first command"
    assert error_there(sealed, NEW_CARD) is None


def test_a_new_card_that_never_comes_is_a_finding_until_rebind_undoes_it(sealed: Desk) -> None:
    with in_use(sealed, TWO) as session:
        replace(session, "nic=98:fa:9b:3d:60:12")
        write_something(session)
        assert awaited(session) == ["nic"]
        undone = rebind(session, LICENSE, dry_run=False, operation_id=None)
        assert (undone.changed, [kind.value for kind in undone.undone], awaited(session)) == (True, ["nic"], [])
    assert isinstance(error_there(sealed, NEW_CARD), WrongMachineError)
    assert error_there(sealed, TWO) is None


def test_both_parts_are_replaced_one_after_the_other(sealed: Desk) -> None:
    new_disk = facts_of("disk", "naa.5002538f00aa41c9", "nic", "0c:42:a1:5e:77:18")
    both = facts_of("disk", "naa.5002538f00aa41c9", "nic", "98:fa:9b:3d:60:12")
    with in_use(sealed, TWO) as session:
        replace(session, "nic=98:fa:9b:3d:60:12")
        replace(session, "disk=naa.5002538f00aa41c9")
        assert awaited(session) == ["disk", "nic"]
    for machine in (TWO, NEW_CARD, new_disk, both):
        assert error_there(sealed, machine) is None
    with in_use(sealed, new_disk) as session:
        write_something(session)
        assert awaited(session) == ["nic"]
    assert isinstance(error_there(sealed, NEW_CARD), WrongMachineError)
    with in_use(sealed, both) as session:
        write_something(session)
        assert awaited(session) == []
    assert isinstance(error_there(sealed, new_disk), WrongMachineError)


def test_a_new_card_beside_the_old_one_takes_its_place_at_once(sealed: Desk) -> None:
    beside = facts_of("disk", "naa.55cd2e4151d2f9a7", "nic", "0c:42:a1:5e:77:18", "nic", "98:fa:9b:3d:60:12")
    with in_use(sealed, beside) as session:
        done = replace(session, "nic=98:fa:9b:3d:60:12")
        assert (done.replacing, done.after.value_of(FactKind.NIC)) == ((), "98:fa:9b:3d:60:12")
    assert isinstance(error_there(sealed, TWO), WrongMachineError)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("nic", UsageError),
        ("nic=", UsageError),
        ("nic=not an address", UsageError),
        ("card=98:fa:9b:3d:60:12", UsageError),
        ("wifi=98:fa:9b:3d:60:12", UsageError),  # the keystore is sealed to none
        ("nic=0c:42:a1:5e:77:18", UsageError),  # the one that it is sealed to
        ("nic=52:54:00:12:34:57", RefusedError),
        ("nic=42:01:0a:80:00:02", RefusedError),
        ("disk=nvme.1ae0-6e766d655f636172642d7064-6e766d655f636172642d7064-00000001", RefusedError),
        ("disk=eui.0c42a1fffe5e7718", RefusedError),  # the number of the card
    ],
)
def test_what_is_not_the_number_of_a_new_part_is_refused(
    sealed: Desk, given: str, error: type[TikTrueKeysError]
) -> None:
    with in_use(sealed, TWO) as session:
        found = error_of(lambda: replace(session, given))
        assert type(found) is error
        assert found.hint
        assert awaited(session) == []
        both = error_of(lambda: rebind(session, LICENSE, dry_run=False, operation_id=None, drop=["nic"], replace=["x"]))
        assert isinstance(both, UsageError)


def test_a_replacement_needs_the_license(sealed: Desk) -> None:
    with in_use(sealed, TWO) as session:
        for wrong in (None, "another"):
            error = error_of(lambda wrong=wrong: replace(session, "nic=98:fa:9b:3d:60:12", license_key=wrong))  # type: ignore[misc]
            assert isinstance(error, UsageError | WrongLicenseError)
        assert awaited(session) == []


def test_no_more_slots_than_a_header_holds(desk: Desk) -> None:
    values = ["system-uuid", "ec2f1a90-5b7c-4a1e-9d30-6f0e8b2c4d11", "board-serial", "CNFCP0098U00J1"]
    values += ["nic", "0c:42:a1:5e:77:18", "wifi", "3c:58:c2:a7:19:e6", "disk", "naa.55cd2e4151d2f9a7"]
    new = ["disk=naa.5002538f00aa41c9", "nic=98:fa:9b:3d:60:12", "wifi=a4:bb:6d:01:22:f3"]
    with in_use(desk, facts_of(*values)) as session:
        generate(session, GenerateRequest("m", LICENSE, KeyTerms()), None)
        assert len(replace(session, *new[:2]).replacing) == 2
        with session.read() as (view, _):
            assert len(view.document.slots) == 16
        assert isinstance(error_of(lambda: replace(session, new[2])), RefusedError)
        assert awaited(session) == ["disk", "nic"]
