"""The common options: on every command, before and after it; the nearer one wins."""

from __future__ import annotations

import pytest

from tests.program import Program
from tiktrue_keys.cli.docs.reference import Description, descriptions
from tiktrue_keys.cli.program.options import CommonOptions, take_common

COMMON = {
    "--keystore", "--host-secret", "--license-file", "--lock-timeout", "--operation-id", "--yes", "-y", "--json",
    "--quiet", "-q", "--verbose", "-v", "--no-color", "--version", "-V", "--help", "-h", "--approval", "--marks",
}  # fmt: skip
UNDER_APPROVAL = {
    "cleanup", "rotate", "revoke", "decrypt-model", "exec-model", "reencrypt-model", "models forget", "doctor",
    "generate", "restore", "rebind", "escrow create", "escrow recover", "approvals policy", "fleet add", "fleet send",
    "rekey", "binding add", "binding remove",
}  # fmt: skip
"""The commands that a policy may require approval for."""


@pytest.mark.parametrize("command", descriptions(), ids=lambda command: command.name or "the program")
def test_every_command_takes_every_common_option(command: Description) -> None:
    """--approval only where it applies, and before a command's name."""
    found = {name for option in command.options if option.common for name in option.names}

    assert found | {"--approval"} == COMMON
    assert ("--approval" in found) == (bool(command.children) or command.name in UNDER_APPROVAL)


@pytest.mark.parametrize("command", descriptions(), ids=lambda command: command.name or "the program")
def test_every_option_and_argument_is_explained_in_a_sentence(command: Description) -> None:
    for each in (*command.options, *command.arguments):
        assert each.help.endswith("."), each


def test_an_option_takes_one_value(program: Program) -> None:
    """Two values in a row: the second is an argument, which `list` takes for a model."""
    done = program.run("list", "--label", "a=b", "c=d")

    assert done.returncode == 2
    assert done.stderr.startswith("error: 'c=d' is not a model id")


@pytest.mark.parametrize(
    "words",
    [["--json", "config", "show"], ["config", "--json", "show"], ["config", "show", "--json"], ["config", "--json"]],
)
def test_an_option_counts_wherever_it_stands(program: Program, words: list[str]) -> None:
    assert program.ok(*words).startswith('{"schema": "tiktrue-keys/1"')


def test_the_option_after_the_command_wins(program: Program) -> None:
    found = program.json("--keystore", "/before", "config", "--keystore", "/between", "show", "--keystore", "/after")

    assert found["keystore"] == "/after"


def test_options_not_given_leave_the_outer_ones() -> None:
    outer = CommonOptions(keystore="/outer", json=True)

    assert CommonOptions(yes=True).over(outer) == CommonOptions(keystore="/outer", json=True, yes=True)


def test_common_options_are_taken_out_of_a_commands_parameters() -> None:
    params = {"keystore": "/k", "yes": True, "version": False, "model_id": "m"}

    assert take_common(params) == CommonOptions(keystore="/k", yes=True)
    assert params == {"model_id": "m"}


@pytest.mark.parametrize("words", [["-V"], ["--version"], ["list", "-V"], ["audit", "show", "--version"]])
def test_the_version_is_shown_anywhere(program: Program, words: list[str]) -> None:
    from tiktrue_keys import __version__

    assert program.ok(*words) == f"tiktrue-keys {__version__}\n"


@pytest.mark.parametrize("words", [["-h"], ["audit", "-h"], ["audit", "show", "-h"], ["rotate", "--help"]])
def test_help_shows_the_common_options_under_their_own_heading(program: Program, words: list[str]) -> None:
    out = program.ok(*words)

    assert "\nCommon options:\n  --keystore DIR " in out
    assert "  -h, --help " in out
    assert "list[str]" not in out


def test_help_needs_no_terminal_and_draws_no_boxes(program: Program) -> None:
    assert program.ok("--help").isascii()


def test_there_is_no_option_that_takes_the_license_itself() -> None:
    takers = {name for command in descriptions() for option in command.options if option.kind for name in option.names}

    assert {name for name in takers if "license" in name or "secret" in name} == {
        "--license-file",
        "--old-license-file",
        "--host-secret",
        "--new-host-secret",
    }
