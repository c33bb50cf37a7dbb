"""Words become values without pydantic, whose import would cost more than the command."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer

from tests.program import Program
from tiktrue_keys.cli.program.main import app


def parsed(*words: str) -> dict[str, Any]:
    """What the parser makes of the words of a command."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("tiktrue-keys", list(words))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    return dict(command.make_context(name, rest, parent=context).params)


def test_lists_numbers_choices_and_switches() -> None:
    found = parsed("list", "a", "b", "--status", "active", "--status", "revoked", "--limit", "7", "--all")

    assert found["models"] == ("a", "b")
    assert [status.value for status in found["status"]] == ["active", "revoked"]
    assert (found["limit"], found["everything"], found["due"], found["sort"]) == (7, True, False, "model")
    assert found["label"] == ()


@pytest.mark.parametrize("word", ["", "x", "1.5", "٣", "1_000", "+1", "0x10", "9" * 19])
def test_what_is_no_whole_number_is_refused(word: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a whole number"):
        parsed("list", "--limit", word)


def test_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="0 is less than 1"):
        parsed("list", "--limit", "0")


def test_an_unknown_choice_is_refused_with_the_choices() -> None:
    with pytest.raises(typer.BadParameter, match="'colour' is not one of model, status, created, expires, generation"):
        parsed("list", "--sort", "colour")


def test_no_command_imports_pydantic(program: Program) -> None:
    code = (
        "import sys\n"
        "from tiktrue_keys.cli.program.main import main\n"
        "sys.argv = ['tiktrue-keys', 'config', 'show', '-q']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit('pydantic' in sys.modules)\n"
    )

    subprocess.run([sys.executable, "-c", code], env=program.environment, check=True, stdout=subprocess.DEVNULL)
