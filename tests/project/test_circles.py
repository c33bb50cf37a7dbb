"""No module imports itself by way of others: not lazily, and not for types either."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.imports import circle, imports
from tests.project.planted import plant

ROOT = Path(__file__).parents[2]

BREAKS = [
    {"a.py": "from tiktrue_keys import b", "b.py": "from tiktrue_keys import a"},
    {"a.py": "import tiktrue_keys.b", "b.py": "import tiktrue_keys.a"},
    {"a.py": "from . import b", "b.py": "from .a import f"},
    {"a.py": "from tiktrue_keys.b import f", "b.py": "def f():\n    from tiktrue_keys.a import g"},
    {
        "a.py": "from tiktrue_keys.b import f",
        "b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tiktrue_keys.a import A",
    },
    {"a.py": "try:\n    from . import b\nexcept ImportError:\n    pass", "b.py": "class B:\n    from . import a"},
    {"a.py": "from . import b", "b.py": "from . import c", "c.py": "from . import d", "d.py": "from . import b"},
    {"deep/__init__.py": "from .a import f", "deep/a.py": "from tiktrue_keys.deep import f"},
    {"deep/__init__.py": "from tiktrue_keys import a", "a.py": "from tiktrue_keys import deep"},
    {"deep/a.py": "from ..b import f", "b.py": "from tiktrue_keys.deep.a import g"},
    {"a.py": "from tiktrue_keys.a import f"},
]

ALLOWED = [
    {"a.py": "from . import b, c", "b.py": "from . import c", "c.py": ""},
    {"deep/__init__.py": "from .a import f", "deep/a.py": "from ..b import f", "b.py": "import os, json"},
    {"deep/__init__.py": "", "deep/a.py": "from . import b", "deep/b.py": ""},
    {"a.py": "'''from tiktrue_keys import b'''", "b.py": "from tiktrue_keys import a  # from b import a"},
]


def test_no_module_of_the_package_is_in_a_circle() -> None:
    assert circle(imports(ROOT)) == []


@pytest.mark.parametrize("sources", BREAKS)
def test_a_planted_circle_is_found(tmp_path: Path, sources: dict[str, str]) -> None:
    plant(tmp_path, sources)

    found = circle(imports(tmp_path))

    assert found[0] == found[-1]
    assert len(found) > 1


@pytest.mark.parametrize("sources", ALLOWED)
def test_imports_that_lead_one_way_pass(tmp_path: Path, sources: dict[str, str]) -> None:
    plant(tmp_path, sources)

    assert circle(imports(tmp_path)) == []


def test_the_check_reads_the_imports_of_the_package() -> None:
    """An empty or moved package would pass the first test for the wrong reason."""
    found = {(each.importer, each.imported) for each in imports(ROOT)}

    assert ("tiktrue_keys.core.manager", "tiktrue_keys.core.reader") in found
    assert ("tiktrue_keys.__main__", "tiktrue_keys.cli.program.entry") in found
    assert len(found) > 1000
