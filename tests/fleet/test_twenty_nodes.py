"""Twenty nodes as programs, each on a machine of its own with its own keystore and host secret, watching one spool."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.keystores import folder_in_memory
from tests.machines import REPOSITORY, SERVER, Machine, skip_reason
from tests.program import LICENSE, Program
from tests.waiting import PATIENCE
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.pin import pin

pytestmark = [
    pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason())),
    pytest.mark.slow,
]
NODES = 20
JOIN = """
import sys
from pathlib import Path
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.own_identity import init_node, own_card
from tiktrue_keys.fleet.pin import pin

manager = KeyManager("keystore", host_secret_file="host/secret", pbkdf2_rounds=100_000)
init_node(manager, Path.cwd().name, role="node")
pin(manager, parse_card(Path("../admin.card").read_bytes()), expect=sys.argv[1], role="issuer")
Path("card.new").write_bytes(own_card(manager)[1])
manager.close()
Path("card.new").rename("card")
"""
"""What fleet init, fleet add and fleet card do, in one process: sixty of them take longer than all the rest."""

LIVE = """
set -e
"$1" -c "$2" "$3"
"$1" -m tiktrue_keys fleet receive --watch --via "spool:$4" & watch=$!
until [ -e ../stop ]; do sleep 0.2; done
kill $watch
wait $watch || echo ended in $?
"""


def machine(number: int) -> Machine:
    """One of its kind."""
    return replace(
        SERVER,
        system_uuid=f"4C4C4544-0042-3510-8052-C7C04F4E{number:04X}",
        board_serial=f".7B5RN32.CNFCP0098U{number:04d}.",
        nics=(f"b0:7b:25:9c:12:{number:02x}",),
        disks=(f"naa.55cd2e4151d2{number:04x}",),
        machine_id=f"7d0f5a3b9c2e4f61a8b7c6d5e4f3{number:04x}",
    )


def live(number: int, folder: Path, issuer_id: str) -> subprocess.CompletedProcess[str]:
    """A node's whole life: it joins, watches, and ends when the file `stop` is there."""
    place = folder / f"node-{number:02d}"
    place.mkdir(mode=0o700)
    surroundings = {
        "TIKTRUE_KEYS_HOME": str(place / "keystore"),
        "TIKTRUE_HOST_SECRET_FILE": str(place / "host/secret"),
        "TIKTRUE_LICENSE_KEY": LICENSE,
        "PYTHONPATH": str(REPOSITORY),
    }
    words = ["sh", "-c", LIVE, "sh", sys.executable, JOIN, issuer_id, str(folder / "spool")]
    return machine(number).run(words, env=surroundings, cwd=place)


def pin_all(admin: Program, folder: Path, lives: Sequence[Future[subprocess.CompletedProcess[str]]]) -> None:
    """Pin each node's card as soon as it is there."""
    waiting = {folder / f"node-{number:02d}" / "card" for number in range(NODES)}
    end = time.monotonic() + PATIENCE
    with admin.manager() as manager:
        while waiting and time.monotonic() < end and not any(each.done() for each in lives):
            for path in {path for path in waiting if path.exists()}:
                card = parse_card(path.read_bytes())
                pin(manager, card, expect=card.node_id)
                waiting.remove(path)
            time.sleep(0.1)


def test_a_rotation_and_a_revocation_reach_all_of_them() -> None:
    with folder_in_memory() as folder, ThreadPoolExecutor(NODES) as pool:
        (folder / "admin").mkdir(mode=0o700)
        (folder / "spool").mkdir()
        admin, via = Program(folder / "admin"), f"spool:{folder / 'spool'}"
        first = admin.generate("llama").key_id
        issuer_id = admin.json("fleet", "card", "-o", str(folder / "admin.card"))["result"]["node_id"]
        lives = [pool.submit(live, number, folder, issuer_id) for number in range(NODES)]
        try:
            pin_all(admin, folder, lives)
            admin.ok("fleet", "send", "llama", "--all", "--via", via)
            admin.ok("fleet", "sync", "--wait", "2m", "--via", via)
            rotated = admin.json("rotate", "llama", "--notify-all", "--via", via)
            admin.ok("revoke", first, "--reason", "lost", "--yes", "--via", via)
            status = admin.json("fleet", "sync", "--wait", "2m", "--via", via)["result"]
        finally:
            (folder / "stop").touch()
        assert [(each.result().returncode, each.result().stdout[-13:]) for each in lives] == [
            (0, "ended in 143\n")
        ] * NODES
        assert len({path.read_bytes() for path in folder.glob("node-*/host/secret")}) == NODES
        assert rotated["result"]["rotations"][0]["old"] == first
    assert len(status["nodes"]) == NODES
    assert {(each["issued"], each["acknowledged"], len(each["refusals"])) for each in status["nodes"]} == {(4, 4, 0)}
