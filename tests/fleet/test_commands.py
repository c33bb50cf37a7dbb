"""The commands of the fleet as scripts call them: one issuer, two nodes, one spool; codes, hints and JSON."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keystores import folder_in_memory
from tests.program import Program
from tests.waiting import PATIENCE


class Office:
    """An issuer and nodes as programs, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.via = f"spool:{folder / 'spool'}"
        (folder / "spool").mkdir()
        self.admin = self.program("admin")
        self.admin.generate("llama")
        self.nodes = {name: self.program(name) for name in ("n1", "n2")}

    def program(self, name: str) -> Program:
        place = self.folder / name
        place.mkdir(mode=0o700)
        return Program(place)

    def card(self, program: Program, name: str, role: str) -> tuple[str, str]:
        """Node id and card file."""
        node_id = program.json("fleet", "init", name, "--role", role)["result"]["node_id"]
        path = str(self.folder / f"{name}.card")
        assert program.json("fleet", "card", "-o", path)["result"]["node_id"] == node_id
        return node_id, path

    def join(self) -> None:
        admin_id, admin_card = self.card(self.admin, "head-office", "issuer")
        for name, node in self.nodes.items():
            node_id, card = self.card(node, name, "node")
            self.admin.json("fleet", "add", card, "--expect", node_id)
            node.json("fleet", "add", admin_card, "--role", "issuer", "--expect", admin_id)

    def has(self, name: str, model: str) -> None:
        """A node is sent a model's key, and takes it."""
        self.admin.ok("fleet", "send", model, "--to", name, "--via", self.via)
        self.nodes[name].ok("fleet", "receive", "--via", self.via)


@pytest.fixture(scope="module")
def joined() -> Iterator[tuple[Office, Path]]:
    """The office as it was made, and a copy of its files."""
    with folder_in_memory() as folder, folder_in_memory() as copy:
        made = Office(folder)
        made.join()
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        yield made, copy


@pytest.fixture
def office(joined: tuple[Office, Path]) -> Office:
    """The office as it was made, whatever the tests before have done with it."""
    made, copy = joined
    for path in made.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(copy, made.folder, dirs_exist_ok=True)
    return made


def test_pinning_needs_the_node_id(office: Office, tmp_path: Path) -> None:
    place = tmp_path / "stranger"
    place.mkdir(mode=0o700)
    stranger = Program(place)
    stranger.ok("fleet", "init", "stranger", "--role", "node")
    card = str(tmp_path / "stranger.card")
    stranger.ok("fleet", "card", "-o", card)

    asked = office.admin.json("fleet", "add", card, "--yes", code=5)
    assert "--expect" in asked["error"]["hint"]
    wrong = office.admin.json("fleet", "add", card, "--expect", "a" * 32, code=5)
    assert "do not pin" in wrong["error"]["hint"]
    Path(card).write_bytes(Path(card).read_bytes().replace(b"stranger", b"strangex"))
    assert office.admin.json("fleet", "add", card, "--expect", "a" * 32, code=4)["error"]["code"] == "integrity"
    assert office.admin.json("fleet", "add", str(tmp_path / "none"), "--expect", "a", code=3)


def test_names_and_roles(office: Office) -> None:
    listed = office.admin.json("fleet", "list")["result"]["nodes"]
    assert [(each["name"], each["role"]) for each in listed] == [("n1", "node"), ("n2", "node")]
    assert [each["role"] for each in office.nodes["n1"].json("fleet", "list")["result"]["nodes"]] == ["issuer"]
    assert office.admin.json("fleet", "init", "head-office")["changed"] is False
    assert office.admin.json("fleet", "init", "other", code=5)
    assert office.admin.json("fleet", "show", "nobody", code=3)
    assert office.admin.json("fleet", "init", "x/y", code=2)


def test_from_rotation_to_acknowledgement(office: Office) -> None:
    rotated = office.admin.json("rotate", "llama", "--notify-all", "--via", office.via)
    new = rotated["result"]["rotations"][0]["new"]
    status = office.admin.json("fleet", "status", code=7)
    assert "[0/2]" in status["error"]["message"]
    for node in office.nodes.values():
        came = node.json("fleet", "receive", "--via", office.via)
        assert [key["key_id"] for key in came["result"]["keys"]] == [new]
    done = office.admin.json("fleet", "sync", "--via", office.via)
    assert done["result"]["acknowledged"] == ["n1", "n2"]
    assert office.admin.json("fleet", "status")["ok"] is True
    assert office.nodes["n1"].json("show", new)["result"]["keys"][0]["status"] == "active"


def test_distribute_and_revoke(office: Office) -> None:
    key_id = office.admin.json("generate", "qwen")["result"]["keys"][0]["key_id"]
    sent = office.admin.json("fleet", "send", "qwen", "--to", "n1", "--via", office.via)["result"]["envelopes"]
    assert sent == 3, "the key, and a list for each node"
    assert office.nodes["n1"].json("fleet", "receive", "--via", office.via)["changed"] is True
    office.admin.json("revoke", key_id, "--reason", "lost", "--yes", "--via", office.via)
    office.nodes["n1"].json("fleet", "receive", "--via", office.via)
    assert office.nodes["n1"].json("validate", key_id, code=10)
    office.nodes["n2"].json("fleet", "receive", "--via", office.via)
    office.admin.json("fleet", "sync", "--via", office.via)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("fleet", "send", "llama"), 2),
        (("fleet", "send", "llama", "--to", "n1", "--all"), 2),
        (("fleet", "send", "llama", "--to", "nobody"), 3),
        (("fleet", "send", "nothing", "--to", "n1"), 3),
        (("fleet", "receive"), 2),
        (("fleet", "receive", "--via", "pigeon:home"), 2),
        (("fleet", "receive", "--via", "spool:"), 2),
        (("fleet", "sync", "--via", "nothing"), 2),
        (("fleet", "remove", "n1"), 5),
        (("fleet", "accept-epoch", "n1", "--expect", "00"), 3),
        (("fleet", "accept-epoch", "n1"), 2),
        (("rotate", "llama", "--min-acks", "1"), 2),
    ],
)
def test_bad_requests(office: Office, words: tuple[str, ...], code: int) -> None:
    said = office.admin.json(*words, code=code)
    assert said["error"]["hint"] or code in (2, 3)


def test_an_outage_is_a_warning_of_the_rotation(office: Office, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    rotated = office.admin.json("rotate", "llama", "--notify-all", "--via", f"spool:{blocked}/spool")
    assert "outage" in {each["code"] for each in rotated["warnings"]}
    assert office.admin.json("fleet", "sync", "--via", f"spool:{blocked}/spool", code=12)
    office.admin.json("fleet", "sync", "--via", office.via, code=7)
    for node in office.nodes.values():
        assert node.json("fleet", "receive", "--via", office.via)["changed"]
    office.admin.json("fleet", "sync", "--via", office.via)


def test_watch_reports_each_round_and_ends_on_a_signal(office: Office) -> None:
    node = office.nodes["n2"]
    with subprocess.Popen(
        node.argv("fleet", "receive", "--watch", "--via", office.via, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=node.environment,
        cwd=node.folder,
    ) as watching:
        assert watching.stdout is not None
        try:
            new = office.admin.json("rotate", "llama", "--notify-all", "--via", office.via)["result"]["rotations"]
            line = json.loads(watching.stdout.readline())
        finally:
            watching.send_signal(signal.SIGTERM)
        assert watching.wait(timeout=PATIENCE) == 143
    assert [key["key_id"] for key in line["result"]["keys"]] == [new[0]["new"]]
    office.nodes["n1"].json("fleet", "receive", "--via", office.via)
    assert office.admin.json("fleet", "sync", "--wait", "2m", "--via", office.via)["ok"]


def test_the_settings_file_names_the_transport(office: Office) -> None:
    settings = office.admin.folder / ".config/tiktrue-keys/tiktrue-keys.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[fleet]\nvia = "{office.via}"\n')
    settings.chmod(0o600)
    office.has("n2", "llama")
    assert office.admin.json("fleet", "status", code=7)["result"]["nodes"][1]["sent"] == 2
    assert office.admin.json("fleet", "sync", code=7)["result"]["acknowledged"] == ["n2"]
    assert office.admin.json("fleet", "remove", "n2", "--compromised", "--yes")["result"]["key_ids"]


def test_receive_rewraps_what_the_node_has_registered(office: Office, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights" * 100)
    container = str(tmp_path / "model.bin.ttm")
    node = office.nodes["n1"]
    office.has("n1", "llama")
    office.admin.ok("encrypt-model", str(tmp_path / "model.bin"), "--key", "llama")
    node.ok("decrypt-model", container, "-o", str(tmp_path / "before.bin"))
    office.admin.run("fleet", "sync", "--via", office.via)

    # The office leaves its own container alone, so that the node is the one that moves it.
    rotated = office.admin.json("rotate", "llama", "--no-rewrap", "--notify", "n1", "--via", office.via)
    (successor,) = [each["new"] for each in rotated["result"]["rotations"]]
    assert node.json("inspect-model", container)["result"]["wraps"][0]["key_id"] != successor

    came = node.json("fleet", "receive", "--rewrap", "--via", office.via)
    assert [each["outcome"] for each in came["result"]["containers"]] == ["rewrapped"]
    assert [each["key_id"] for each in node.json("inspect-model", container)["result"]["wraps"]] == [successor]
    node.ok("decrypt-model", container, "-o", str(tmp_path / "after.bin"))
    assert (tmp_path / "after.bin").read_bytes() == b"weights" * 100


def test_a_second_issuer_needs_models_that_the_first_has_given_up(office: Office) -> None:
    node, branch = office.nodes["n1"], office.program("branch")
    office.has("n1", "llama")
    branch_id, card = office.card(branch, "branch", "issuer")
    add = ("fleet", "add", card, "--role", "issuer", "--expect", branch_id)
    assert "--models" in node.json(*add, code=5)["error"]["hint"]
    hint = node.json(*add, "--models", "vision/*", code=5)["error"]["hint"]
    line = hint.partition("tiktrue-keys ")[2]
    assert line.startswith("fleet add head-office.card --role issuer --expect ")
    assert " --models llama" in line
    shutil.copy(office.folder / "head-office.card", node.folder)
    assert node.json(*shlex.split(line))["changed"]
    assert node.json(*add, "--models", "vision/*")["result"]["nodes"][0]["models"] == ["vision/*"]
    shown = node.json("fleet", "show", "branch")["result"]
    assert (shown["role"], shown["models"], shown["keys"]) == ("issuer", ["vision/*"], [])
    refused = node.json("generate", "vision/clip", "--no-license", code=5)["error"]
    assert "fleet add CARD --role issuer --models MODEL" in refused["hint"]
    removed = node.json("fleet", "remove", "branch", "--compromised", "--yes")["result"]["nodes"][0]
    assert removed["compromised_at"]
