"""The vectors that make_vectors.py made: the product still writes exactly these bytes, and still opens them."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.core.audit.trees import literal_root
from tests.independent.open_keystore import roots
from tests.vectors.keystore_vectors import record_context
from tests.vectors.make_vectors import all_vectors
from tiktrue_keys.core.audit.checkpoint import open_note
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.models.container.container import Authorship, check_authorship, read_container
from tiktrue_keys.models.container.unseal import open_container
from tiktrue_keys.models.format.block import open_block
from tiktrue_keys.models.format.wraps import unwrap_data_key

HERE = Path(__file__).parent
CONTAINERS: dict[str, Any] = json.loads((HERE / "container.json").read_text())
MADE = ("container", "keystore", "checkpoint", "block")


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return all_vectors()


def test_made_again_they_are_the_same(made: dict[str, bytes]) -> None:
    there = {path.name for path in HERE.iterdir() if path.name.startswith(MADE) and path.suffix != ".py"}
    assert there == set(made)
    for name, content in made.items():
        assert (HERE / name).read_bytes() == content, name


@pytest.mark.parametrize("name", CONTAINERS["containers"])
def test_containers_open(name: str, tmp_path: Path) -> None:
    about = CONTAINERS["containers"][name]
    with open(HERE / name, "rb") as file, open(tmp_path / "plain", "w+b") as output:
        container = read_container(file.fileno())
        header = container.header
        with (
            SecretBuffer.copy_of(bytes.fromhex(CONTAINERS["managed_key"])) as key,
            unwrap_data_key(header.wraps[0], key.view, file_id=header.file_id, model_id=header.model_id) as data_key,
        ):
            assert bytes(data_key.view).hex() == about["data_key"]
            container.authenticate(data_key.view)
            open_container(file.fileno(), container, output.fileno(), data_key.view)
        authorship = check_authorship(
            header,
            container.body,
            container.trailer,
            issuers=[bytes.fromhex(CONTAINERS["issuer"])],
            allow_unsigned=not about["signed"],
        )
        assert os.pread(output.fileno(), 4096, 0).hex() == about["plaintext"]
    assert authorship is (Authorship.SIGNED if about["signed"] else Authorship.UNSIGNED)
    assert (header.wraps[0].type.value, container.root.hex()) == (about["wrap"], about["root"])


@pytest.mark.parametrize("name", ["record", "deflated_record"])
def test_records_open(name: str) -> None:
    about = json.loads((HERE / "keystore.json").read_text())
    keys = RootKeys(SecretBuffer.copy_of(bytes.fromhex(about["H"])), bytes.fromhex(about["keystore_id"]))
    sealed = bytes.fromhex(about[name]["sealed"])
    assert keys.sealer.open(sealed, record_context(keys), limit=16_384).decode() == about[name]["payload"]
    shorter = len(sealed) < len(about[name]["payload"])
    assert shorter is (name == "deflated_record")


def test_slots_open_for_a_reader_of_the_page() -> None:
    about = json.loads((HERE / "keystore.json").read_text())
    document = json.loads(about["document"])
    borne = [kind for kind, _ in about["facts"] if kind != "machine-id"]
    spared = [[fact for fact in about["facts"] if fact[0] != kind] for kind in borne]
    assert [len(slot["hints"]) for slot in document["slots"]] == [4] * len(spared)
    for facts in spared:
        assert [root.hex() for root in roots(document, bytes.fromhex(about["host_secret"]), facts)] == [about["H"]]


def test_checkpoint_opens() -> None:
    about = json.loads((HERE / "checkpoint.json").read_text())
    leaves = [base64.b64decode(leaf) for leaf in about["leaves"]]
    origin = about["note"].split("\n")[0]
    found = open_note(about["note"], origin=origin, public_key=bytes.fromhex(about["public_key"]))
    assert (found.size, found.root) == (len(leaves), literal_root(leaves))


def test_block_opens() -> None:
    about = json.loads((HERE / "block.json").read_text())
    with SecretBuffer.copy_of(bytes.fromhex(about["managed_key"])) as key:
        assert open_block(bytes.fromhex(about["envelope"]), key.view).hex() == about["block"]
