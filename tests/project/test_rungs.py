"""Inside core, models and cli too, imports go one way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.planted import plant
from tests.project.rungs import RUNGS, empty_rungs, upward, without_rung

ROOT = Path(__file__).parents[2]

BREAKS = [
    ("core/keystore/open.py", "core/keys/keyring.py", "core/keystore/open imports keys/keyring"),
    ("core/canonical.py", "core/keystore/open.py", "core/canonical imports keystore/open"),
    ("core/names.py", "core/derivation.py", "core/names imports derivation"),
    ("core/audit/record.py", "core/keystore/open.py", "core/audit/record imports keystore/open"),
    ("core/keys/keyring.py", "core/session.py", "core/keys/keyring imports session"),
    ("core/operations/rotate.py", "core/manager.py", "core/operations/rotate imports manager"),
    ("models/format/header.py", "models/storage/objects.py", "models/format/header imports storage/objects"),
    ("models/file/encrypt.py", "models/folder/job.py", "models/file/encrypt imports folder/job"),
    ("models/serving/execute.py", "models/encryption.py", "models/serving/execute imports encryption"),
    ("cli/view/keys.py", "cli/context/context.py", "cli/view/keys imports context/context"),
    ("cli/program/values.py", "cli/view/keys.py", "cli/program/values imports view/keys"),
    ("cli/context/context.py", "cli/program/main.py", "cli/context/context imports program/main"),
    ("cli/input/labels.py", "cli/commands/keys/show.py", "cli/input/labels imports commands/keys/show"),
]

ALLOWED = [
    ("core/operations/rotate.py", "core/keystore/open.py"),
    ("core/operations/rotate.py", "core/operations/revoke.py"),
    ("core/names.py", "core/secret.py"),
    ("models/tensors.py", "models/folder/job.py"),
    ("models/format/header.py", "core/manager.py"),
    ("cli/view/progress_bar.py", "cli/context/context.py"),
    ("cli/program/main.py", "cli/context/context.py"),
    ("cli/commands/keystore/completion.py", "cli/docs/reference.py"),
]

IMPORTS = [
    "import tiktrue_keys.{0}",
    "from tiktrue_keys.{0} import something",
    "def f():\n    from tiktrue_keys.{0} import something",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tiktrue_keys.{0} import something",
]


def planted(root: Path, importer: str, imported: str, statement: str) -> None:
    module = imported.removesuffix(".py").replace("/", ".")
    plant(root, {importer: statement.format(module), imported: ""})


def test_the_layers_keep_the_ladder_inside() -> None:
    assert upward(ROOT) == []


def test_every_module_stands_on_a_rung() -> None:
    assert without_rung(ROOT) == []


def test_every_rung_holds_a_module() -> None:
    assert empty_rungs(ROOT) == []


@pytest.mark.parametrize("statement", IMPORTS)
@pytest.mark.parametrize(("importer", "imported", "reason"), BREAKS)
def test_a_planted_break_is_found(tmp_path: Path, importer: str, imported: str, reason: str, statement: str) -> None:
    planted(tmp_path, importer, imported, statement)

    (found,) = upward(tmp_path)

    assert found.startswith(f"tiktrue_keys/{importer}:")
    assert found.endswith(f"{reason}, which stands above it")


@pytest.mark.parametrize("statement", IMPORTS)
@pytest.mark.parametrize(("importer", "imported"), ALLOWED)
def test_an_import_of_the_same_rung_or_a_lower_one_passes(
    tmp_path: Path, importer: str, imported: str, statement: str
) -> None:
    planted(tmp_path, importer, imported, statement)

    assert upward(tmp_path) == []


@pytest.mark.parametrize("name", ["core/utils.py", "models/helpers/a.py", "cli/program/extra.py"])
def test_a_module_without_a_rung_is_found(tmp_path: Path, name: str) -> None:
    plant(tmp_path, {name: ""})

    assert without_rung(tmp_path) == [f"tiktrue_keys.{name.removesuffix('.py').replace('/', '.')}"]


def test_a_rung_without_a_module_is_found(tmp_path: Path) -> None:
    plant(tmp_path, {f"{layer}/{name.replace('.', '/')}.py": "" for layer in RUNGS for name in names(layer)})
    (tmp_path / "tiktrue_keys/core/forks.py").unlink()

    assert empty_rungs(tmp_path) == ["core.forks"]


def names(layer: str) -> list[str]:
    return [name for line in RUNGS[layer] for name in line.split()]
