"""The JSON envelope of every command, held against its checked-in schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.cli.program.test_catalog import leaves
from tests.core.approvals.approvers import ADA, needs_ssh_keygen, write_keys
from tests.program import LICENSE, Program
from tests.roots.transit_server import engine, server
from tiktrue_keys.cli.program.catalog import OLD_NAMES
from tiktrue_keys.cli.view.envelope import encoded, envelope, pieces
from tiktrue_keys.cli.view.outcome import OnDemand
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import ERRORS, NotFoundError, PartialError

SCHEMA_FILE = Path(__file__).parents[3] / "tiktrue_keys" / "cli" / "schema" / "envelope-1.json"
SCHEMA = json.loads(SCHEMA_FILE.read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def check(found: dict[str, Any]) -> dict[str, Any]:
    problems = [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(found)]
    assert problems == [], json.dumps(found, indent=1)
    return found


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A keystore with a rotated and a revoked key and a container; what is done to it here adds to it."""
    program = Program(tmp_path_factory.mktemp("used"))
    program.generate("llama", labels={"team": "research"})
    program.ok("rotate", "llama")
    program.generate("gone", no_license=True)
    program.ok("revoke", "--model", "gone", "--reason", "old", "--yes")
    (program.folder / "model.bin").write_bytes(b"weights" * 1000)
    program.ok("encrypt-model", "model.bin", "--key", "llama")
    program.ok("export-public", "llama", "-o", "llama.pub")
    check(program.json("encrypt-model", "model.bin", "-o", "sealed.ttm", "--recipient", "llama.pub"))
    for name, words in (("old.license", LICENSE), ("new.license", "another license")):
        (program.folder / name).write_text(words)
        (program.folder / name).chmod(0o600)
    shares = check(program.json("escrow", "create", "-o", "shares", "--shares", "2", "--threshold", "2"))
    check(program.json("escrow", "verify", *_shares(shares["result"]["files"])))
    check(program.json("backup", "earlier.db"))
    _add_a_node(program)
    return program


def _shares(files: list[str]) -> list[str]:
    return [word for file in files for word in ("--share", file)]


def _add_a_node(program: Program) -> None:
    """A second keystore below the first one's folder, and each of the two pins the other."""
    (program.folder / "node").mkdir()
    (program.folder / "spool").mkdir()
    node = Program(program.folder / "node")
    program.ok("fleet", "init", "office")
    node.ok("fleet", "init", "shed", "--role", "node")
    ours = program.json("fleet", "card", "-o", "office.card")["result"]["node_id"]
    theirs = node.json("fleet", "card", "-o", "shed.card")["result"]["node_id"]
    check(program.json("fleet", "add", "node/shed.card", "--expect", theirs))
    node.ok("fleet", "add", "../office.card", "--role", "issuer", "--expect", ours)
    check(program.json("fleet", "sync", "--via", f"spool:{program.folder}/spool", code=7))  # no answer yet
    check(node.json("fleet", "receive", "--via", f"spool:{program.folder}/spool"))
    program.ok("fleet", "sync", "--via", f"spool:{program.folder}/spool")


RELICENSE = ["relicense", "--old-license-file", "old.license", "--license-file", "new.license"]

# Every command of the catalogue, with words that make it succeed.
COMMANDS: dict[str, list[str]] = {
    "generate": ["generate", "fresh"],
    "list": ["list", "--all"],
    "show": ["show", "llama"],
    "rotate": ["rotate", "llama", "--dry-run"],
    "revoke": ["revoke", "--model", "llama", "--reason", "r", "--dry-run"],
    "validate": ["validate", "--deep"],
    "cleanup": ["cleanup", "--yes"],
    "encrypt-model": ["encrypt-model", "model.bin", "--key", "llama", "-o", "second.ttm"],
    "decrypt-model": ["decrypt-model", "model.bin.ttm", "-o", "plain.bin"],
    "rewrap-model": ["rewrap-model", "model.bin.ttm"],
    "reencrypt-model": ["reencrypt-model", "model.bin.ttm"],
    "inspect-model": ["inspect-model", "model.bin.ttm"],
    "verify-model": ["verify-model", "model.bin.ttm"],
    "sign-model": ["sign-model", "sealed.ttm", "--expect-root", "{root}"],
    "export-public": ["export-public", "llama", "-o", "again.pub"],
    "models list": ["models", "list"],
    "models scan": ["models", "scan", "."],
    "models release": ["models", "release", "model.bin.ttm", "--dry-run"],
    "models archive": ["models", "archive", "{file_id}"],
    "models forget": ["models", "forget", "--yes", "{file_id}"],
    "audit show": ["audit"],
    "audit verify": ["audit", "verify"],
    "audit checkpoint": ["audit", "checkpoint"],
    "audit prove": ["audit", "prove", "0"],
    "audit export": ["audit", "export", "--output", "log.jsonl"],
    "rekey": ["rekey", "--dry-run"],
    "metrics": ["metrics"],
    "fleet init": ["fleet", "init", "office"],
    "fleet card": ["fleet", "card", "-o", "again.card"],
    "fleet list": ["fleet", "list"],
    "fleet show": ["fleet", "show", "shed"],
    "fleet status": ["fleet", "status"],
    "fleet sync": ["fleet", "sync", "--via", "spool:spool"],
    "status": ["status"],
    "doctor": ["doctor"],
    "binding show": ["binding"],
    "binding list": ["binding", "list"],
    "binding test": ["binding", "test"],
    "rebind": ["rebind"],
    "relicense": [*RELICENSE, "--dry-run"],
    "backup": ["backup", "backup.db"],
    "escrow create": ["escrow", "create", "-o", "new-shares", "--replace", "--yes"],
    "escrow show": ["escrow"],
    "approvals policy": ["approvals", "policy"],
    "approvals list": ["approvals"],
    "restore": ["restore", "earlier.db", "--dry-run"],
    "config show": ["config"],
    "completion": ["completion", "bash"],
}


def test_every_command_is_tried() -> None:
    # exec-model's own words end in another program's; the others are tried where a second keystore is at hand.
    elsewhere = {"exec-model", "fleet send", "fleet receive", "fleet add", "fleet remove", "fleet accept-epoch"}
    elsewhere |= {"escrow verify", "escrow recover"}  # which need shares
    elsewhere |= {"approvals export", "approvals add"}  # which need a plan
    elsewhere |= {"audit check-proof"}  # which needs a proof
    elsewhere |= {"binding add", "binding remove"}  # which need a device
    assert set(COMMANDS) | elsewhere == set(leaves())


def test_a_binding_to_a_device_fits_the_schema(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.generate("llama")
    with server(engine) as (url, _):
        program.variables |= {"TIKTRUE_TRANSIT_URL": url, "TIKTRUE_TRANSIT_TOKEN_FILE": str(tmp_path / "token")}
        (tmp_path / "token").write_text("s.token\n")
        added = check(program.json("binding", "add", "transit", "--alternative"))["result"]
        assert added["ways"] == ["transit", "host-secret"]
        assert check(program.json("binding", "list"))["result"]["ways"][0]["sealed_bytes"] > 0
        (tmp_path / "host/secret").unlink()
        tried = check(program.json("binding", "test", code=8))["result"]["ways"]
        assert [each["opens"] for each in tried] == [True, False]
        check(program.json("binding", "remove", "host-secret", "--dry-run"))
        removed = check(program.json("binding", "remove", "host-secret", "--yes"))["result"]
        assert (removed["ways"], removed["host_secret"]) == (["transit"], "")


def test_a_recovery_fits_the_schema(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.generate("llama")
    files = program.json("escrow", "create", "-o", "shares")["result"]["files"]
    assert check(program.json("escrow", "verify", *_shares(files)))["result"]["verified_shares"] == [1, 2, 3, 4, 5]
    program.ok("backup", "copy.db")
    (tmp_path / "host/secret").unlink()
    recovered = check(program.json("escrow", "recover", "copy.db", *_shares(files[1:4]), "--yes"))
    assert (recovered["result"]["epoch"], recovered["result"]["dry_run"]) == (2, False)


@needs_ssh_keygen
def test_an_approval_fits_the_schema(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.generate("llama", no_license=True)
    write_keys(tmp_path, ADA)
    program.ok("fleet", "init", "office")
    policy = program.json("approvals", "policy", "--require", "escrow=1", "--approver", "ada=ada.pub")
    assert check(policy)["result"]["needed"]["policy"] == 1
    refused = check(program.json("escrow", "create", "-o", "shares", code=5))
    assert refused["error"]["code"] == "needs-approval"
    text = check(program.json("approvals", "export", "1"))["result"]["text"]
    (tmp_path / "plan.sig").write_bytes(ADA.sign(text.encode()))
    assert check(program.json("approvals", "add", "plan.sig"))["result"]["state"] == "approved"
    assert check(program.json("escrow", "create", "-o", "shares", "--approval", "1"))["ok"]
    (listed,) = check(program.json("approvals", "list"))["result"]["approvals"]
    assert listed["state"] == "used"


def test_the_removal_of_a_node_fits_the_schema(tmp_path: Path) -> None:
    office = Program(tmp_path)
    office.generate("llama")
    _add_a_node(office)
    assert check(office.json("fleet", "send", "llama", "--to", "shed", "--via", "spool:spool"))["ok"]
    assert check(office.json("fleet", "remove", "shed", "--yes"))["ok"]
    node = Program(tmp_path / "node")
    done = node.run("fleet", "accept-epoch", "office", "--expect", "00", "--json")
    assert check(json.loads(done.stdout))["exit"] == 3


def test_what_waits_and_a_new_epoch_fit_the_schema(tmp_path: Path) -> None:
    office, via = Program(tmp_path), ("--via", f"spool:{tmp_path}/spool")
    office.generate("llama")
    _add_a_node(office)
    node = Program(tmp_path / "node")
    check(office.json("backup", "earlier.db"))
    check(office.json("rotate", "llama", "--notify", "shed", "--prepublish", "1h", *via))
    waiting = check(office.json("fleet", "status", code=7))["result"]
    assert (len(waiting["deliveries"]), len(waiting["pending"])) == (1, 1)
    assert check(node.json("fleet", "receive", *via))["result"]["received"] == 1

    (office.keystore / "keystore.db").unlink()
    check(office.json("restore", "earlier.db", "--yes"))
    check(office.json("fleet", "send", "llama", "--to", "shed", *via))
    assert check(node.json("fleet", "receive", *via, code=5))["result"]["items"][0]["outcome"] == "blocked"
    head = check(office.json("fleet", "status", *via, code=7))["result"]["epoch"]["head"]
    accepted = check(node.json("fleet", "accept-epoch", "office", "--expect", head))
    assert accepted["result"]["epoch"] == 2


def test_another_programs_status_fits_the_schema(used: Program) -> None:
    done = used.run("exec-model", "--json", "model.bin.ttm", "--", "sh", "-c", "exit 9", "{}")
    assert check(json.loads(done.stderr))["exit"] == 9


@pytest.mark.parametrize("name", COMMANDS)
def test_a_success_fits_the_schema(used: Program, name: str) -> None:
    words = COMMANDS[name]
    if words[-1] == "{file_id}":
        words = [*words[:-1], used.json("models", "list")["result"]["containers"][0]["file_id"]]
    if words[-1] == "{root}":
        words = [*words[:-1], used.json("inspect-model", "sealed.ttm")["result"]["root"]]

    found = check(used.json(*words))

    assert (found["command"], found["ok"], found["exit"]) == (name, True, 0)
    assert found["result"] is not None


@pytest.mark.parametrize(
    "words",
    [
        ["encrypt-model", "folder", "--key", "llama", "--plain", "*.md"],
        ["inspect-model", "folder.ttm"],
        ["verify-model", "folder.ttm"],
        ["rewrap-model", "folder.ttm"],
        ["decrypt-model", "folder.ttm", "-o", "again"],
        ["rotate", "llama"],
        ["rotate", "llama", "--no-rewrap"],
        ["rewrap-model", "--all"],
        ["doctor", "--accept-clock", "--yes"],
        ["validate", "--explain", "--deep"],
        ["binding", "show", "--diff"],
        ["rebind", "--dry-run"],
        ["metrics", "--textfile", "keys.prom"],
    ],
    ids=" ".join,
)
def test_folders_and_other_ways_fit_the_schema(used: Program, words: list[str]) -> None:
    (used.folder / "folder").mkdir(exist_ok=True)
    (used.folder / "folder" / "a.bin").write_bytes(b"weights")
    (used.folder / "folder" / "README.md").write_bytes(b"words")

    assert check(used.json(*words))["ok"] is True


def test_what_a_restore_and_a_relicense_say_fits_the_schema(program: Program) -> None:
    """In a place of their own, for they change what every other command finds."""
    program.generate("llama")
    program.ok("backup", "earlier.db")
    for name, words in (("old.license", LICENSE), ("new.license", "another license")):
        (program.folder / name).write_text(words)
        (program.folder / name).chmod(0o600)

    assert check(program.json(*RELICENSE, "--yes"))["result"]["items"][0]["outcome"] == "relicensed"
    (program.keystore / "keystore.db").write_bytes(b"")
    assert check(program.json("restore", "earlier.db", "--yes"))["result"]["epoch"] == 2


def test_the_schema_knows_the_result_of_every_command() -> None:
    rules = [rule["if"]["properties"].get("command", {}) for rule in SCHEMA["allOf"]]
    known = [name for rule in rules for name in rule.get("enum", [rule["const"]] if "const" in rule else [])]

    assert sorted(known) == sorted([*leaves(), *leaves(OLD_NAMES)])


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["errorCode"]["enum"] == [error.code for error in ERRORS]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["generate"], 2),
        (["show", "nothing"], 3),
        (["generate", "llama"], 5),
        (["validate", "gone"], 10),
        (["list", "--keystore", "/does/not/exist"], 3),
        (["cleanup", "llama", "--yes"], 5),
        (["nonsense"], 2),
    ],
)
def test_a_failure_fits_the_schema(used: Program, words: list[str], code: int) -> None:
    found = check(used.json(*words, code=code))

    assert found["ok"] is False


@pytest.mark.parametrize("word", ["schema", "version", "ok", "exit", "changed", "result", "error", "warnings"])
def test_the_schema_insists_on_each_member(word: str) -> None:
    whole = envelope(command="list", keystore=None, result={"keys": [], "total": 0})
    check(whole)

    del whole[word]

    assert not VALIDATOR.is_valid(whole)


def test_ok_means_exit_0() -> None:
    whole = envelope(command="list", keystore=None, error=NotFoundError("none"))

    assert VALIDATOR.is_valid(whole)
    assert not VALIDATOR.is_valid({**whole, "ok": True})
    assert not VALIDATOR.is_valid({**whole, "exit": 0})


def test_members_that_are_added_later_do_not_break_a_reader() -> None:
    whole = envelope(command="list", keystore=None, result={"keys": [], "total": 0, "more": 1})

    assert VALIDATOR.is_valid({**whole, "added": True})


def test_a_result_an_error_and_warnings_stand_side_by_side() -> None:
    found = envelope(
        command="rotate",
        keystore="/k",
        result={"dry_run": False, "keys": [], "rotations": [], "items": [], "containers": [], "backup": None},
        changed=True,
        operation_id="op",
        error=PartialError("1 of 2 keys failed"),
        warnings=[Notice("stale-containers", "words", "m_0123456789abcdef")],
    )

    check(found)
    assert (found["exit"], found["error"]["hint"]) == (
        7,
        "read the reasons in the list, then run the command again for those",
    )
    assert found["warnings"] == [{"code": "stale-containers", "message": "words", "key_id": "m_0123456789abcdef"}]


def test_the_envelope_is_one_line_of_ascii_whatever_is_in_it() -> None:
    text = encoded(envelope(command="list", keystore="/ké\udcff\n\x1b\x9b\u202e"))

    assert text.isascii()
    assert text.count("\n") == 1
    assert json.loads(text)["keystore"] == "/ké\udcff\n\x1b\x9b\u202e"


def test_where_standard_output_carries_data_the_envelope_goes_to_standard_error(used: Program) -> None:
    done = used.run("audit", "export", "--json")

    assert json.loads(done.stdout.splitlines()[0])["event"] == "keystore-create"
    found = check(json.loads(done.stderr))
    assert found["result"]["lines"] == len(done.stdout.splitlines())


def test_an_error_goes_there_too(used: Program) -> None:
    done = used.run("encrypt-model", "model.bin", "-o", "-", "--key", "nothing", "--json")

    assert (done.returncode, done.stdout) == (3, "")
    assert check(json.loads(done.stderr))["error"]["code"] == "not-found"


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512])
def test_lists_made_on_demand_are_written_as_lists(count: int) -> None:
    items = [{"n": number, "text": "\u00e9\ud800", "inner": [1, None, True]} for number in range(count)]
    whole = {"a": {"keys": items, "none": {}, "total": count}, "warnings": items}
    listed = OnDemand(lambda: iter(items))
    lazy = {"a": {"keys": listed, "none": {}, "total": count}, "warnings": listed}

    assert encoded(lazy) == json.dumps(whole) + "\n"
    assert max(map(len, pieces(lazy))) <= max(16, len(json.dumps(items[-256:])))


def test_warnings_made_on_demand_are_those_of_a_list() -> None:
    notices = [Notice("due", "soon", "k"), Notice("drift", "other")]

    lazy = envelope(command="list", keystore=None, warnings=OnDemand(lambda: notices))
    assert encoded(lazy) == encoded(envelope(command="list", keystore=None, warnings=notices))
