"""A node opens what its pinned issuer has signed, and nobody else's work under the same key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.fleet import Fleet
from tests.keystores import LICENSE
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.unpin import unpin
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.verify import verify_model

WEIGHTS = b"weights" * 1000


@pytest.fixture
def delivered(fleet: Fleet) -> Fleet:
    """Every node holds the issuer's key."""
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.deliver()
    return fleet


def sealed_by(manager: KeyManager, folder: Path) -> Path:
    source = folder / "model.bin"
    source.write_bytes(WEIGHTS)
    made = encrypt_model(manager, source, key="llama", license_key=LICENSE)
    assert isinstance(made.destination, Path)
    return made.destination


def opened_by(manager: KeyManager, container: Path, folder: Path) -> bytes:
    decrypt_model(manager, container, folder / "opened.bin", license_key=LICENSE)
    return (folder / "opened.bin").read_bytes()


def test_a_node_opens_what_its_issuer_encrypted(delivered: Fleet, tmp_path: Path) -> None:
    container = sealed_by(delivered.admin, tmp_path)
    node = delivered.nodes["n1"]
    assert verify_model(node, container, license_key=LICENSE).signed
    assert opened_by(node, container, tmp_path) == WEIGHTS


def test_another_node_of_the_same_issuer_is_no_issuer(delivered: Fleet, tmp_path: Path) -> None:
    container = sealed_by(delivered.nodes["n2"], tmp_path)
    with pytest.raises(IntegrityError, match="another keystore"):
        opened_by(delivered.nodes["n1"], container, tmp_path)


def test_the_issuer_does_not_believe_its_nodes(delivered: Fleet, tmp_path: Path) -> None:
    container = sealed_by(delivered.nodes["n1"], tmp_path)
    with pytest.raises(IntegrityError, match="another keystore"):
        opened_by(delivered.admin, container, tmp_path)


def test_an_issuer_that_was_let_go_is_believed_no_longer(delivered: Fleet, tmp_path: Path) -> None:
    container = sealed_by(delivered.admin, tmp_path)
    node = delivered.nodes["n1"]
    unpin(node, "head-office")
    with pytest.raises(IntegrityError, match="another keystore"):
        opened_by(node, container, tmp_path)
