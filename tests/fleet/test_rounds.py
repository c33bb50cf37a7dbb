"""What commands do around a round with the fleet: its operation id, its transport's end, its place before due keys."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import new_spool
from tests.fleet.processes import Staff, Watcher
from tests.program import LICENSE, Program
from tiktrue_keys.cli.commands.fleet.watch import next_wait
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.own_identity import init_node, own_card
from tiktrue_keys.fleet.pin import pin
from tiktrue_keys.fleet.receive import receive
from tiktrue_keys.fleet.sync import distribute, sync

REPOSITORY = Path(__file__).parents[2]
OPERATION = "0123456789abcdef01234567"
TOLD = """
import time
from tiktrue_keys.fleet.transports.spool import Spool
from pathlib import Path

def open_told(rest, credentials):
    return Told(Path(rest))

class Told(Spool):
    def close(self):
        super().close()
        with open(f"{self.folder}.closed", "a") as log:
            log.write("closed\\n")

    def wait(self, issuer, node_id, seconds):
        with open(f"{self.folder}.waits", "a+") as log:
            log.write(f"{seconds}\\n")
            log.seek(0)
            times = len(log.readlines())
        if times != 2:  # the second time there is news at once
            time.sleep(seconds)
"""


@pytest.fixture(scope="module")
def staff(tmp_path_factory: pytest.TempPathFactory) -> Staff:
    """An issuer and a node over a spool that tells when it is closed, from a package that is only files."""
    folder = tmp_path_factory.mktemp("rounds")
    (folder / "told-1.dist-info").mkdir()
    (folder / "told-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: told\nVersion: 1\n")
    (folder / "told-1.dist-info/entry_points.txt").write_text("[tiktrue_keys.transports]\ntold = told:open_told\n")
    (folder / "told.py").write_text(TOLD)
    variables = {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{folder}"}
    return Staff(folder, f"told:{folder / 'spool'}", {}, ["n1"], variables=variables)


def closings(staff: Staff) -> int:
    log = staff.folder / "spool.closed"
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("fleet", "send", "llama", "--all"), 0),
        (("rotate", "nothing", "--notify-all"), 3),
        (("rotate", "--due"), 0),
        (("fleet", "sync"), 7),
        (("fleet", "sync", "--wait", "0s"), 7),
        (("fleet", "status", "--via"), 7),
    ],
)
def test_a_command_closes_its_transport_once(staff: Staff, words: tuple[str, ...], code: int) -> None:
    before = closings(staff)
    via = [f"told:{staff.folder / 'spool'}"] if words[-1] == "--via" else []
    staff.admin.json(*words, *via, code=code)
    assert closings(staff) == before + 1


def test_a_revocation_and_a_rotation_close_it_too(staff: Staff) -> None:
    (key_id,) = staff.key_ids("generate", "brief")
    before = closings(staff)
    staff.admin.json("revoke", key_id, "--reason", "lost", "--yes")
    staff.admin.json("rotate", "llama", "--notify-all", code=0)
    staff.nodes["n1"].json("fleet", "receive")
    assert closings(staff) == before + 3


@pytest.mark.parametrize("wait", [(), ("--wait", "1s")])
def test_a_round_is_recorded_under_its_operation_id(staff: Staff, wait: tuple[str, ...]) -> None:
    staff.admin.ok("fleet", "send", "llama", "--all")
    staff.nodes["n1"].ok("fleet", "receive")
    with staff.admin.manager() as manager:
        size = manager.audit_size()
    chosen = OPERATION.replace("0", str(len(wait)))
    staff.admin.ok("fleet", "send", "llama", "--all", "--via", f"spool:{staff.folder / 'none' / 'there'}")
    said = staff.admin.json("fleet", "sync", *wait, "--operation-id", chosen, code=7)

    assert said["operation_id"] == chosen
    with staff.admin.manager() as manager:
        records = list(manager.audit_records())[size:]
    ours = {each.event for each in records if each.operation_id == chosen}
    assert {"acknowledge", "distribute", "sent"} <= ours


def test_before_the_due_keys_comes_a_round(staff: Staff) -> None:
    staff.nodes["n1"].ok("fleet", "receive")
    staff.admin.ok("fleet", "sync")
    new = staff.admin.json("rotate", "llama", "--notify-all", "--prepublish", "0s")["result"]["rotations"][0]["new"]
    staff.nodes["n1"].ok("fleet", "receive")
    assert staff.admin.json("show", new)["result"]["keys"][-1]["status"] == "pending"
    due = staff.admin.json("rotate", "--due")
    assert (due["result"]["rotations"], due["warnings"]) == ([], [])
    assert staff.admin.json("show", new)["result"]["keys"][-1]["status"] == "active"


def test_no_trouble_with_the_fleet_stops_the_due_keys(staff: Staff, tmp_path: Path) -> None:
    outage = staff.admin.json("rotate", "--due", "--via", f"spool:{tmp_path}/none/there")
    assert "outage" in {each["code"] for each in outage["warnings"]}
    with staff.admin.manager() as manager:
        distribute(manager, ["llama"], every_node=True)
    unlicensed = staff.admin.without("TIKTRUE_LICENSE_KEY")
    unlicensed.variables["PYTHONPATH"] = staff.admin.variables["PYTHONPATH"]
    trouble = unlicensed.json("rotate", "--due", "--via", f"spool:{tmp_path}")
    assert "not-synced" in {each["code"] for each in trouble["warnings"]}


def test_a_quiet_watch_looks_ever_more_seldom_and_a_disturbed_one_soon() -> None:
    waits = [2.0]
    for _ in range(6):
        waits.append(next_wait(waits[-1], quiet=True))
    assert waits == [2, 4, 8, 16, 32, 60, 60]
    assert next_wait(60, quiet=False) == 2, "within the five seconds that a revocation has"


def test_a_watch_waits_so_long(staff: Staff) -> None:
    """Its first wait ends in silence, its second at once."""
    waits = staff.folder / "spool.waits"
    with Watcher(staff.nodes["n1"]) as watcher:
        until = watcher.soon()
        while not (waits.exists() and waits.read_text().count("\n") >= 3) and time.monotonic() < until:
            time.sleep(0.02)
    assert [float(line) for line in waits.read_text().splitlines()[:3]] == [2, next_wait(2, quiet=True), 2]


def test_past_the_end_of_a_revocation_list(tmp_path: Path) -> None:
    """Both keystores were made 31 days ago; since then the issuer was silent."""
    spool = new_spool(tmp_path)
    programs = {name: tmp_path / name for name in ("admin", "node")}
    for folder in programs.values():
        folder.mkdir(mode=0o700)
    admin, node = (Program(folder) for folder in programs.values())
    with _long_ago(admin) as issuer, _long_ago(node) as there:
        issuer.generate("llama", license_key=LICENSE.encode(), lifetime=300 * DAY)
        init_node(there, "n1", role="node")
        for one, other in ((issuer, there), (there, issuer)):
            card = parse_card(own_card(other)[1])
            name, role = ("n1", "node") if one is issuer else ("head-office", "issuer")
            pin(one, card, expect=card.node_id, name=name, role=role)
        distribute(issuer, ["llama"], every_node=True)
        sync(issuer, spool, license_key=LICENSE.encode())
        receive(there, spool, license_key=LICENSE.encode())
    via = ("--via", f"spool:{spool.folder}")

    warned = node.json("fleet", "receive", *via, code=7)
    assert _warned_of(warned) == ["stale-revocation-list"]
    refused = node.json("fleet", "receive", "--strict", *via, code=11)
    assert "revocation list of issuer 'head-office' expired" in refused["error"]["message"]
    assert "fleet sync" in refused["error"]["hint"]
    admin.json("fleet", "sync", *via, code=7)
    assert _warned_of(node.json("fleet", "receive", "--strict", *via)) == []


def _warned_of(envelope: dict[str, Any]) -> list[str]:
    """The codes of its warnings, without that of 31 silent days where this machine's kernel doubts its clock."""
    return [each["code"] for each in envelope["warnings"] if each["code"] != "clock-unconfirmed"]


def _long_ago(program: Program) -> KeyManager:
    return program.manager(clock=lambda: time.time() - 31 * DAY)
