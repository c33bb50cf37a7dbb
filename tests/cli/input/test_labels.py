"""Labels as they are given on the command line: NAME=VALUE, each name once."""

from __future__ import annotations

import pytest

from tiktrue_keys.cli.input.labels import parse_labels
from tiktrue_keys.errors import UsageError


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ([], {}),
        (["team=research", "stage=test"], {"team": "research", "stage": "test"}),
        (["formula=a=b"], {"formula": "a=b"}),
        (["team="], {"team": ""}),
    ],
    ids=["none", "two", "an equals sign in the value", "an empty value"],
)
def test_labels_are_read(given: list[str], labels: dict[str, str]) -> None:
    assert parse_labels(given) == labels


@pytest.mark.parametrize("given", ["team", "=research", ""])
def test_a_malformed_label_is_quoted(given: str) -> None:
    with pytest.raises(UsageError, match=f"'{given}' is not a label"):
        parse_labels(["stage=test", given])


def test_a_name_is_given_once() -> None:
    with pytest.raises(UsageError, match="'team' is given twice"):
        parse_labels(["team=research", "team=research"])
