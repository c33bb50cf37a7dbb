"""The built wheel holds the whole package: setuptools takes only folders with an __init__.py and data that is named."""

from __future__ import annotations

from pathlib import Path

from tiktrue_keys import __version__

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tiktrue_keys"


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}

    assert {folder for folder in folders if not (folder / "__init__.py").exists()} == set()


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_no_data_lies_where_the_wheel_does_not_look() -> None:
    data = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}

    assert data - {PACKAGE / "py.typed"} == set((PACKAGE / "cli" / "schema").glob("*.json"))


def test_the_changelog_knows_the_version() -> None:
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
