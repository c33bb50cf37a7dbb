"""The built wheel holds the whole package: setuptools takes only folders with an __init__.py and data that is named."""

from __future__ import annotations

import tomllib
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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    taken = project["tool"]["setuptools"]["package-data"].items()

    assert data == {path for package, globs in taken for glob in globs for path in _files(package, glob)}


def _files(package: str, glob: str) -> list[Path]:
    return [path for path in ROOT.joinpath(*package.split(".")).glob(glob) if path.is_file()]


def test_the_changelog_knows_the_version() -> None:
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
