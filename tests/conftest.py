"""What every test may ask for: a place for a keystore, a workshop with a key, the program in a folder of its own.

No test sees, or touches, the keystore, license or settings of the user who runs it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.keystores import Desk, desk_in_memory
from tests.models.workshop import Workshop
from tests.program import Program
from tests.signals import reset_signals
from tests.untraced import untraced

OURS = ("TIKTRUE_", "_TIKTRUE_")
STANDARD = ("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "CONFIGURATION_DIRECTORY", "NO_COLOR", "FORCE_COLOR", "COLUMNS")

# Example data of a slow machine must not fail a test, and a failure in CI must come back with the same seed.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("here"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

reset_signals()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave examples by the hundred out of the measurement of coverage, which triples their time."""
    for item in items:
        if hasattr(getattr(item, "obj", None), "hypothesis"):
            item.add_marker("untraced")


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Run a test that has the mark outside of the measurement of coverage."""
    if item.get_closest_marker("untraced") is None:
        yield
        return
    with untraced():
        yield


@pytest.fixture(autouse=True)
def empty_surroundings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Takes our variables away and puts the default folders into one that is thrown away; returns that folder."""
    for name in [name for name in os.environ if name.startswith(OURS) or name in STANDARD]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("surroundings")
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TIKTRUE_KEYS_HOME", str(home / "keystore"))
    monkeypatch.setenv("TIKTRUE_HOST_SECRET_FILE", str(home / "host-secret"))
    return home


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A place for a keystore, in memory where there is some."""
    with desk_in_memory() as made:
        yield made


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    """A keystore with the key of one model, and models to encrypt with it."""
    made = Workshop(tmp_path)
    with made.desk:
        yield made


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program in a fresh folder, without a keystore."""
    return Program(tmp_path)
