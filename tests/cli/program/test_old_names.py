"""Commands that were renamed run under their old names, as they did, and nothing that people read mentions those."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program.test_catalog import leaves
from tests.program import Program
from tiktrue_keys.cli.docs.generate import generated_files
from tiktrue_keys.cli.program.catalog import CATALOG, OLD_NAMES

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "tiktrue_keys"

# Every old name, with words that make it succeed, one after the other.
OLD_COMMANDS: dict[str, list[str]] = {
    "fingerprint": [],
    "node init": ["office"],
    "node export": ["-o", "again.card"],
    "node status": [],
    "node add": ["shed.card", "--expect", "{shed}"],
    "node list": [],
    "node show": ["shed"],
    "distribute": ["llama", "--to", "shed", "--via", "spool:spool"],
    "receive": ["--via", "spool:spool", "--keystore", "shed"],
    "node remove": ["shed", "--yes"],
}


@pytest.fixture
def office(program: Program) -> Program:
    """A keystore with a key, and another one below it that has pinned its card."""
    (program.folder / "spool").mkdir()
    program.ok("generate", "llama", "--no-license")
    program.ok("fleet", "init", "office")
    program.ok("fleet", "card", "-o", "office.card")
    program.ok("fleet", "init", "shed", "--role", "node", "--keystore", "shed")
    program.ok("fleet", "card", "-o", "shed.card", "--keystore", "shed")
    expected = program.json("fleet", "card")["result"]["node_id"]
    program.ok("fleet", "add", "office.card", "--expect", expected, "--role", "issuer", "--keystore", "shed")
    return program


def test_each_old_name_runs_and_keeps_its_name_in_the_envelope(office: Program) -> None:
    shed = office.json("fleet", "card", "--keystore", "shed")["result"]["node_id"]
    for name, words in OLD_COMMANDS.items():
        found = office.json(*name.split(), *(word.format(shed=shed) for word in words))
        assert (found["command"], found["ok"]) == (name, True)
    assert set(OLD_COMMANDS) | {"node accept-epoch"} == set(leaves(OLD_NAMES))
    refused = office.json("node", "accept-epoch", "office", "--expect", "00", "--keystore", "shed", code=3)
    assert "has offered no new epoch" in refused["error"]["message"]


def test_the_bare_old_family_lists_its_nodes(office: Program) -> None:
    assert office.json("node")["command"] == "node list"


def test_an_old_name_is_its_new_command() -> None:
    new = leaves()
    for name, entry in leaves(OLD_NAMES).items():
        assert (entry.module, entry.summary) == (new[entry.new_name].module, new[entry.new_name].summary), name


def test_no_old_name_is_in_the_help_or_suggested(program: Program) -> None:
    listed = re.findall(r"^  ([a-z-]+)  ", program.ok("--help"), re.MULTILINE)

    assert set(CATALOG) <= set(listed)
    assert not set(listed) & set(OLD_NAMES)
    assert "node" not in program.run("nod").stderr.replace("no command 'nod'", "")


def test_no_completion_and_no_page_but_fingerprints_has_an_old_name() -> None:
    for name, text in generated_files().items():
        if name != "man/tiktrue-keys-fingerprint.1":
            assert _old_names(text.replace("\\-", "-")) == [], name


def test_no_message_hint_or_page_names_an_old_command() -> None:
    found = {where: names for where, text in _read_by_people() if (names := _old_names(text))}

    assert found == {}


def test_every_command_that_a_message_spells_out_exists() -> None:
    known = {*leaves(), *CATALOG}
    wrong = [
        (where, spelled)
        for where, text in _read_by_people()
        for spelled in re.findall(r"(?<![\w/.-])tiktrue-keys ((?:[a-z][a-z-]+)(?: [a-z][a-z-]+)?)", text)
        if spelled not in known and spelled.split()[0] not in leaves() and spelled.split()[0] in {*CATALOG, *OLD_NAMES}
    ]

    assert wrong == []


def test_an_old_name_in_a_message_would_be_found() -> None:
    assert _old_names("run tiktrue-keys receive") == ["tiktrue-keys receive"]
    assert _old_names("as node status shows") == ["node status"]
    assert _old_names(".Xr tiktrue-keys-node 1") == ["tiktrue-keys-node"]
    assert _old_names("tiktrue-keys fleet receive, tiktrue-keys-receive.service, a node adds it") == []


def _old_names(text: str) -> list[str]:
    children = "|".join(OLD_NAMES["node"].children)
    single = "|".join(OLD_NAMES)
    spelled = rf"\bnode (?:{children})\b(?![-:])|tiktrue-keys (?:{single})\b(?!-)|(?:\.Cm|run) (?:{single})\b"
    return re.findall(rf"{spelled}|tiktrue-keys-(?:node|distribute|receive)(?=\(| 1)", text)


def _read_by_people() -> Iterator[tuple[str, str]]:
    """Every string in the package (docstrings too), README, the pages written by hand, the units."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "catalog.py":
            tree = ast.parse(path.read_text("utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value
    written = [ROOT / "README.md", *ROOT.glob("man/*.[57]"), *(PACKAGE / "deploy").rglob("*.*")]
    yield from ((str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in written if path.is_file())
