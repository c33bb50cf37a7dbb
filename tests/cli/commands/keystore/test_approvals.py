"""The approval policy and the unmodified program: no other command, name or option is a way round it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.approvals.approvers import ADA, needs_ssh_keygen, write_keys
from tests.program import Program

pytestmark = needs_ssh_keygen


@pytest.fixture
def program(program: Program) -> Program:
    """A keystore with a key and a container, whose policy lets Ada approve."""
    program.generate("llama", no_license=True)
    write_keys(program.folder, ADA)
    (program.folder / "llama.bin").write_bytes(b"weights")
    program.ok("encrypt-model", "llama.bin", "--key", "llama")
    return program


def require(program: Program, *operations: str) -> None:
    words = [word for each in operations for word in ("--require", f"{each}=1")]
    program.ok("approvals", "policy", *words, "--approver", "ada=ada.pub")


def approve(program: Program, number: int) -> None:
    text = program.json("approvals", "export", str(number))["result"]["text"]
    (program.folder / "plan.sig").write_bytes(ADA.sign(text.encode()))
    program.ok("approvals", "add", "plan.sig")


def test_plaintext_to_a_pipe_is_held_back(program: Program) -> None:
    require(program, "decrypt-out")

    for words in (
        ("decrypt-model", "llama.bin.ttm", "-o", "-"),
        ("decrypt-model", "llama.bin.ttm", "-o", "out.bin", "--operation-id", "nightly"),
    ):
        done = program.run(*words)
        assert (done.returncode, done.stdout) == (5, "")
    assert not (program.folder / "out.bin").exists()
    approve(program, 1)
    done = program.run("--approval", "1", "decrypt-model", "llama.bin.ttm", "-o", "-")
    assert (done.returncode, done.stdout) == (0, "weights")


def test_a_program_that_copies_gets_nothing(program: Program) -> None:
    require(program, "decrypt-out")

    done = program.run("exec-model", "llama.bin.ttm", "--json", "--", "cp", "{}", "stolen.bin")

    assert done.returncode == 125
    assert "needs-approval" in done.stderr
    assert not (program.folder / "stolen.bin").exists()


def test_old_names_are_under_it_too(program: Program, tmp_path: Path) -> None:
    require(program, "node-add", "distribute-new")
    program.ok("fleet", "init", "office")
    for name in ("shed", "yard"):
        (tmp_path / name).mkdir()
        node = Program(tmp_path / name)
        node.ok("fleet", "init", name, "--role", "node")
        node_id = node.json("fleet", "card", "-o", f"../{name}.card")["result"]["node_id"]
        assert program.run("node", "add", f"{name}.card", "--expect", node_id).returncode == 5
    approve(program, 1)
    node_id = Program(tmp_path / "shed").json("fleet", "card")["result"]["node_id"]
    program.ok("node", "add", "shed.card", "--expect", node_id, "--approval", "1")

    assert program.run("distribute", "llama", "--to", "shed", "--via", "spool:spool").returncode == 5


def test_to_forget_a_container_is_no_way_to_destroy_its_key(program: Program) -> None:
    require(program, "forget", "destroy")
    (file_id,) = program.ok("models", "list", "-q").split()
    program.ok("revoke", "--model", "llama", "--reason", "test", "--yes")

    assert program.run("models", "forget", file_id, "--yes").returncode == 5
    assert not program.json("cleanup", "--after", "0s", "--yes")["changed"]
    approve(program, 1)
    program.ok("models", "forget", file_id, "--yes", "--approval", "1")
    done = program.json("cleanup", "--after", "0s", "--yes", "--approval", "1")
    assert [each["code"] for each in done["warnings"]] == [], "an approval that was used before needs no word"
    done = program.json("cleanup", "--dry-run", "--approval", "9")
    assert [each["message"] for each in done["warnings"]] == [
        "approval 9 was not used: nothing that was done needs one; run tiktrue-keys approvals list"
    ]
    assert program.run("cleanup", "--yes").returncode == 5
    program.ok("cleanup", "--dry-run")


def test_a_restore_shows_what_it_would_do_without(program: Program) -> None:
    program.ok("backup", "early.db")
    require(program, "restore-over")

    program.ok("restore", "early.db", "--dry-run")
    assert program.run("restore", "early.db", "--yes").returncode == 5
    assert program.run("restore", "early.db", "--yes", "--keystore", "elsewhere").returncode == 5
    approve(program, 1)
    program.ok("restore", "early.db", "--yes", "--approval", "1")
    assert program.json("approvals", "policy")["result"]["require"] == {"restore-over": 1}


def test_shares_of_an_escrow_remove_the_policy(program: Program) -> None:
    shares = program.json("escrow", "create", "-o", "shares", "--shares", "1", "--threshold", "1")["result"]["files"]
    require(program, "destroy")

    program.ok("escrow", "recover", "--share", shares[0], "--yes", "--reset-policy")

    assert program.json("approvals")["result"]["approvals"] == []
    assert program.json("approvals", "policy")["result"]["approvers"] == []
