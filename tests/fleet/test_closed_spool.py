"""A spool that this side may read and not write, as a mount for reading only is: outages, and nothing is lost."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.processes import Staff
from tests.machines import skip_reason
from tests.program import Program

pytestmark = pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason()))

READ_ONLY = 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"'


@pytest.fixture
def staff(tmp_path: Path) -> Staff:
    return Staff(tmp_path, f"spool:{tmp_path / 'spool'}", {}, ["n1"])


def closed(staff: Staff, program: Program, *words: str, code: int) -> dict[str, Any]:
    """The envelope of a command that sees the spool read-only."""
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", READ_ONLY, str(staff.folder / "spool")]
    done = subprocess.run(
        [*unshare, *program.argv(*words, "--json")],
        env=program.environment,
        cwd=program.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_the_issuer_keeps_what_it_cannot_send(staff: Staff) -> None:
    warned = closed(staff, staff.admin, "fleet", "send", "llama", "--all", code=0)
    assert [each["code"] for each in warned["warnings"]] == ["outage"]
    refused = closed(staff, staff.admin, "fleet", "sync", code=12)
    assert "read-only" in refused["error"]["message"]
    assert staff.admin.json("fleet", "sync", code=7)["result"]["envelopes"] == 2


def test_a_node_takes_in_what_it_cannot_acknowledge(staff: Staff) -> None:
    staff.admin.ok("fleet", "send", "llama", "--all")
    outage = closed(staff, staff.nodes["n1"], "fleet", "receive", code=12)
    assert outage["error"]["hint"]
    assert [each["model_id"] for each in outage["result"]["keys"]] == ["llama"]
    assert staff.nodes["n1"].json("show", "llama")["ok"]
    assert staff.admin.json("fleet", "sync", code=7)["result"]["acknowledged"] == []
    assert staff.nodes["n1"].json("fleet", "receive")["changed"] is False
    assert staff.admin.json("fleet", "sync")["result"]["acknowledged"] == ["n1"]
