"""`relicense`: asks, and moves every key of one license to another, or none."""

from __future__ import annotations

import pytest

from tests.program import LICENSE, Program
from tests.terminal import Terminal

OTHER = "another-license"


@pytest.fixture
def licenses(program: Program) -> Program:
    """A keystore with a licensed and an unlicensed key, and both licenses in files."""
    for name, words in (("old", LICENSE), ("new", OTHER)):
        (program.folder / name).write_text(words)
        (program.folder / name).chmod(0o600)
    program.generate("llama")
    program.generate("free", no_license=True)
    return program


def tags(program: Program) -> dict[str, str | None]:
    return {key["model_id"]: key["license_tag"] for key in program.json("list")["result"]["keys"]}


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 5)])
def test_it_asks_on_a_terminal(licenses: Program, answer: str, code: int) -> None:
    before = tags(licenses)
    terminal = Terminal(licenses, "relicense", "--old-license-file", "old", "--license-file", "new")
    terminal.wait_for(f"Move 1 key from license {before['llama']} to the new one, and forget the old one? [y/N] ")
    terminal.type(answer)

    assert terminal.end() == code
    assert (tags(licenses) != before) is (code == 0)


def test_the_new_license_is_asked_for_twice_and_not_echoed(licenses: Program) -> None:
    terminal = Terminal(licenses.without("TIKTRUE_LICENSE_KEY"), "relicense", "--old-license-file", "old", "--yes")
    terminal.wait_for("License: ")
    terminal.type(f"{OTHER}\n")
    terminal.wait_for("License again: ")
    terminal.type(f"{OTHER}\n")

    assert terminal.end() == 0
    assert OTHER not in terminal.said
    assert licenses.run("rotate", "llama", "--license-file", "new").returncode == 0


def test_the_key_itself_stays_so_that_its_containers_open(licenses: Program) -> None:
    (licenses.folder / "model").write_bytes(b"weights")
    licenses.ok("encrypt-model", "model", "--key", "llama")

    licenses.ok("relicense", "--old-license-file", "old", "--license-file", "new", "--yes")

    assert licenses.run("decrypt-model", "model.ttm", "-o", "plain").returncode == 9
    licenses.ok("decrypt-model", "model.ttm", "-o", "plain", "--license-file", "new")
    assert (licenses.folder / "plain").read_bytes() == b"weights"


def test_unlicensed_keys_are_left_alone(licenses: Program) -> None:
    found = licenses.json("relicense", "--old-license-file", "old", "--license-file", "new", "--yes")

    assert [item["key_id"].rpartition("_")[0] for item in found["result"]["items"]] == ["llama"]
    assert tags(licenses) == {"llama": found["result"]["new_license_tag"], "free": None}


def test_a_dry_run_moves_nothing_and_takes_no_yes(licenses: Program) -> None:
    before = tags(licenses)

    found = licenses.json("relicense", "--old-license-file", "old", "--license-file", "new", "--dry-run")

    assert (found["changed"], found["operation_id"], found["result"]["new_license_tag"]) == (False, None, None)
    assert [item["outcome"] for item in found["result"]["items"]] == ["planned"]
    assert tags(licenses) == before


def test_a_license_file_that_others_can_read_is_warned_about(licenses: Program) -> None:
    (licenses.folder / "old").chmod(0o644)

    found = licenses.json("relicense", "--old-license-file", "old", "--license-file", "new", "--yes")

    assert [each["message"] for each in found["warnings"] if each["code"] == "license-readable"] == [
        "the license file old can be read by others: run chmod 600 old"
    ]


def test_an_old_license_file_that_others_can_write_is_refused(licenses: Program) -> None:
    (licenses.folder / "old").chmod(0o666)

    licenses.json("relicense", "--old-license-file", "old", "--license-file", "new", "--yes", code=13)
