"""README says what the program does: its exit codes, and commands that the program's own parser takes."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy
import pytest
import typer
from safetensors.numpy import save_file

from tiktrue_keys.cli.context.settings import KNOWN
from tiktrue_keys.cli.program.main import app
from tiktrue_keys.errors import ERRORS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(*languages: str) -> list[str]:
    """The fenced blocks in these languages; "" is none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def command_lines() -> list[str]:
    """What follows the program's name in a block of commands, a crontab line or a code span."""
    texts = [line for block in blocks("console", "") for line in block.splitlines()] + re.findall(
        r"`(tiktrue-keys [^`]+)`", README
    )
    found = [re.search(r"(?<![/\w.-])tiktrue-keys ([a-z].*)", text) for text in texts]
    return [match.group(1) for match in found if match]


def parse(words: list[str]) -> None:
    """Parses as the program would, down to the command, and runs nothing; raises what the parser raises."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("tiktrue-keys", words)
    while hasattr(group, "resolve_command"):
        name, group, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        context = group.make_context(name, rest, parent=context)


def test_the_exit_code_table_is_that_of_the_error_classes() -> None:
    rows = re.findall(r"^\| (\d+) \| `([a-z-]+)` \|", README, re.MULTILINE)

    assert [(int(number), name) for number, name in rows] == [(error.exit_code, error.code) for error in ERRORS]


def test_the_commands_of_readme_are_found() -> None:
    assert len(command_lines()) > 30


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_the_parser_takes_a_command_of_readme(line: str) -> None:
    parse(shlex.split(line, comments=True))


def test_a_command_that_the_parser_does_not_take_is_an_error() -> None:
    with pytest.raises(Exception, match="no-such-option"):
        parse(["validate", "--no-such-option"])


def test_the_settings_of_readme_are_all_that_there_are_and_their_values_are_taken() -> None:
    shown = flattened(tomllib.loads("".join(blocks("toml"))))

    assert shown.keys() == KNOWN.keys()
    for name, value in shown.items():
        KNOWN[name](value)


def flattened(table: dict[str, Any]) -> dict[str, Any]:
    """`[fleet] via = ...` as fleet.via."""
    inner = {
        f"{name}.{key}": value for name, each in table.items() if isinstance(each, dict) for key, value in each.items()
    }
    return {name: value for name, value in table.items() if not isinstance(value, dict)} | inner


def test_readme_shows_the_workflows_that_are_tested() -> None:
    assert blocks("yaml") == [
        (ROOT / "tests" / "ci_examples" / name).read_text("utf-8") for name in ("github-actions.yml", "gitlab-ci.yml")
    ]


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

    assert names["success"] is True
    assert names["is_valid"] is True
    assert names["new_key"].predecessor == names["managed_key"].key_id
    assert names["layer"] == b"layer 0"
    assert names["tensors"] == {"layer": (2, 3)}
