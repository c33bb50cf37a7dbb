"""`escrow` in the unmodified program: on another machine, at a terminal, through a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.machines import OTHER_SERVER, REPOSITORY, SERVER, Machine, skip_reason
from tests.program import LICENSE, Program
from tests.terminal import Terminal
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.recovery.share_files import read_share_file
from tiktrue_keys.recovery.shares import split

TWO_OF_THREE = ("escrow", "create", "-o", "shares", "--shares", "3", "--threshold", "2")


def shared(files: list[str]) -> list[str]:
    return [word for file in files for word in ("--share", file)]


def words_of(file: str) -> str:
    (share,) = read_share_file(Path(file))
    return share.words


@pytest.fixture
def files(program: Program) -> list[str]:
    """The share files of an escrow of which any two of three recover."""
    program.generate("m")
    made: list[str] = program.json(*TWO_OF_THREE)["result"]["files"]
    return made


@pytest.mark.skipif(skip_reason() is not None, reason=skip_reason() or "")
def test_from_one_machine_to_another_of_its_kind(tmp_path: Path) -> None:
    """A server dies: its backup and two of three shares re-create the keystore on another, and only there."""
    tmp_path.chmod(0o700)

    def on(machine: Machine, home: str, *words: str, code: int = 0) -> dict[str, Any]:
        environment = {
            "PYTHONPATH": str(REPOSITORY),
            "TIKTRUE_KEYS_HOME": str(tmp_path / home / "keystore"),
            "TIKTRUE_HOST_SECRET_FILE": str(tmp_path / home / "host/secret"),
            "TIKTRUE_LICENSE_KEY": LICENSE,
        }
        done = machine.run([sys.executable, "-m", "tiktrue_keys", *words, "--json"], env=environment, cwd=tmp_path)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    for home in ("first", "second"):
        (tmp_path / home).mkdir(mode=0o700)
    (tmp_path / "model.bin").write_bytes(b"weights" * 50_000)
    on(SERVER, "first", "generate", "m")
    on(SERVER, "first", "encrypt-model", "model.bin", "--key", "m")
    files = on(SERVER, "first", *TWO_OF_THREE)["result"]["files"]
    on(SERVER, "first", "escrow", "verify", *shared(files[:2]))
    on(SERVER, "first", "backup", "copy.db")
    on(OTHER_SERVER, "first", "list", code=8)

    on(OTHER_SERVER, "second", "restore", "copy.db", "--yes", code=8)
    on(OTHER_SERVER, "second", "escrow", "recover", "copy.db", *shared(files[1:]), "--yes")

    on(OTHER_SERVER, "second", "decrypt-model", "model.bin.ttm", "-o", "plain.bin")
    assert (tmp_path / "plain.bin").read_bytes() == (tmp_path / "model.bin").read_bytes()
    assert on(OTHER_SERVER, "second", "validate", "--deep")["result"]["binding"]["machine_borne"] == 4
    on(SERVER, "second", "list", code=8)
    on(SERVER, "first", "list")


def test_the_holders_come_to_the_terminal_one_by_one(program: Program, files: list[str]) -> None:
    with SecretBuffer.random() as secret:
        stranger = split(secret.view, count=2, threshold=2)[0].words
    terminal = Terminal(program, "escrow", "verify")
    said = []
    for prompt, words in (
        ("Share 1: ", words_of(files[2]).replace(" ", "  ", 3)),
        ("Share 2 of 2: ", words_of(files[2])),
        ("Share 2 of 2: ", "academic " * 33),
        ("Share 2 of 2: ", stranger),
        ("Share 2 of 2: ", words_of(files[0])),
    ):
        terminal.wait_for(prompt)
        said.append(terminal.said)
        terminal.said = ""
        terminal.type(f"{words}\n")

    assert terminal.end() == 0
    assert "Shares 1, 3 open this keystore" in terminal.said
    assert "was entered before" in said[2]
    assert "misspelt" in said[3]
    assert "this share is of escrow" in said[4]
    # Two words at a time: a single one, such as "identify", can be a word of a hint too.
    spoken = " ".join("".join(said).split())
    for file in (files[0], files[2]):
        share = words_of(file).split()
        assert [pair for pair in pairwise(share) if " ".join(pair) in spoken] == []


def test_nobody_is_asked_for_shares_of_what_is_not_there(program: Program) -> None:
    for words, said in ((["escrow", "verify"], "no keystore"), (["escrow", "recover", "nothing.db"], "no backup")):
        terminal = Terminal(program, *words)
        terminal.wait_for(said)
        assert terminal.end() == 3
        assert "Share" not in terminal.said


def test_through_a_pipe_and_back(program: Program) -> None:
    program.generate("m")
    done = program.run("escrow", "create", "-o", "-", "--shares", "2", "--threshold", "2", "--json")
    assert json.loads(done.stderr)["result"]["files"] == []
    assert done.stdout.count("\n") == 6
    program.ok("escrow", "verify", "--share", "-", stdin=done.stdout)
    assert program.json("escrow")["result"]["verified_at"] is not None


def test_no_share_is_said_anywhere_but_in_its_file(program: Program, files: list[str]) -> None:
    words = words_of(files[0])
    for arguments in (
        ["escrow", "verify", *shared(files), "-v"],
        ["escrow", "--json"],
        ["audit", "--json"],
        ["doctor"],
    ):
        done = program.run(*arguments)
        assert done.returncode == 0
        assert words[:60] not in done.stdout + done.stderr
    changed = program.folder / "changed.txt"
    changed.write_text(words.replace(words.split()[4], "notaword"))
    done = program.run("escrow", "verify", "--share", str(changed), "-v")
    assert done.returncode == 2
    assert "notaword" not in done.stderr


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_shares_are_private_under_any_umask(program: Program, umask: int) -> None:
    program.generate("m")
    before = os.umask(umask)
    try:
        made = program.json("escrow", "create", "-o", "shares")["result"]["files"]
    finally:
        os.umask(before)
    assert {os.stat(file).st_mode & 0o777 for file in made} == {0o600}
    assert os.stat(program.folder / "shares").st_mode & 0o777 == 0o700


def test_a_link_into_the_keystore_is_its_folder_too(program: Program) -> None:
    program.generate("m")
    (program.folder / "link").symlink_to(program.keystore)
    for inside in ("link/shares", "keystore/shares", "link", "keystore/../keystore/a"):
        assert program.run("escrow", "create", "-o", inside).returncode == 5
        assert program.run("backup", f"{inside}/copy.db").returncode == 5
    program.ok("escrow", "create", "-o", "keystore/../shares")


def test_standard_output_that_nobody_reads(program: Program) -> None:
    """The shares went nowhere, so there is no escrow."""
    program.generate("m")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            program.argv("escrow", "create", "-o", "-"),
            stdout=full,
            stderr=subprocess.PIPE,
            env=program.environment,
            check=False,
        )
    assert done.returncode == 12
    assert program.run("escrow").returncode == 3
