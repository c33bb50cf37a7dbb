"""The reader in real namespaces: as root and as nobody, on machines that are not this one."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.machines import OTHER_SERVER, REPOSITORY, SERVER, Machine, Nic, give_to_nobody, skip_reason

pytestmark = pytest.mark.skipif(skip_reason() is not None, reason=skip_reason() or "")

PRINT_FACTS = """
import json, os, time
from tiktrue_keys.core.machine import read_facts
facts = read_facts()
kinds = {}
for fact in facts.facts:
    kinds.setdefault(fact.kind.value, []).append(fact.value)
print(json.dumps({"uid": os.geteuid(), "facts": kinds, "unreadable": facts.unreadable}))
"""


def facts_on(machine: Machine, user: Literal["root", "nobody"] = "root", cwd: Path | None = None) -> dict[str, Any]:
    """What read_facts() gives on a machine, with the user id that it ran under."""
    done = machine.run(
        [sys.executable, "-c", PRINT_FACTS], user=user, cwd=cwd, env={"PYTHONPATH": os.fspath(REPOSITORY)}
    )
    assert (done.returncode, done.stderr) == (0, "")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_root_sees_five_facts() -> None:
    assert facts_on(SERVER) == {
        "uid": 0,
        "facts": {
            "system-uuid": ["4c4c4544-0042-3510-8052-c7c04f4e3332"],
            "board-serial": [".7B5RN32.CNFCP0098U00J1."],
            "nic": ["b0:7b:25:9c:11:40", "b0:7b:25:9c:11:41"],
            "disk": ["naa.55cd2e4151d2f9a7", "naa.55cd2e4151d301c4"],
            "machine-id": ["7d0f5a3b9c2e4f61a8b7c6d5e4f30912"],
        },
        "unreadable": [],
    }


def test_nobody_sees_three_and_the_two_of_the_firmware_are_named() -> None:
    report = facts_on(SERVER, "nobody")
    assert report["uid"] != 0
    assert sorted(report["facts"]) == ["disk", "machine-id", "nic"]
    assert report["unreadable"] == ["/sys/class/dmi/id/product_uuid", "/sys/class/dmi/id/board_serial"]


def test_two_machines_have_no_fact_in_common() -> None:
    one, other = facts_on(SERVER)["facts"], facts_on(OTHER_SERVER)["facts"]
    assert sorted(one) == sorted(other)
    assert not {value for values in one.values() for value in values} & {v for values in other.values() for v in values}


def test_a_machine_with_nothing_shows_nothing_of_the_real_one() -> None:
    assert facts_on(Machine()) == {"uid": 0, "facts": {}, "unreadable": []}


def test_a_bond_a_bridge_and_a_random_address() -> None:
    bond = "b0:7b:25:9c:11:40"
    machine = replace(
        SERVER,
        nics=[
            Nic(bond, assigned=3, bond_member_of=bond),
            Nic("b0:7b:25:9c:11:41", assigned=3, bond_member_of=bond),
            Nic("02:42:9a:1c:55:03", bus_device=False),
            Nic("6e:f1:42:c0:9d:11", assigned=1),
        ],
    )
    assert facts_on(machine)["facts"]["nic"] == [bond, "b0:7b:25:9c:11:41"]


def test_what_nobody_writes_in_its_folder_stays_and_the_input_arrives(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = SERVER.run(["sh", "-c", "cat > kept; id -u; pwd"], user="nobody", cwd=give_to_nobody(home), input="told")
    assert done.stdout.splitlines() == [str(home.stat().st_uid), str(home)]
    assert (home / "kept").read_text() == "told"
    assert (home / "kept").stat().st_uid == home.stat().st_uid != 0


def test_nobody_reaches_the_interpreter_the_repository_and_what_was_named(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "hidden").mkdir()
    report = SERVER.run(
        [sys.executable, "-c", "import sys, os; print(sys.prefix); print(sorted(os.listdir(sys.argv[1])))", tmp_path],
        user="nobody",
        cwd=tmp_path / "one",
        reach=[tmp_path / "two"],
    )
    assert report.stdout.splitlines() == [sys.prefix, "['one', 'two']"], report.stderr


def test_a_folder_can_be_shown_in_the_place_of_another(tmp_path: Path) -> None:
    done = replace(SERVER, folders={"/var/lib": tmp_path}).run(["touch", "/var/lib/made"])
    assert done.returncode == 0
    assert (tmp_path / "made").exists()
    assert not Path("/var/lib/made").exists()


def test_the_tests_own_environment_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTRUE_LICENSE_KEY", "must not leak")
    done = SERVER.run(["sh", "-c", "env; exit 8"], env={"GIVEN": "1"})
    assert done.returncode == 8
    assert "TIKTRUE_LICENSE_KEY" not in done.stdout
    assert "GIVEN=1" in done.stdout.splitlines()


def test_nothing_stays_mounted() -> None:
    before = Path("/proc/self/mountinfo").read_text()
    facts_on(SERVER, "nobody")
    assert Path("/proc/self/mountinfo").read_text() == before
