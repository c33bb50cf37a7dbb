"""An issuer put back from an old copy, and one that was restored honestly, as operators see them: codes and hints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fleet.processes import ISSUER, Staff

NODES = ("n1", "n2")


@pytest.fixture
def staff(tmp_path: Path) -> Staff:
    """Everybody has the first key; a backup and a copy of both of the issuer's folders are of that time."""
    made = Staff(tmp_path, f"spool:{tmp_path / 'spool'}", {}, NODES)
    made.admin.ok("fleet", "send", "llama", "--all")
    deliver(made)
    made.admin.ok("backup", str(tmp_path / "backup.db"))
    for folder in ("keystore", "host"):
        shutil.copytree(made.admin.folder / folder, tmp_path / f"old-{folder}")
    return made


def deliver(staff: Staff) -> None:
    for node in staff.nodes.values():
        node.ok("fleet", "receive")
    staff.admin.ok("fleet", "sync")


def put_back(staff: Staff) -> None:
    for folder in ("keystore", "host"):
        shutil.rmtree(staff.admin.folder / folder)
        shutil.copytree(staff.folder / f"old-{folder}", staff.admin.folder / folder)


def test_an_old_copy_is_refused_and_an_honest_restore_goes_on(staff: Staff) -> None:
    (second,) = staff.key_ids("rotate", "llama", "--notify-all")
    deliver(staff)

    put_back(staff)
    staff.admin.ok("rotate", "llama", "--notify-all")
    for node in staff.nodes.values():
        refused = node.json("fleet", "receive", code=4)
        assert "copied back without a restore" in refused["error"]["hint"]
        assert node.json("show", "llama")["result"]["keys"][-1]["key_id"] == second
    named = staff.admin.json("fleet", "sync", code=4)
    assert "2 nodes hold a conflicting audit history" in named["error"]["message"]
    assert {each["name"] for each in named["result"]["nodes"] if each["conflict"]} == set(NODES)
    assert staff.admin.json("fleet", "status", code=4)["error"]["hint"]

    staff.admin.ok("restore", str(staff.folder / "backup.db"), "--yes")
    (third,) = staff.key_ids("rotate", "llama", "--notify-all")
    head = staff.admin.json("fleet", "status", code=7)["result"]["epoch"]["head"]
    for node in staff.nodes.values():
        waits = node.json("fleet", "receive", code=5)
        assert "fleet accept-epoch head-office --expect HEAD" in waits["error"]["hint"]
        assert (
            "did not begin with the expected head"
            in node.json("fleet", "accept-epoch", ISSUER, "--expect", "0" * 64, code=5)["error"]["message"]
        )
        assert node.json("fleet", "accept-epoch", ISSUER, "--expect", head)["result"] == {
            "node_id": staff.node_ids[ISSUER],
            "epoch": 2,
            "head": head,
        }
        assert node.json("fleet", "receive")["result"]["items"] == [], "what lies there from the past epoch is skipped"
        assert node.json("show", third)["result"]["keys"][-1]["status"] == "active"
    assert staff.admin.json("fleet", "sync")["ok"]
    assert staff.nodes["n1"].json("fleet", "accept-epoch", ISSUER, "--expect", head, code=3)
