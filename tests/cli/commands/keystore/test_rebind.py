"""`rebind` and `binding show --diff` on machines whose parts are replaced: the unmodified program, real namespaces."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.machines import OTHER_SERVER, REPOSITORY, SERVER, Machine, skip_reason
from tests.program import LICENSE
from tiktrue_keys.cli.view.binding import binding_advice
from tiktrue_keys.core.fingerprint import Anchor, Binding
from tiktrue_keys.core.machine import FactKind

pytestmark = pytest.mark.skipif(skip_reason() is not None, reason=skip_reason() or "")

NEW_BOARD = replace(SERVER, board_serial=OTHER_SERVER.board_serial)
NEW_BOARD_AND_DISK = replace(NEW_BOARD, disks=OTHER_SERVER.disks)
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The program on a machine, in one place; its envelope, after a look at its exit code."""
    tmp_path.chmod(0o700)

    def on(machine: Machine, *words: str, code: int = 0, license_key: str | None = LICENSE) -> dict[str, Any]:
        environment = {
            "PYTHONPATH": str(REPOSITORY),
            "TIKTRUE_KEYS_HOME": str(tmp_path / "keystore"),
            "TIKTRUE_HOST_SECRET_FILE": str(tmp_path / "host" / "secret"),
        }
        if license_key is not None:
            environment["TIKTRUE_LICENSE_KEY"] = license_key
        done = machine.run([sys.executable, "-m", "tiktrue_keys", *words, "--json"], env=environment, cwd=tmp_path)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return on


def codes(found: dict[str, Any]) -> set[str]:
    return {each["code"] for each in found["warnings"]}


def test_a_new_board_is_drift_until_rebind(run: Run) -> None:
    run(SERVER, "generate", "m")
    before = run(NEW_BOARD, "binding", "show", "--diff")
    planned = run(NEW_BOARD, "rebind", "--dry-run", license_key=None)
    still = run(NEW_BOARD, "binding", "show", "--diff")
    done = run(NEW_BOARD, "rebind")
    after = run(NEW_BOARD, "binding", "show", "--diff")

    assert before["result"]["drift"]["changed"] == still["result"]["drift"]["changed"] == ["board-serial"]
    assert "drift" in codes(before)
    assert (planned["changed"], planned["result"]["dry_run"]) == (False, True)
    assert done["changed"]
    assert done["result"]["before"] == before["result"]["sealed"] == planned["result"]["before"]
    assert done["result"]["after"] == after["result"]["sealed"] == planned["result"]["after"]
    assert done["result"]["drift"] == before["result"]["drift"]
    assert after["result"]["drift"]["drifted"] is False
    assert "drift" not in codes(after) | codes(done)


def test_rebind_in_time_lets_a_second_part_change(run: Run) -> None:
    run(SERVER, "generate", "m")
    run(NEW_BOARD_AND_DISK, "list", code=8)
    run(NEW_BOARD, "rebind")

    assert run(NEW_BOARD_AND_DISK, "list")["ok"]
    run(SERVER, "rebind", "--dry-run")


def test_a_part_that_is_gone_stays_in_the_binding_and_is_warned_about(run: Run) -> None:
    run(SERVER, "generate", "m")
    without_disk = replace(SERVER, disks=())

    diff = run(without_disk, "binding", "show", "--diff")
    done = run(without_disk, "rebind")

    assert diff["result"]["drift"]["missing"] == ["disk"]
    assert done["changed"] is False
    assert "disk" in done["result"]["after"]["facts"]
    assert codes(done) >= {"drift"}


def test_a_part_that_was_added_is_no_drift_and_is_sealed_to(run: Run) -> None:
    run(replace(SERVER, disks=()), "generate", "m")

    diff = run(SERVER, "binding", "show", "--diff")
    done = run(SERVER, "rebind")

    assert (diff["result"]["drift"]["drifted"], diff["result"]["drift"]["added"]) == (False, ["disk"])
    assert "drift" not in codes(diff)
    assert (done["changed"], done["result"]["after"]["machine_borne"]) == (True, 4)


def test_a_fact_is_left_out_before_its_part_is_replaced(run: Run) -> None:
    three = replace(SERVER, board_serial=None)
    new_card_and_disk = replace(three, nics=OTHER_SERVER.nics)
    run(three, "generate", "m")
    asked = run(three, "rebind", "--drop", "nic", code=5)
    assert "two hardware facts (disk, system-uuid), both needed" in asked["error"]["message"]
    assert run(three, "rebind", "--drop", "nic", "--yes")["result"]["after"]["facts"] == [
        "disk",
        "machine-id",
        "system-uuid",
    ]
    assert run(new_card_and_disk, "rebind")["result"]["after"]["machine_borne"] == 3


@pytest.mark.parametrize(("license_key", "code"), [(None, 2), ("wrong", 9)])
def test_a_licensed_keystore_wants_its_license(run: Run, license_key: str | None, code: int) -> None:
    run(SERVER, "generate", "m")

    run(NEW_BOARD, "rebind", code=code, license_key=license_key)

    assert run(NEW_BOARD, "binding", "show", "--diff")["result"]["drift"]["drifted"] is True


@pytest.mark.parametrize("license_key", [None, "some license that the environment happens to hold"])
def test_a_keystore_without_licensed_keys_wants_none(run: Run, license_key: str | None) -> None:
    run(SERVER, "generate", "m", "--no-license")

    assert run(NEW_BOARD, "rebind", license_key=license_key)["changed"] is True


def test_values_are_masked_unless_asked_for(run: Run, tmp_path: Path) -> None:
    run(SERVER, "generate", "m")
    words = [
        sys.executable,
        "-m",
        "tiktrue_keys",
        "binding",
        "show",
        "--diff",
        "--keystore",
        str(tmp_path / "keystore"),
    ]
    environment = {"PYTHONPATH": str(REPOSITORY)}

    masked = NEW_BOARD.run(words, env=environment, cwd=tmp_path)
    plain = NEW_BOARD.run([*words, "-v"], env=environment, cwd=tmp_path)

    assert (masked.returncode, plain.returncode) == (0, 0)
    assert str(SERVER.board_serial) not in masked.stdout
    assert str(NEW_BOARD.board_serial) not in masked.stdout
    (row,) = [line.split() for line in plain.stdout.splitlines() if "changed" in line.split()]
    assert row == ["board-serial", SERVER.board_serial, NEW_BOARD.board_serial, "changed"]
    assert "warning: the board-serial differs from the one that the keystore is sealed to" in masked.stderr


def test_a_part_that_will_come_is_named_before_the_old_one_goes(run: Run) -> None:
    two = Machine(nics=SERVER.nics[:1], disks=SERVER.disks[:1])
    new_card = replace(two, nics=("98:fa:9b:3d:60:12",))
    run(two, "generate", "m")
    done = run(two, "rebind", "--replace", "nic=98:FA:9B:3D:60:12")
    assert (done["changed"], done["result"]["replacing"]) == (True, ["nic"])
    assert "replaced" in codes(run(new_card, "rotate", "m"))
    run(two, "list", code=8)


@pytest.mark.parametrize(
    ("kinds", "unreadable", "stronger", "repair"),
    [
        ("nic disk", ["/a", "/b"], "let this user read /a and /b: for each, add the line z FILE", "--replace FACT=NEW"),
        ("nic disk", [], "nothing more", "--drop FACT"),
        ("nic disk gpu", [], "nothing more", "nothing for one part"),
        ("machine-id", ["/a"], "let this user read /a:", "nothing: no part of the hardware counts"),
    ],
)
def test_what_to_do_about_a_binding_in_two_lines(kinds: str, unreadable: list[str], stronger: str, repair: str) -> None:
    binding = Binding(tuple(Anchor(FactKind(kind), "x") for kind in sorted(kinds.split())))
    (_, first), (_, second) = binding_advice(binding, unreadable)
    assert first.startswith(stronger)
    assert repair in second


def test_the_advice_stands_where_the_binding_is_shown(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    environment = {"PYTHONPATH": str(REPOSITORY), "TIKTRUE_KEYS_HOME": str(tmp_path / "keystore")}
    environment["TIKTRUE_HOST_SECRET_FILE"] = str(tmp_path / "host" / "secret")
    two = Machine(nics=SERVER.nics, disks=SERVER.disks, machine_id=SERVER.machine_id)

    def shown(*words: str) -> str:
        return two.run([sys.executable, "-m", "tiktrue_keys", *words], env=environment, cwd=tmp_path).stdout

    shown("generate", "m", "--no-license")
    text = shown("validate", "--explain")
    assert "both needed: a new disk or network card locks you out" in text
    assert "rebind --replace FACT=NEW names the new part" in text
    assert "not used: it travels with the disk" in shown("binding", "show")
