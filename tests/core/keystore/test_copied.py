"""A copied keystore is useless elsewhere: other facts, another host secret, none. Facts are given, not mounted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.keystores import ACTOR, Clock, Desk, error_of
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.keystore.device_secrets import NoDevices
from tiktrue_keys.core.keystore.document import Cost
from tiktrue_keys.core.keystore.make import new_keystore
from tiktrue_keys.core.keystore.open import by_machine, open_keystore
from tiktrue_keys.core.keystore.paths import KeystorePaths
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.machine.facts import Fact, FactKind, MachineFacts
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.errors import InsecureError, IntegrityError, RefusedError, TikTrueKeysError, WrongMachineError

SERVER = {
    FactKind.SYSTEM_UUID: "uuid-1",
    FactKind.BOARD_SERIAL: "board-1",
    FactKind.NIC: "nic-1",
    FactKind.DISK: "disk-1",
    FactKind.MACHINE_ID: "id-1",
}


def machine(values: dict[FactKind, str]) -> MachineFacts:
    return MachineFacts("linux", tuple(Fact(kind, value, "a test") for kind, value in values.items()))


def changed(*kinds: FactKind) -> MachineFacts:
    return machine(SERVER | {kind: f"another {kind.value}" for kind in kinds})


def without(*kinds: FactKind) -> MachineFacts:
    return machine({kind: value for kind, value in SERVER.items() if kind not in kinds})


def make(desk: Desk, facts: MachineFacts) -> None:
    place = KeystorePaths(desk.folder, desk.secret)
    made = new_keystore(
        place,
        facts,
        Clock(),
        cost=Cost(bytes(32), PBKDF2_MIN_ROUNDS),
        actor=ACTOR,
        operation_id=OperationId("make"),
    )
    with made as (keystore, _):
        pass
    keystore.close()


def open_there(desk: Desk, facts: MachineFacts, secret: Path | None = None) -> Keystore:
    place = KeystorePaths(desk.folder, secret)
    return open_keystore(place, by_machine(place, facts, NoDevices()))


def error_there(desk: Desk, facts: MachineFacts, secret: Path | None = None) -> TikTrueKeysError | None:
    def opened() -> None:
        open_there(desk, facts, secret).close()

    return error_of(opened)


@pytest.fixture
def server(desk: Desk) -> Desk:
    make(desk, machine(SERVER))
    return desk


@pytest.mark.parametrize("kind", SERVER)
def test_any_one_part_may_be_another_or_gone(server: Desk, kind: FactKind) -> None:
    assert error_there(server, changed(kind)) is None
    assert error_there(server, without(kind)) is None


@pytest.mark.parametrize("others", [(FactKind.NIC, FactKind.DISK), (FactKind.SYSTEM_UUID, FactKind.BOARD_SERIAL)])
def test_two_parts_may_not(server: Desk, others: tuple[FactKind, FactKind]) -> None:
    for facts in (changed(*others), without(*others), machine({})):
        error = error_there(server, facts)
        assert isinstance(error, WrongMachineError)
        assert error.remedy == "machine-changed"


def test_an_operating_system_on_a_new_disk_opens_by_the_other_hardware(server: Desk) -> None:
    assert error_there(server, changed(FactKind.DISK, FactKind.MACHINE_ID)) is None
    assert isinstance(error_there(server, changed(FactKind.DISK, FactKind.NIC)), WrongMachineError)


def test_another_host_secret_is_the_wrong_machine_and_the_hint_names_its_place(server: Desk) -> None:
    server.secret.write_bytes(bytes(32))
    error = error_there(server, machine(SERVER))
    assert isinstance(error, WrongMachineError)
    assert str(server.secret) in error.hint


def test_without_the_host_secret_it_is_the_wrong_machine_and_none_is_made(server: Desk) -> None:
    server.secret.unlink()
    error = error_there(server, machine(SERVER))
    assert isinstance(error, WrongMachineError)
    assert str(server.secret) in error.hint
    assert not server.secret.exists()
    with server.manager() as manager:
        assert isinstance(error_of(lambda: manager.generate("m", license_key="a license")), WrongMachineError)
    assert not server.secret.exists()


def test_the_named_host_secret_goes_before_the_one_that_the_keystore_names(server: Desk, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    server.secret.rename(moved)
    assert error_there(server, machine(SERVER), moved) is None
    error = error_there(server, machine(SERVER), tmp_path / "nowhere")
    assert isinstance(error, WrongMachineError)
    assert str(server.secret) in error.hint


def test_a_copied_folder_with_both_inside_does_not_come_to_be(desk: Desk) -> None:
    desk.secret = desk.folder / "secret"
    with desk.manager() as manager:
        assert isinstance(error_of(lambda: manager.generate("m", license_key="a license")), InsecureError)
    assert not desk.secret.exists()


def test_a_keystore_whose_facts_are_all_readable_elsewhere_needs_the_host_secret_still(
    server: Desk, tmp_path: Path
) -> None:
    copy = Desk(tmp_path / "copy")
    copy.folder.parent.mkdir()
    shutil.copytree(server.folder, copy.folder)
    server.secret.unlink()
    assert isinstance(error_there(copy, machine(SERVER)), WrongMachineError)


@pytest.mark.parametrize("facts", [machine({}), machine({FactKind.MACHINE_ID: "id-1"})], ids=["none", "machine-id"])
def test_a_machine_with_nothing_to_bind_to_leans_on_the_host_secret(desk: Desk, facts: MachineFacts) -> None:
    make(desk, facts)
    assert error_there(desk, facts) is None
    desk.secret.write_bytes(bytes(32))
    assert isinstance(error_there(desk, facts), WrongMachineError)


HEADER_EDITS: dict[str, tuple[list[str | int], object]] = {
    "a host secret's path with a zero byte": (["host_secret", "path"], "/tmp/a\0b"),
    "a host secret's path that is too long": (["host_secret", "path"], "/tmp/" + "x" * 300),
    "a host secret that is a device": (["host_secret", "path"], "/dev/zero"),
    "a host secret that is a folder": (["host_secret", "path"], "/"),
    "an empty path": (["host_secret", "path"], ""),
    "a relative path": (["host_secret", "path"], "secret"),
    "slots that are no list": (["slots"], {"a": 1}),
    "no slots": (["slots"], []),
    "many slots": (["slots"], [{"type": "machine", "facts": [], "salt": "00" * 32, "sealed": ""}] * 17),
    "an unknown fact": (["slots", 0, "facts"], ["shoe-size"]),
    "facts that are text": (["slots", 0, "facts"], "nic"),
    "a fact twice": (["slots", 0, "facts"], ["nic"] * 40),
    "hints that are text": (["slots", 0, "hints"], "a"),
    "a hint too few": (["slots", 0, "hints"], "00"),
    "a seal that is no base64": (["slots", 0, "sealed"], "%"),
    "a short salt": (["slots", 0, "salt"], "00"),
    "a salt in capitals": (["slots", 0, "salt"], "AB" * 32),
    "a fractional epoch": (["epoch"], 1.5),
    "a negative epoch": (["epoch"], -1),
    "an epoch that is true": (["epoch"], True),
    "no rounds": (["costs", 0, "rounds"], 0),
    "no costs": (["costs"], []),
    "another format": (["format"], "tiktrue-keystore/3"),
    "a member more": (["more"], 1),
}


@pytest.mark.parametrize(("path", "value"), HEADER_EDITS.values(), ids=HEADER_EDITS.keys())
def test_a_hostile_header_is_refused_before_anything_is_spent_on_it(
    server: Desk, path: list[str | int], value: object
) -> None:
    (encoded,) = server.rows("SELECT document FROM header")[0]
    header = json.loads(encoded)
    place = header
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    edited = json.dumps(header, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    server.edit(f"UPDATE header SET document = x'{edited.hex()}'")
    twins = machine(SERVER).facts + tuple(Fact(FactKind.NIC, f"nic-{number}", "a test") for number in range(2, 9))
    error = error_there(server, MachineFacts("linux", twins))
    assert isinstance(error, (IntegrityError, WrongMachineError, InsecureError, RefusedError))
