"""A spool or an etcd that others write to, by the program: revocations arrive, and the exit code tells of the rest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fleet.fleet import Fleet, fleet_in_memory
from tests.fleet.processes import ISSUER, Staff
from tests.independent.hostile_etcd import HEADER, answer, server
from tests.keystores import LICENSE
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.own_identity import init_node, own_card
from tiktrue_keys.fleet.pin import pin
from tiktrue_keys.fleet.receive import receive
from tiktrue_keys.fleet.sync import distribute, sync


@pytest.fixture(scope="module")
def staff(tmp_path_factory: pytest.TempPathFactory) -> Staff:
    """An issuer, and a node that has a key for each case."""
    folder = tmp_path_factory.mktemp("carrier")
    made = Staff(folder, f"spool:{folder / 'spool'}", {}, ["n1"])
    KEYS.update(zip(PLANTED, made.key_ids("generate", "batch", "--count", str(len(PLANTED))), strict=True))
    made.admin.ok("fleet", "send", *KEYS.values(), "--all")
    made.nodes["n1"].ok("fleet", "receive")
    made.admin.ok("fleet", "sync")
    return made


def box(staff: Staff) -> Path:
    return staff.folder / "spool" / staff.node_ids[ISSUER]


def a_round_without_a_successor(staff: Staff) -> None:
    (box(staff) / "9999999999").mkdir()


def junk(staff: Staff) -> None:
    planted = box(staff) / "0000000000"
    planted.mkdir()
    (planted / staff.node_ids["n1"]).write_bytes(b"junk\n" * 4096)


def a_link(staff: Staff) -> None:
    os.symlink("/etc", box(staff) / "0000000000")


def a_fifo(staff: Staff) -> None:
    planted = box(staff) / "0000000000"
    planted.mkdir()
    os.mkfifo(planted / staff.node_ids["n1"])


def a_huge_file(staff: Staff) -> None:
    planted = box(staff) / "0000000000"
    planted.mkdir()
    (planted / staff.node_ids["n1"]).touch()
    os.truncate(planted / staff.node_ids["n1"], 1 << 40)


def an_acknowledgement(staff: Staff) -> None:
    path = box(staff) / "acknowledgements" / staff.node_ids["n1"]
    path.unlink()
    os.mkfifo(path)


def the_next_rounds(staff: Staff) -> None:
    for number in range(1, 100):
        if not (box(staff) / f"{number:010d}").exists():
            (box(staff) / f"{number:010d}").touch()


PLANTED: dict[str, tuple[Callable[[Staff], None], int]] = {
    "a round without a successor": (a_round_without_a_successor, 0),
    "4096 lines of junk": (junk, 7),
    "a symbolic link": (a_link, 7),
    "a FIFO": (a_fifo, 7),
    "a huge file": (a_huge_file, 7),
    "a FIFO as acknowledgement": (an_acknowledgement, 0),
    "the next rounds": (the_next_rounds, 7),
}
"""What is planted, and the exit code of receive while it lies there."""
KEYS: dict[str, str] = {}
"""The key that is revoked meanwhile."""


@pytest.fixture
def planted(staff: Staff, request: pytest.FixtureRequest) -> Iterator[None]:
    before = {path.name for path in box(staff).iterdir()}
    PLANTED[request.param][0](staff)
    after = {path.name for path in box(staff).iterdir()}
    yield
    for name in after - before:
        path = box(staff) / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.mark.parametrize("planted", PLANTED, indirect=True)
def test_a_revocation_arrives_beside_what_was_planted(
    staff: Staff, planted: None, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["planted"]
    node, key = staff.nodes["n1"], KEYS[name]
    staff.admin.ok("revoke", key, "--reason", "lost", "--yes")
    said = node.json("fleet", "receive", code=PLANTED[name][1])
    assert said["result"]["received"] == 1
    assert node.json("show", key)["result"]["keys"][-1]["status"] == "revoked"
    assert staff.admin.json("fleet", "sync")["result"]["acknowledged"] == ["n1"]
    again = node.json("fleet", "receive", code=PLANTED[name][1])
    assert (again["result"]["received"], again["changed"]) == (0, False)


def test_a_mistyped_spool_is_an_error_and_is_not_created(staff: Staff) -> None:
    mistyped = staff.folder / "spoool"
    via = ("--via", f"spool:{mistyped}")
    for program, words, code in (
        (staff.admin, ("fleet", "sync", *via), 12),
        (staff.admin, ("fleet", "status", *via), 12),
        (staff.nodes["n1"], ("fleet", "receive", *via), 12),
        (staff.nodes["n1"], ("fleet", "receive", "--watch", *via), 12),
    ):
        done = program.run(*words)
        assert (done.returncode, f"hint: mount it, or create it: mkdir {mistyped}" in done.stderr) == (code, True)
    warned = staff.admin.json("fleet", "send", "llama", "--all", *via)
    assert (warned["result"]["envelopes"], [each["code"] for each in warned["warnings"]]) == (0, ["outage"])
    assert not mistyped.exists()
    assert staff.admin.json("fleet", "sync", code=7)["result"]["envelopes"] == 1


@pytest.mark.parametrize(
    "body", [b"[]", b'{"kvs": null, ' + HEADER + b"}", b'{"kvs": [{"key": "%"}], ' + HEADER + b"}"]
)
def test_an_etcd_that_is_none_is_an_outage(staff: Staff, body: bytes) -> None:
    pytest.importorskip("etcd3gw")
    with server(answer(body)) as port:
        via = ("--via", f"etcd://127.0.0.1:{port}/p")
        assert staff.nodes["n1"].json("fleet", "receive", *via, code=12)["error"]["code"] == "unavailable"
        assert staff.admin.json("fleet", "sync", *via, code=12)["error"]["code"] == "unavailable"


@pytest.fixture
def two() -> Iterator[tuple[Fleet, Path]]:
    """A node of two issuers, each of which has sent a key; and the box of the first one."""
    with fleet_in_memory("n1") as fleet:
        node, second = fleet.nodes["n1"], fleet._desk("second").manager()
        second.generate("qwen", license_key=LICENSE)
        init_node(second, "branch")
        card, issuer = (parse_card(own_card(each)[1]) for each in (node, second))
        pin(second, card, expect=card.node_id)
        kept = {fleet.node_id(fleet.admin): ["llama"]}
        pin(node, issuer, expect=issuer.node_id, role="issuer", models=["qwen"], keeps=kept)
        distribute(second, ["qwen"], every_node=True)
        sync(second, fleet.transport, license_key=LICENSE)
        distribute(fleet.admin, ["llama"], every_node=True)
        fleet.sync()
        yield fleet, fleet.folder / "spool" / fleet.node_id(fleet.admin)


@pytest.mark.parametrize("kind", [os.mkfifo, Path.touch, lambda path: os.symlink("/etc", path)])
def test_the_box_of_one_issuer_does_not_stop_another(two: tuple[Fleet, Path], kind: Callable[[Path], None]) -> None:
    fleet, first = two
    first.rename(first.with_suffix(".aside"))
    kind(first)
    came = receive(fleet.nodes["n1"], fleet.transport, license_key=LICENSE)
    assert came.outage is not None
    assert (came.outage.exit_code, [key.model_id for key in came.keys]) == (12, ["qwen"])
    assert fleet.nodes["n1"].find("qwen").status is Status.ACTIVE

    first.unlink()
    first.with_suffix(".aside").rename(first)
    assert [key.model_id for key in fleet.receive("n1").keys] == ["llama"]
