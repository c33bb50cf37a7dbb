"""A keystore that an older program sealed to what is not this machine's alone: it opens, and is sealed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.core.keystore.test_copied import error_there
from tests.core.machine.test_independence import facts_of
from tests.keystores import LICENSE, Desk
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.creation import KeyTerms
from tiktrue_keys.core.machine.facts import FactKind, MachineFacts
from tiktrue_keys.core.machine.independence import judged
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations.generate import GenerateRequest, generate
from tiktrue_keys.core.operations.keystore_status import keystore_status
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import WrongMachineError

UUID, BOARD, NIC, DISK, MACHINE_ID = (kind.value for kind in FactKind if kind not in (FactKind.WIFI, FactKind.GPU))
RANDOM = "ec2f1a90-5b7c-4a1e-9d30-6f0e8b2c4d11"
GCP_DISK = "nvme.1ae0-6e766d655f636172642d7064-6e766d655f636172642d7064-00000001"
AMI, AMI_MAC = "03c00218-044d-053f-d506-000700080009", "18:c0:4d:3f:d5:00"
ID, WWN, CARD = "7d0f5a3b9c2e4f61a8b7c6d5e4f30912", "naa.55cd2e4151d2f9a7", "0c:42:a1:5e:77:18"

CASES: dict[str, tuple[Sequence[str], Sequence[str], Sequence[str]]] = {
    # What the machine shows; what a stranger who has the copied image shows; what is left in the binding.
    "Google Cloud": (
        (UUID, RANDOM, NIC, "42:01:0a:80:00:02", DISK, GCP_DISK),
        (UUID, "5b7cec2f-1a90-4a1e-9d30-6f0e8b2c4d12", NIC, "42:01:0a:80:00:02", DISK, GCP_DISK),
        (UUID,),
    ),
    "AMI's UUID": (
        (UUID, AMI, NIC, AMI_MAC, DISK, WWN),
        (UUID, AMI, NIC, AMI_MAC),
        (DISK, UUID),
    ),
    "AMI's UUID and a card": (
        (UUID, AMI, NIC, AMI_MAC, NIC, CARD, DISK, WWN),
        (UUID, AMI, NIC, AMI_MAC),
        (DISK, NIC, UUID),
    ),
    "Dell's service tag": (
        (UUID, "4c4c4544-0051-3010-8044-b7c04f4a3132", BOARD, ".7Q0DJ12.CNFCP0098U00J1.", NIC, CARD),
        (UUID, "4c4c4544-0051-3010-8044-b7c04f4a3132", BOARD, ".7Q0DJ12.CNFCP0098U00J1."),
        (NIC, UUID),
    ),
    "WSL's bridge": (
        (NIC, "5c:bb:f6:9e:ee:fa"),
        (NIC, "5c:bb:f6:9e:ee:fa"),
        (),
    ),
    "QEMU's second interface": (
        (UUID, RANDOM, NIC, "52:54:00:12:34:57", BOARD, "Default_string"),
        (NIC, "52:54:00:12:34:57", BOARD, "Default_string"),
        (UUID,),
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[MachineFacts, MachineFacts, MachineFacts, list[str]]:
    """The machine as an older program saw it and as it is judged now, a stranger's, and what is left to seal to."""
    shown, stranger, left = CASES[request.param]
    machine_id = (MACHINE_ID, ID)
    return facts_of(*shown, *machine_id), judged(facts_of(*shown, *machine_id)), facts_of(*stranger), list(left)


def test_it_opens_is_named_and_is_sealed_again_by_the_next_command_that_writes(
    desk: Desk, case: tuple[MachineFacts, MachineFacts, MachineFacts, list[str]]
) -> None:
    older, machine, stranger, left = case
    with in_use(desk, older) as session:
        generate(session, GenerateRequest("m", LICENSE, KeyTerms()), None)
        assert {finding.id for finding in keystore_status(session, DAY).findings} & {"shared-fact"} == set()
    assert error_there(desk, stranger) is None, "the copied image opens elsewhere"

    with in_use(desk, machine) as session:
        found = {finding.id for finding in keystore_status(session, DAY).findings}
        assert "shared-fact" in found
        assert write_something(session) == 2
        status = keystore_status(session, DAY)
        assert "shared-fact" not in {finding.id for finding in status.findings}
        borne = [kind.value for kind in status.standing.binding.kinds if kind is not FactKind.MACHINE_ID]
        assert borne == left
    with in_use(desk, machine) as session:
        assert write_something(session) == 1, "it is sealed once"
    assert error_there(desk, machine) is None
    assert isinstance(error_there(desk, stranger), WrongMachineError)


@contextmanager
def in_use(desk: Desk, facts: MachineFacts) -> Iterator[KeystoreSession]:
    """A session on that machine, closed at the end."""
    session = desk.session(lambda: facts)
    try:
        yield session
    finally:
        session.close()


def write_something(session: KeystoreSession) -> int:
    """A command that writes, without a license, in a second process as it were; returns how many records it left."""
    with session.read() as (view, _):
        before = view.audit.size
    with session.write(new_operation_id()) as transaction:
        transaction.record("clock-accept")
    with session.read() as (view, _):
        return view.audit.size - before
