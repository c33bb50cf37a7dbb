"""A third transport is one file in another package: built and installed as such, then used by --via."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.processes import Staff, Watcher
from tests.program import Program

EXAMPLE = Path(__file__).with_name("example_transport")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example is installed in, without a network."""
    folder = tmp_path_factory.mktemp("third")
    shutil.copytree(EXAMPLE, folder / "source")  # a build writes beside its source
    words = ["install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    places = ["--target", str(folder / "installed"), str(folder / "source")]
    done = subprocess.run([*pip, *words, *places], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "installed"


@pytest.fixture(scope="module")
def staff(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Staff:
    folder = tmp_path_factory.mktemp("staff")
    found = {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{installed}"}
    return Staff(folder, f"sqlite:{folder / 'post.db'}", {}, ["n1"], variables=found)


def test_a_key_travels_by_it(staff: Staff) -> None:
    assert staff.admin.json("fleet", "send", "llama", "--all")["result"]["envelopes"] == 2
    with Watcher(staff.nodes["n1"]) as watcher:
        assert staff.admin.json("fleet", "sync", "--wait", "2m")["ok"]
        (new,) = staff.key_ids("rotate", "llama", "--notify-all")
        assert watcher.wait_for(new, "active", watcher.soon()) is not None
    assert staff.admin.json("fleet", "sync")["result"]["acknowledged"] == ["n1"]


def test_its_outage_is_one(staff: Staff, tmp_path: Path) -> None:
    (tmp_path / "post.db").write_bytes(b"no database at all, " * 100)
    said = staff.admin.json("fleet", "sync", "--via", f"sqlite:{tmp_path / 'post.db'}", code=12)
    assert "out of order" in said["error"]["message"]


def test_without_the_package_it_is_unknown(staff: Staff) -> None:
    said = Program(staff.admin.folder).json("fleet", "sync", code=2)
    assert said["error"]["message"] == "transport 'sqlite' is not installed"
    assert "tiktrue_keys.transports" in said["error"]["hint"]
