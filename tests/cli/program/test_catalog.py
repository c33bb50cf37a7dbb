"""The static table of commands says what the commands say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pytest

from tests.program import unmeasured
from tiktrue_keys.cli.program.catalog import CATALOG, CatalogEntry

COMMANDS = Path(__file__).parents[3] / "tiktrue_keys" / "cli" / "commands"


def leaves(entries: Mapping[str, CatalogEntry] | None = None, path: str = "") -> dict[str, CatalogEntry]:
    found: dict[str, CatalogEntry] = {}
    for name, entry in (CATALOG if entries is None else entries).items():
        where = f"{path} {name}".strip()
        found |= leaves(entry.children, where) if entry.children else {where: entry}
    return found


@pytest.mark.parametrize(("name", "entry"), leaves().items(), ids=leaves())
def test_the_summary_is_the_first_line_of_the_commands_own_words(name: str, entry: CatalogEntry) -> None:
    module = import_module(f"tiktrue_keys.cli.commands.{entry.module}")

    assert module.command.__doc__.splitlines()[0] == entry.summary


def test_every_command_file_is_in_the_table() -> None:
    files = {
        f"{path.parent.name}.{path.stem}"
        for path in COMMANDS.glob("*/*.py")
        if "\ndef command(" in path.read_text(encoding="utf-8")
    }

    assert {entry.module for entry in leaves().values()} == files


def test_a_family_runs_one_of_its_children_when_called_bare() -> None:
    for entry in CATALOG.values():
        assert not entry.children or entry.default in entry.children


def test_help_of_the_program_imports_no_command() -> None:
    code = (
        "import sys\n"
        "from tiktrue_keys.cli.program.main import main\n"
        "sys.argv = ['tiktrue-keys', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = ('rich', 'cryptography', 'sqlite3')\n"
        "loaded = [name for name in sys.modules if 'cli.commands' in name or name in heavy]\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)\n"
    )

    # Without the measuring of coverage, which imports sqlite3 itself.
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=unmeasured())
