"""Imports go one way: cli -> recovery, fleet, models -> core -> errors; and only cli talks to the outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.ladder import violations
from tests.project.planted import plant

ROOT = Path(__file__).parents[2]

BREAKS = [
    ("core/a.py", "from tiktrue_keys.models import reader", "core imports models, which stands above it"),
    ("core/a.py", "from tiktrue_keys import models", "core imports models, which stands above it"),
    ("core/a.py", "from .. import models", "core imports models, which stands above it"),
    ("core/deep/a.py", "from ...cli import render", "core imports cli, which stands above it"),
    ("core/a.py", "def f():\n    import tiktrue_keys.fleet.node", "core imports fleet, which stands above it"),
    ("models/a.py", "from tiktrue_keys.fleet import node", "models imports fleet, which stands above it"),
    ("fleet/a.py", "from tiktrue_keys.recovery import escrow", "fleet imports recovery, which stands above it"),
    ("recovery/a.py", "import tiktrue_keys.cli.program.main", "recovery imports cli, which stands above it"),
    ("errors.py", "from tiktrue_keys.core import names", "errors imports core, which stands above it"),
    ("errors.py", "from .core import names", "errors imports core, which stands above it"),
    ("models/a.py", "from tiktrue_keys import KeyManager", "models imports the public API"),
    ("__init__.py", "from tiktrue_keys.cli import main", "the public API imports cli"),
    ("utils.py", "", "utils has no rung"),
    ("core/a.py", "import typer", "core imports typer; only cli may"),
    ("models/a.py", "def f():\n    from rich.table import Table", "models imports rich; only cli may"),
    ("__init__.py", "import getpass", "__init__ imports getpass; only cli may"),
    ("cli/a.py", "import click", "imports click"),
    ("core/a.py", "from click.testing import CliRunner", "imports click"),
    ("core/a.py", "import os\nhome = os.environ['HOME']", "core uses os.environ; only cli may"),
    ("core/a.py", "import os as o\nhome = o.getenv('HOME')", "core uses os.getenv; only cli may"),
    ("fleet/a.py", "from os import environ", "fleet uses os.environ; only cli may"),
    ("core/a.py", "import sys\nsys.stdout.write('x')", "core uses sys.stdout; only cli may"),
    ("models/a.py", "from sys import stdin", "models uses sys.stdin; only cli may"),
    ("core/a.py", "print('x')", "core calls print(); only cli may"),
    ("core/a.py", "answer = input()", "core calls input(); only cli may"),
    ("core/a.py", "import psutil", "imports psutil at start-up"),
    ("core/a.py", "class A:\n    import cpuinfo", "imports cpuinfo at start-up"),
    ("models/a.py", "try:\n    import numpy as np\nexcept ImportError:\n    pass", "imports numpy at start-up"),
    ("models/a.py", "from blake3 import blake3", "imports blake3 at start-up"),
    ("cli/a.py", "import psutil", "imports psutil at start-up"),
]

ALLOWED = [
    ("core/a.py", "from tiktrue_keys import errors\nfrom tiktrue_keys.core import names\nfrom . import names as n"),
    ("models/a.py", "from tiktrue_keys.core.manager import KeyManager\nfrom .reader import open_model"),
    ("fleet/a.py", "from tiktrue_keys.models import rewrap"),
    ("recovery/a.py", "from tiktrue_keys.fleet import node"),
    ("cli/a.py", "import os\nimport sys\nimport typer\nhome = os.environ\nprint(sys.argv, file=sys.stderr)"),
    ("cli/a.py", "from tiktrue_keys import KeyManager, core\ndef f():\n    from rich.console import Console"),
    ("cli/a.py", "from rich.console import Console"),
    ("core/a.py", "import os\nimport sys\nplatform = sys.platform\nos.fsync(3)\ndef f():\n    import psutil"),
    ("models/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy"),
    ("__init__.py", "from tiktrue_keys.core.manager import KeyManager\nfrom tiktrue_keys import errors"),
    ("__main__.py", "from tiktrue_keys.cli.program.main import main\nmain()"),
]


def test_the_package_keeps_the_ladder() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(("name", "source", "reason"), BREAKS)
def test_a_planted_break_is_found_at_its_place(tmp_path: Path, name: str, source: str, reason: str) -> None:
    plant(tmp_path, {name: source})

    found = violations(tmp_path)

    assert len(found) == 1
    assert found[0].startswith(f"tiktrue_keys/{name}:")
    assert reason in found[0]


@pytest.mark.parametrize(("name", "source"), ALLOWED)
def test_what_the_ladder_allows_passes(tmp_path: Path, name: str, source: str) -> None:
    plant(tmp_path, {name: source})

    assert violations(tmp_path) == []


def test_the_check_reads_the_package_itself() -> None:
    """An empty or moved package would pass the first test for the wrong reason."""
    assert (ROOT / "tiktrue_keys" / "errors.py").exists()
    assert len(list((ROOT / "tiktrue_keys").rglob("*.py"))) > 5
