"""`rebind` before and after a planned repair, on machines that are given."""

from __future__ import annotations

import pytest

from tests.core.keystore.test_bind import in_use
from tests.core.keystore.test_copied import error_there
from tests.core.machine.test_independence import facts_of
from tests.keystores import LICENSE, Desk, error_of
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.creation import KeyTerms
from tiktrue_keys.core.operations.generate import GenerateRequest, generate
from tiktrue_keys.core.operations.keystore_status import keystore_status
from tiktrue_keys.core.operations.rebind import rebind
from tiktrue_keys.core.operations.validate import validate
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import RefusedError, UsageError, WrongMachineError

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
