"""The lock files: every package pinned with hashes, no address of an index, and the small lock inside the large one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUPS = ("model", "fuzz", "roots", "campaign")
LOCKS = ["requirements.lock", "requirements-test.lock", *(f"requirements-{group}.lock" for group in GROUPS)]
ENTRY = re.compile(r"^[a-z0-9][a-z0-9.-]*==[^\s;]+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n", re.MULTILINE)


def entries(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return {match.group().split("==")[0]: match.group() for match in ENTRY.finditer(text)}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_nothing_but_pinned_and_hashed_packages(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")

    assert ENTRY.sub("", text) == ""
    assert entries(name)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_index(name: str) -> None:
    assert not re.search(r"://|@|--(extra-)?index-url|--find-links|--trusted-host", (ROOT / name).read_text("utf-8"))


def test_the_test_lock_holds_the_runtime_lock_unchanged() -> None:
    assert entries("requirements.lock").items() <= entries("requirements-test.lock").items()


def test_the_locks_hold_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    devices = [*extras.pop("tpm"), *extras.pop("hsm")]
    runtime, everything = project["project"]["dependencies"], [wish for extra in extras.values() for wish in extra]

    assert {package(wish) for wish in runtime} <= entries("requirements.lock").keys()
    assert {package(wish) for wish in everything} <= entries("requirements-test.lock").keys()
    assert {package(wish) for wish in devices} <= entries("requirements-roots.lock").keys()
    assert {package(wish) for wish in project["build-system"]["requires"]} <= entries("requirements.lock").keys()
    for group in GROUPS:
        wishes = project["dependency-groups"][group]
        assert {package(wish) for wish in wishes} == entries(f"requirements-{group}.lock").keys()


def package(wish: str) -> str:
    return re.split(r"[\[<>=!~; ]", wish, maxsplit=1)[0].lower().replace("_", "-")
