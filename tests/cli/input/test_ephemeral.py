"""Where a keystore would vanish, the command that creates it asks; --ephemeral and --yes answer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Program


@pytest.fixture
def in_memory() -> Iterator[Program]:
    """The program with keystore and host secret in memory, and nothing that answers the question."""
    if not os.path.ismount("/dev/shm") or not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm to write to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Program(Path(folder)).without("TIKTRUE_EPHEMERAL")


def test_without_a_terminal_nothing_is_created(in_memory: Program) -> None:
    for words in (("generate", "llama"), ("fleet", "init", "gpu-1", "--role", "node")):
        error = in_memory.json(*words, code=5)["error"]

        assert "the database, the host secret and the marks are on tmpfs" in error["message"]
        assert "--keystore DIR --host-secret FILE" in error["hint"]
        assert "--ephemeral" in error["hint"]
    assert os.listdir(in_memory.folder) == []


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("generate", "llama", "--ephemeral"), {}),
        (("generate", "llama", "--yes"), {}),
        (("generate", "llama"), {"TIKTRUE_EPHEMERAL": "1"}),
        (("fleet", "init", "gpu-1", "--role", "node", "--ephemeral"), {}),
    ],
)
def test_what_answers(in_memory: Program, words: tuple[str, ...], variables: dict[str, str]) -> None:
    in_memory.variables.update(variables)

    warnings = in_memory.json(*words)["warnings"]

    assert "volatile-storage" in {warning["code"] for warning in warnings}
    assert in_memory.json("generate", "another")["changed"]  # asked once: it is created
    assert "volatile-storage" in in_memory.run("status").stdout + in_memory.run("status", "--json").stdout


def test_another_value_of_the_variable_answers_nothing(in_memory: Program) -> None:
    in_memory.variables["TIKTRUE_EPHEMERAL"] = "0"
    in_memory.json("generate", "llama", code=5)


def test_a_restore_there_says_it_in_its_question(in_memory: Program) -> None:
    in_memory.variables["TIKTRUE_EPHEMERAL"] = "1"
    in_memory.ok("generate", "llama")
    in_memory.ok("backup", "copy.db")

    refused = in_memory.json("restore", "copy.db", code=5)["error"]["message"]

    assert "will not outlive" in refused
    restored = in_memory.json("restore", "copy.db", "--yes")
    assert "volatile-storage" in {warning["code"] for warning in restored["warnings"]}
