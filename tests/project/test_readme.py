"""README says what the program does: its exit codes, and commands that the program's own parser takes."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from tiktrue_keys.cli.main import app
from tiktrue_keys.errors import ERRORS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def command_lines() -> list[str]:
    """What follows the program's name in a block of commands, a crontab line or a code span."""
    blocks = re.findall(r"^```(?:console)?\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    texts = [line for block in blocks for line in block.splitlines()] + re.findall(r"`(tiktrue-keys [^`]+)`", README)
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
    assert len(command_lines()) > 15


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_the_parser_takes_a_command_of_readme(line: str) -> None:
    parse(shlex.split(line, comments=True))


def test_a_command_that_the_parser_does_not_take_is_an_error() -> None:
    with pytest.raises(Exception, match="no-such-option"):
        parse(["validate", "--no-such-option"])


def test_the_python_examples_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, in one name space; only the host secret goes where the test can throw it away."""
    source = "\n".join(re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
    opening = 'KeyManager(storage_dir="keys")'
    assert source.count(opening) == 1
    source = source.replace(opening, f'KeyManager(storage_dir="keys", host_secret_file={str(tmp_path / "secret")!r})')
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    code = compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, names)
    if inspect.iscoroutine(running):
        asyncio.run(running)

    assert names["success"] is True
    assert names["is_valid"] is True
    assert names["new_key"].predecessor == names["managed_key"].key_id
