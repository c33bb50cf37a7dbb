"""`backup` and `restore` in the unmodified program: what is said, what is asked, what is there afterwards."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from tests.program import Program
from tests.terminal import Terminal

ANOTHER_DISK = Path("/dev/shm")


def test_a_backup_on_another_disk_is_not_warned_about(program: Program) -> None:
    if not os.access(ANOTHER_DISK, os.W_OK) or ANOTHER_DISK.stat().st_dev == program.folder.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    program.generate("m")
    copy = ANOTHER_DISK / f"{program.folder.parent.name}-{program.folder.name}.db"

    try:
        found = program.json("backup", str(copy))
    finally:
        copy.unlink(missing_ok=True)

    assert found["result"]["same_disk"] is False
    assert "same-disk" not in {each["code"] for each in found["warnings"]}


def test_a_backup_beside_the_keystore_is(program: Program) -> None:
    program.generate("m")

    found = program.json("backup", "copy.db")

    copy = program.folder / "copy.db"
    assert found["result"]["same_disk"] is True
    assert "same-disk" in {each["code"] for each in found["warnings"]}
    assert (found["result"]["path"], found["result"]["bytes"]) == (str(copy), copy.stat().st_size)
    assert found["result"]["host_secret"] == str(program.folder / "host" / "secret")
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_copy_holds_neither_the_host_secret_nor_a_key(program: Program) -> None:
    program.ok("generate", "m", "--from-file", "-", stdin=bytes(range(100, 132)))
    program.ok("backup", "copy.db")

    copy = (program.folder / "copy.db").read_bytes()

    assert (program.folder / "host" / "secret").read_bytes() not in copy
    assert bytes(range(100, 132)) not in copy


@pytest.mark.parametrize(("answer", "code", "models"), [("y\n", 0, {"m"}), ("n\n", 5, {"m", "later"})])
def test_a_restore_shows_both_newest_records_and_asks(
    program: Program, answer: str, code: int, models: set[str]
) -> None:
    program.generate("m")
    program.ok("backup", "copy.db")
    program.generate("later")
    terminal = Terminal(program, "restore", "copy.db")
    terminal.wait_for("[y/N] ")
    asked = terminal.said
    terminal.type(answer)

    assert terminal.end() == code
    assert "the newest (generate) at" in asked
    assert "with the backup copy.db (epoch 1" in asked
    assert {key["model_id"] for key in program.json("list")["result"]["keys"]} == models


def test_what_was_replaced_is_kept_and_named(program: Program) -> None:
    program.generate("m")
    program.ok("backup", "copy.db")
    program.generate("later")

    found = program.json("restore", "copy.db", "--yes")["result"]

    assert (found["epoch"], found["same_keystore"]) == (2, True)
    assert found["present"]["newest"]["event"] == "generate"
    kept = sqlite3.connect(found["replaced"])
    assert kept.execute("SELECT audit_size FROM state").fetchone() == (found["present"]["audit_size"],)
    kept.close()


def test_a_repeated_restore_is_no_second_one(program: Program) -> None:
    program.generate("m")
    program.ok("backup", "copy.db")
    first = program.json("restore", "copy.db", "--yes", "--operation-id", "once")

    again = program.json("restore", "copy.db", "--yes", "--operation-id", "once")

    assert (first["changed"], again["changed"]) == (True, False)
    assert again["result"]["epoch"] == first["result"]["epoch"] == 2


def test_a_keystore_that_does_not_open_is_replaced_too(program: Program) -> None:
    program.generate("m")
    program.ok("backup", "copy.db")
    older = (program.keystore / "keystore.db").read_bytes()
    program.generate("later")
    (program.keystore / "keystore.db").write_bytes(older)  # behind its high-water mark
    assert program.run("list").returncode == 4

    refused = program.run("restore", "copy.db")
    found = program.json("restore", "copy.db", "--yes")

    assert "does not open: the keystore is older than this machine remembers" in refused.stderr
    assert found["result"]["present_error"]["code"] == "integrity"
    assert "revocations-lost" in {each["code"] for each in found["warnings"]}
    program.ok("list")


def test_a_dry_run_changes_nothing(program: Program) -> None:
    program.generate("m")
    program.ok("backup", "copy.db")
    program.generate("later")

    found = program.json("restore", "copy.db", "--dry-run")

    assert (found["changed"], found["result"]["dry_run"], found["result"]["epoch"]) == (False, True, None)
    assert {key["model_id"] for key in program.json("list")["result"]["keys"]} == {"m", "later"}


def test_a_backup_of_another_keystore_is_warned_about(program: Program) -> None:
    program.generate("m")
    program.ok("backup", "copy.db")
    program.ok("generate", "n", "--keystore", "other")

    found = program.json("restore", "copy.db", "--dry-run", "--keystore", "other")

    assert found["result"]["same_keystore"] is False
    assert "other-keystore" in {each["code"] for each in found["warnings"]}


def test_a_rehearsal_leaves_the_keystore_as_it_is(program: Program) -> None:
    program.generate("m")
    program.ok("backup", "copy.db")
    program.ok("revoke", "--model", "m", "--reason", "later", "--yes")
    keystore = (program.keystore / "keystore.db").read_bytes()

    done = program.json("restore", "copy.db", "--rehearsal", "practice")

    folder = program.folder / "practice"
    assert (done["changed"], done["result"]["rehearsal"], done["result"]["replaced"]) == (True, str(folder), None)
    assert [warning["code"] for warning in done["warnings"]] == ["rehearsal"]
    assert (program.keystore / "keystore.db").read_bytes() == keystore
    status = program.run("status", "--keystore", "practice")
    assert f"rm -r {folder}" in status.stdout
    again = program.json("restore", "copy.db", "--rehearsal", "practice", code=5)
    assert again["error"]["message"].endswith("the folder of a keystore")
