"""How the help is written: what a value is, and its default in one form."""

from __future__ import annotations

import re

import pytest

from tiktrue_keys.cli.context.context import DEFAULT_LOCK_TIMEOUT
from tiktrue_keys.cli.docs.program_page import VALUES
from tiktrue_keys.cli.docs.reference import Description, Parameter, descriptions
from tiktrue_keys.core.instants import duration_text

COMMANDS = {each.name: each for each in descriptions()}
PARAMETERS = {
    f"{name} {each.names[-1] if each.names else each.metavar}": each
    for name, command in COMMANDS.items()
    for each in (*command.arguments, *command.options)
    if not name or not each.common
}

# An argument of an option has a unit or a type. Those of VALUES are explained on the program's page.
TYPES = {
    *VALUES,
    "FILE",
    "FILE|-",
    "DIR",
    "DIR|-",
    "DST",
    "SRC",
    "STATEFILE",
    "CARD",
    "DIR|URL",
    "VERIFIER_KEY",
    "CONTAINER",
    "FACT",
    "FILE... -- CMD",
}
TYPES |= {
    "OP=N",
    "NAME=VALUE",
    "FACT=NEW",
    "WAY",
    "[WAY]",
    "NAME=FILE",
    "N",
    "HEX",
    "ID",
    "K=V",
    "MODEL",
    "TEXT",
    "NAME",
    "EVENT",
    "USER",
    "SINK",
    "FILE_ID",
    "NODE_ID",
    "ISSUER",
}
CHOICES = {"STATUS", "ORDER", "FORMAT", "OUTCOME", "ROLE", "SHELL"}


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=PARAMETERS)
def test_a_help_text_is_a_sentence_that_says_what_the_value_is(parameter: Parameter) -> None:
    text = parameter.help
    assert text[0].isupper(), text
    assert text.endswith("."), text
    assert re.search(r" \(\d+[smhdw]?\)", text) is None, "a default is (default: X)"
    assert ("repeatable" in text) == (parameter.multiple and bool(parameter.names)), text
    if parameter.metavar:
        assert parameter.metavar in (CHOICES if parameter.choices or parameter.metavar in CHOICES else TYPES)
        assert not re.match(r"(Only|Of|By|Use|Tell|Call|Take)\b", text), "the value first"
    for choice in parameter.choices:
        assert choice in text, text


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_says_what_it_does_in_a_sentence(command: Description) -> None:
    first, *rest = re.split(r"\n\s*\n", command.help.strip())
    assert re.fullmatch(r"[A-Z][^\n]*\.", first), first
    for paragraph in rest:
        assert paragraph.endswith("."), paragraph
    assert len(first) <= 80, "it is a line of --help"


def test_the_default_of_the_lock_timeout_is_the_real_one() -> None:
    assert f"(default: {duration_text(DEFAULT_LOCK_TIMEOUT)})" in PARAMETERS[" --lock-timeout"].help
