"""README says what the program does: commands that the parser takes, a tour and Python examples that run as written."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

from tests.project.command_lines import parse, shown_commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks in this language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def command_lines() -> list[str]:
    """The commands in blocks and in code spans."""
    spans = re.findall(r"`(tiktrue-keys [^`]+)`", README)
    return shown_commands("\n".join([*blocks("console"), *spans]))


def test_the_commands_of_readme_are_found() -> None:
    assert len(command_lines()) > 12


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_the_parser_takes_a_command_of_readme(line: str) -> None:
    parse(line)


def test_every_page_and_file_that_readme_names_is_there() -> None:
    pages = re.findall(r"`man (tiktrue-keys-[a-z]+)`", README)
    files = re.findall(r"\]\((?!https?:)([^)]+)\)", README)

    assert len(pages) >= 5
    assert [name for name in pages if not list((ROOT / "man").glob(f"{name}.[1-8]"))] == []
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_the_tour_runs_as_written(tmp_path: Path) -> None:
    """Line by line in one shell; a comment says which exit code is expected where it is not 0."""
    (tour,) = [block for block in blocks("console") if "mkdir -m 700 tour" in block]
    lines = [line.removeprefix("$ ") for line in tour.splitlines() if line]
    expected = [int(match[1]) if (match := re.search(r"# exit code (\d+)", line)) else 0 for line in lines]
    shell = [
        f'{line}\ncode=$?\n[ $code = {code} ] || {{ echo "line {number}: $code" >&2; exit 99; }}'
        for number, (line, code) in enumerate(zip(lines, expected, strict=True), 1)
    ]
    environment = {"HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-c", "\n".join(shell)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert (done.returncode, {0, 8, 10}) == (0, set(expected)), done.stdout + done.stderr
    assert (tmp_path / "tour" / "keystore.backup").exists()


def test_the_python_examples_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, in one name space; only the host secret goes where the test can throw it away."""
    source = "\n".join(blocks("python"))
    opening = 'KeyManager(storage_dir="keys")'
    assert source.count(opening) == 1
    source = source.replace(opening, f'KeyManager(storage_dir="keys", host_secret_file={str(tmp_path / "secret")!r})')
    monkeypatch.chdir(tmp_path)
    save_file({"layer": numpy.zeros((2, 3), numpy.float32)}, "model.safetensors")
    names: dict[str, Any] = {}

    code = compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, names)
    if inspect.iscoroutine(running):
        asyncio.run(running)
    names["key_manager"].close()

    assert names["success"] is True
    assert names["is_valid"] is True
    assert names["new_key"].predecessor == names["managed_key"].key_id
    assert names["layer"] == b"layer 0"
    assert names["tensors"] == {"layer": (2, 3)}
