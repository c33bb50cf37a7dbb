"""man/tiktrue-keys-operations.7 says what works: commands that the parser takes, units that are shipped, settings and
workflows as their tests know them."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.test_systemd import UNITS
from tests.project.command_lines import parse, shown_commands
from tiktrue_keys.cli.context.settings import KNOWN
from tiktrue_keys.core.audit.keystore_event import TYPES

ROOT = Path(__file__).parents[2]
SOURCE = (ROOT / "man" / "tiktrue-keys-operations.7").read_text("utf-8")
WORKFLOWS = ("github-actions.yml", "gitlab-ci.yml")


def displays(text: str) -> list[str]:
    """The literal displays, as they are rendered."""
    found = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", text, re.MULTILINE | re.DOTALL)
    return [each.replace("\\&", "").replace("\\(aq", "'").replace("\\e", "\\") for each in found]


def display_after(comment: str) -> str:
    """The display that follows a comment of the source."""
    _, found, after = SOURCE.partition(f'.\\" {comment}\n')
    assert found, f"the page has no '{comment}'"
    return displays(after)[0]


def commands() -> list[str]:
    return [line for each in displays(SOURCE) for line in shown_commands(each)]


def test_the_commands_of_the_page_are_found() -> None:
    assert len(commands()) > 80
    assert "backup --to /mnt/backup/tiktrue-keys" in commands()
    assert "relicense --old-license-file CANDIDATE --license-file - --dry-run" in commands()  # in a pipe, on two lines


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_the_parser_takes_a_command_of_the_page(line: str) -> None:
    parse(line)


def test_a_command_that_the_parser_does_not_take_is_an_error() -> None:
    with pytest.raises(Exception, match="no-such-option"):
        parse("validate --no-such-option")


def test_every_unit_that_is_named_is_shipped() -> None:
    named = set(re.findall(r"tiktrue-keys-[a-z]+@?\.(?:timer|service)", SOURCE))

    assert named == {path.name for path in UNITS.iterdir() if path.suffix in (".timer", ".service")}


def test_the_settings_are_all_that_there_are_and_their_values_are_taken() -> None:
    shown = flattened(tomllib.loads(display_after("settings")))

    assert shown.keys() == KNOWN.keys()
    for name, value in shown.items():
        KNOWN[name](value)


def flattened(table: dict[str, Any], before: str = "") -> dict[str, Any]:
    """`[fleet] via = ...` as fleet.via, and `[roots.tpm2] tcti = ...` as roots.tpm2.tcti."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= flattened(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return flat


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_workflows_are_those_that_are_tested(name: str) -> None:
    assert display_after(f"workflow: {name}") == (ROOT / "tests" / "ci_examples" / name).read_text("utf-8")


@pytest.mark.parametrize(("name", "tool"), [("webhook", "curl"), ("mail", "mail")])
def test_a_hook_of_the_page_hands_on_what_it_gets(name: str, tool: str, tmp_path: Path) -> None:
    """As written, with a stand-in for the tool that reaches the network."""
    stand_in, hook = tmp_path / tool, tmp_path / f"hook-{name}"
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >"{tmp_path}/words"\ncat >"{tmp_path}/input"\n')
    hook.write_text(display_after(f"hook: {name}"))
    for path in (stand_in, hook):
        path.chmod(0o755)
    assert len(hook.read_text().splitlines()) <= 3

    subprocess.run([hook], input=b"[{}]", env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, timeout=60)

    assert (tmp_path / "input").read_bytes() == b"[{}]"
    assert "example.org" in (tmp_path / "words").read_text()


def test_the_types_of_the_page_are_those_that_are_told() -> None:
    section = SOURCE.partition(".Sh TELL OTHERS\n")[2].partition(".Pp\nThe program runs")[0]
    named = re.findall(r"[a-z-]+", " ".join(re.findall(r"^\.Ql (.*)$", section, re.MULTILINE)))

    assert set(named) - {"events", "exec", "tiktrue-keys"} == set(TYPES) - {"merged"}
