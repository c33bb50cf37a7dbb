"""Two modules share a name only if they do the same to different things, and no gerund stands beside its verb."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.module_names import gerunds, shared_command_names, shared_names, unused_exceptions
from tests.project.planted import plant

PACKAGE = Path(__file__).parents[2] / "tiktrue_keys"


def planted(root: Path, *names: str) -> Path:
    plant(root, dict.fromkeys(names, ""), "package")
    return root / "package"


def test_no_two_modules_share_a_name_without_a_reason() -> None:
    assert shared_names(PACKAGE) == []
    assert shared_command_names(PACKAGE) == []


def test_no_module_is_named_by_the_gerund_of_anothers_verb() -> None:
    assert gerunds(PACKAGE) == []


def test_every_exception_is_in_use() -> None:
    assert unused_exceptions(PACKAGE) == []


@pytest.mark.parametrize("name", ["keys", "registry", "results"])
def test_a_planted_name_that_comes_twice_is_found(tmp_path: Path, name: str) -> None:
    package = planted(tmp_path, f"core/{name}.py", f"models/deep/{name}.py", "core/other.py")

    assert shared_names(package) == [f"{name}: core/{name}, models/deep/{name}"]


def test_the_same_verb_on_another_noun_passes(tmp_path: Path) -> None:
    assert shared_names(planted(tmp_path, "models/file/encrypt.py", "models/folder/encrypt.py")) == []


def test_a_command_shares_its_name_with_what_it_calls(tmp_path: Path) -> None:
    package = planted(tmp_path, "cli/commands/keys/rotate.py", "core/operations/rotate.py")

    assert shared_names(package) == shared_command_names(package) == []


def test_two_commands_of_one_name_are_found(tmp_path: Path) -> None:
    package = planted(tmp_path, "cli/commands/keys/show.py", "cli/commands/audit/show.py")

    assert shared_command_names(package) == ["show"]


@pytest.mark.parametrize(
    ("gerund", "verb"), [("rotating", "rotate"), ("opening", "open"), ("stopping", "stop"), ("pinning", "pin")]
)
def test_a_planted_gerund_is_found_beside_its_verb(tmp_path: Path, gerund: str, verb: str) -> None:
    assert gerunds(planted(tmp_path, f"core/{gerund}.py", f"models/{verb}.py")) == [f"{gerund}: {verb}"]


@pytest.mark.parametrize("name", ["keyring", "tracking", "sealing", "string", "ing"])
def test_a_gerund_alone_or_a_noun_of_the_field_passes(tmp_path: Path, name: str) -> None:
    assert gerunds(planted(tmp_path, f"core/{name}.py", "models/seal.py", "models/key.py")) == []
