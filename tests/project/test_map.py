"""CONTRIBUTING's map of the packages is the one that their docstrings give, and each says where to start reading."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.project.map import BEGIN, END, PAGE, ROOT, drawn, packages, with_map

PACKAGES = sorted((ROOT / "tiktrue_keys").rglob("__init__.py"))


def test_the_map_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert with_map(page, drawn(ROOT)) == page, "run: make generate"


@pytest.mark.parametrize("path", PACKAGES, ids=[str(path.parent.relative_to(ROOT)) for path in PACKAGES])
def test_a_package_says_where_to_start_reading(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""

    assert re.search(r"\b[Ss]tart with ", text), "what lives here, where to start reading, what does not belong"
    assert len(text.split()) >= 15


def test_a_package_without_a_docstring_shows(tmp_path: Path) -> None:
    package = tmp_path / "tiktrue_keys"
    package.mkdir()
    (package / "__init__.py").write_text('"""All keys. And more."""\n')
    (package / "core").mkdir()
    (package / "core" / "__init__.py").write_text("")

    assert packages(tmp_path) == [((), "All keys"), (("core",), "")]
    assert with_map(f"a\n{BEGIN}old\n{END}z\n", drawn(tmp_path)) == (
        f"a\n{BEGIN}```\ntiktrue_keys/                 All keys\n  core/                       \n```\n{END}z\n"
    )


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        with_map("no markers\n", "")
