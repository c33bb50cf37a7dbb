"""A changed part is sealed to again: by commands that write with the license, by a node without one, once a day."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.core.keystore.test_bind import in_use
from tests.core.keystore.test_copied import error_there
from tests.core.machine.test_independence import facts_of
from tests.keystores import LICENSE, OTHER_LICENSE, Desk, error_of
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.keystore_status import keystore_status
from tiktrue_keys.core.operations.node_reseal import reseal_without_license
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import WrongLicenseError, WrongMachineError

UUID = ("system-uuid", "ec2f1a90-5b7c-4a1e-9d30-6f0e8b2c4d11")
NIC, NEW_NIC = ("nic", "0c:42:a1:5e:77:18"), ("nic", "98:fa:9b:3d:60:12")
DISK, NEW_DISK = ("disk", "naa.55cd2e4151d2f9a7"), ("disk", "naa.5002538f00aa41c9")
SERVER = facts_of(*UUID, *NIC, *DISK)
NEW_CARD = facts_of(*UUID, *NEW_NIC, *DISK)
NEW_PARTS = facts_of(*UUID, *NEW_NIC, *NEW_DISK)


@pytest.fixture
def sealed(desk: Desk) -> Desk:
    """A keystore of three facts, sealed the day before."""
    with in_use(desk, SERVER) as session:
        KeyManager(session=session).generate("llama", license_key=LICENSE)
    desk.clock.forward(days=1)
    return desk


def reseals(session: KeystoreSession) -> list[list[str]]:
    records = KeyManager(session=session).audit_records()
    return [list(record.detail["changed"]) for record in records if record.event == "reseal"]


def drifted(session: KeystoreSession) -> list[str]:
    return [finding.subject for finding in keystore_status(session, DAY).findings if finding.id == "drift"]


COMMANDS: dict[str, Callable[[KeyManager], Any]] = {
    "generate": lambda manager: manager.generate("new", license_key=LICENSE),
    "rotate": lambda manager: manager.rotate(["llama"], license_key=LICENSE),
    "revoke": lambda manager: manager.revoke(["llama"], reason="x", rotate=True, license_key=LICENSE),
    "export": lambda manager: manager.export_public("llama", LICENSE),
    "relicense": lambda manager: manager.relicense(LICENSE, OTHER_LICENSE),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_writes_with_the_license_seals_to_the_new_part_and_says_so(sealed: Desk, name: str) -> None:
    with in_use(sealed, NEW_CARD) as session:
        assert drifted(session) == ["nic"]
        COMMANDS[name](KeyManager(session=session))
        assert reseals(session) == [["nic"]]
        assert [notice.code for notice in session.notices] == ["resealed"]
        assert "nic" in session.notices[0].message
        assert drifted(session) == []
    assert error_there(sealed, NEW_CARD) is None


def test_a_command_without_it_or_with_another_does_not(sealed: Desk) -> None:
    with in_use(sealed, NEW_CARD) as session:
        manager = KeyManager(session=session)
        manager.generate("plain", no_license=True)
        assert isinstance(error_of(lambda: manager.generate("m", license_key="another")), WrongLicenseError)
        manager.accept_clock()
        assert reseal_without_license(session) == ()
        assert (reseals(session), drifted(session)) == ([], ["nic"])


def test_a_second_part_waits_a_day(sealed: Desk) -> None:
    with in_use(sealed, NEW_CARD) as session:
        KeyManager(session=session).rotate(["llama"], license_key=LICENSE)
    with in_use(sealed, NEW_PARTS) as session:
        manager = KeyManager(session=session)
        for _ in range(2):
            manager.rotate(["llama"], license_key=LICENSE)
        assert (reseals(session), drifted(session)) == ([["nic"]], ["disk"])
        sealed.clock.forward(days=1)
        manager.rotate(["llama"], license_key=LICENSE)
        assert (reseals(session), drifted(session)) == ([["nic"], ["disk"]], [])
    assert isinstance(error_there(sealed, SERVER), WrongMachineError)


def test_a_command_that_fails_seals_to_nothing(sealed: Desk) -> None:
    with in_use(sealed, NEW_CARD) as session:
        manager = KeyManager(session=session)
        assert error_of(lambda: manager.generate("llama", license_key=LICENSE)) is not None
        assert (reseals(session), session.notices) == ([], [])


def test_a_keystore_without_a_license_is_sealed_again_when_a_node_receives(desk: Desk) -> None:
    with in_use(desk, SERVER) as session:
        KeyManager(session=session).generate("plain", no_license=True)
    desk.clock.forward(days=1)
    with in_use(desk, NEW_CARD) as session:
        KeyManager(session=session).generate("more", no_license=True)
        assert reseals(session) == []
        assert [notice.code for notice in reseal_without_license(session)] == ["resealed"]
        assert reseal_without_license(session) == ()
        assert (reseals(session), drifted(session)) == ([["nic"]], [])


def test_a_part_that_is_gone_is_drift_and_nothing_to_seal_to(sealed: Desk) -> None:
    without = facts_of(*UUID, *DISK)
    with in_use(sealed, without) as session:
        KeyManager(session=session).rotate(["llama"], license_key=LICENSE)
        assert (reseals(session), drifted(session)) == ([], ["nic"])


def test_a_read_with_the_license_is_no_write(sealed: Desk) -> None:
    with in_use(sealed, NEW_CARD) as session:
        manager = KeyManager(session=session)
        with manager.open_key("llama", LICENSE, use=Use.ENCRYPT):
            assert reseals(session) == []


def test_a_process_that_only_reads_keeps_few_licenses(sealed: Desk) -> None:
    with in_use(sealed, NEW_CARD) as session:
        manager = KeyManager(session=session)
        for _ in range(3):
            with manager.open_key("llama", LICENSE, use=Use.ENCRYPT):
                assert len(session._given) == 1
        for number in range(5):
            assert error_of(lambda number=number: manager.open_key("llama", f"wrong {number}", use=Use.ENCRYPT))  # type: ignore[misc]
        assert len(session._given) == 4
