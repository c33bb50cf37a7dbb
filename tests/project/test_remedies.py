"""Nothing below the command line names a command or a flag: it names a remedy, whose words are in
cli/view/hints.py.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import tiktrue_keys
from tiktrue_keys.cli.program.catalog import CATALOG, CatalogEntry
from tiktrue_keys.cli.view.hints import REMEDIES

PACKAGE = Path(tiktrue_keys.__file__).parent
BELOW_CLI = sorted(path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(PACKAGE / "cli"))
STORED = ("tiktrue-keys recipient", "tiktrue-keys resume", "# tiktrue-keys escrow ")
"""Words of file formats."""
FLAG = re.compile(r"(?<![\w-])--[a-z]|(?<!\S)-o\b|TIKTRUE_|tiktrue-keys [a-z]")


def commands(catalog: Mapping[str, CatalogEntry], before: str = "") -> Iterator[str]:
    """The commands that no sentence holds by chance: of two words, or with a hyphen."""
    for name, entry in catalog.items():
        yield from commands(entry.children, f"{before}{name} ")
        if not entry.children and (before or "-" in name):
            yield f"{before}{name}"


COMMAND = re.compile(rf"\b({'|'.join(map(re.escape, commands(CATALOG)))})\b")


def named_flags(source: str) -> list[str]:
    """Line and text of each string that names a flag, or in a sentence a command; docstrings may."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        f"{node.lineno}: {node.value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        if FLAG.search(node.value) or (" " in node.value.strip() and COMMAND.search(node.value))
        if not node.value.startswith(STORED)
    ]


@pytest.mark.parametrize("path", BELOW_CLI, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_message_below_the_command_line_names_a_flag_or_a_command(path: Path) -> None:
    assert named_flags(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        'raise E("it exists", "--force")',
        'raise E(f"{name} exists: give --force")',
        'raise E("no name", "give it with -o")',
        'raise E("no license", "set TIKTRUE_LICENSE_FILE")',
        'raise E("no key", "tiktrue-keys list shows them")',
        'raise E("it moved", "models scan finds it")',
        'raise E("unsigned", "sign-model signs it")',
    ],
)
def test_a_flag_or_a_command_is_noticed(source: str) -> None:
    assert named_flags(source)


@pytest.mark.parametrize(
    "source", ['"""As --force."""', 'name = "sign-model"', 'tag = "tiktrue-keys"', 'line = "a -- b"', 'tail = "-other"']
)
def test_a_docstring_a_name_and_a_dash_are_not(source: str) -> None:
    assert not named_flags(source)


def named_remedies(path: Path) -> Iterator[tuple[str, set[str]]]:
    """Every remedy that a module names, with the names of what it is about."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        given: dict[str | None, ast.expr] = {}
        if isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
        elif isinstance(node, ast.Dict):
            given = {_text(key): value for key, value in zip(node.keys, node.values, strict=True)}
        about = given.get("about")
        known = {_text(key) for key in about.keys} if isinstance(about, ast.Dict) else set()
        if "key_id" in given or (isinstance(node, ast.Call) and ast.unparse(node.func) == "Kept"):
            known.add("key_id")
        for part in ast.walk(given["remedy"]) if "remedy" in given else ():
            remedy = _text(part)
            if remedy:  # "" is no advice
                yield remedy, {"hint", *(name for name in known if name)}


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


NAMED = [(path, *named) for path in BELOW_CLI for named in named_remedies(path)]


def _id(value: object) -> str:
    return value.stem if isinstance(value, Path) else " ".join(sorted(value)) if isinstance(value, set) else str(value)


def test_every_remedy_has_words_and_every_word_is_used() -> None:
    assert {remedy for _, remedy, _ in NAMED} == set(REMEDIES)


@pytest.mark.parametrize(("path", "remedy", "known"), NAMED, ids=_id)
def test_a_remedy_is_given_what_its_words_are_about(path: Path, remedy: str, known: set[str]) -> None:
    wanted = {name for _, name, _, _ in string.Formatter().parse(REMEDIES[remedy]) if name}

    assert wanted <= known
