"""A node opens what its pinned issuer has signed, and nobody else's work under the same key."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.two_issuers import two_issuers
from tests.keystores import LICENSE, error_of
from tiktrue_keys.cli.view.hints import hint_of
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError, RefusedError, RevokedError, UsageError
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.own_identity import own_card
from tiktrue_keys.fleet.pin import pin
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.unpin import unpin
from tiktrue_keys.models.container.container import Container, read_container
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.container.seal import ContainerSigner, keystore_signer
from tiktrue_keys.models.container.signers import Signers
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.open import open_model
from tiktrue_keys.models.file.reencrypt import reencrypt_model
from tiktrue_keys.models.file.rewrap import rewrap_model, rewrap_registered
from tiktrue_keys.models.file.verify import verify_model
from tiktrue_keys.models.folder.manifest_file import trusted_manifest, write_manifest
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, Manifest, PlainEntry, SignedManifest
from tiktrue_keys.models.format.trailer import (
    RECORD_LENGTH,
    SIGNATURE_PLACE_LENGTH,
    TAIL_LENGTH,
    Trailer,
    make_signature,
    signature_place,
)
from tiktrue_keys.models.serving.execute import held_models

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
    decrypt_model(manager, container, folder / "opened.bin", license_key=LICENSE, force=True)
    return (folder / "opened.bin").read_bytes()


def test_a_node_opens_what_its_issuer_encrypted(delivered: Fleet, tmp_path: Path) -> None:
    container = sealed_by(delivered.admin, tmp_path)
    node = delivered.nodes["n1"]
    assert verify_model(node, container, license_key=LICENSE).signed
    assert opened_by(node, container, tmp_path) == WEIGHTS


def test_a_node_signs_nothing_of_its_issuers_model(delivered: Fleet, tmp_path: Path) -> None:
    for sign in (
        lambda node: sealed_by(node, tmp_path),
        lambda node: write_manifest(
            node, tmp_path, Manifest(bytes(16), "llama", "dir", (PlainEntry("a", 1, bytes(32)),))
        ),
        lambda node: keystore_signer(node, "llama"),
    ):
        with pytest.raises(RefusedError, match="belongs to issuer 'head-office'"):
            sign(delivered.nodes["n2"])
    assert not (tmp_path / "model.bin.ttm").exists()


def test_what_a_node_signed_all_the_same_is_opened_nowhere(delivered: Fleet, tmp_path: Path) -> None:
    """Its data key opens with the issuer's key, and it bears a good signature of the node."""
    container = sealed_by(delivered.admin, tmp_path)
    node = delivered.nodes["n2"]
    signed_again(container, ContainerSigner(node.issuer, node.signer("model")))
    for manager in (node, delivered.nodes["n1"], delivered.admin):
        with pytest.raises(IntegrityError, match="another keystore"):
            opened_by(manager, container, tmp_path)


def signed_again(container: Path, signer: ContainerSigner) -> None:
    """Put another keystore's signature into a container."""
    with container.open("r+b") as file:
        found = read_container(file.fileno())
        signature = make_signature(found.header, found.body, found.trailer, issuer=signer.issuer, sign=signer.sign)
        file.seek(found.size - TAIL_LENGTH + RECORD_LENGTH - SIGNATURE_PLACE_LENGTH)
        file.write(signature_place(found.root, signature))


def test_another_issuers_signature_does_not_count_for_a_model(tmp_path: Path) -> None:
    """Every way to open a container goes by it, and so does the manifest of a folder."""
    with two_issuers() as fleet:
        container, node = sealed_by(fleet.admin, tmp_path), fleet.nodes["n1"]
        found = verify_model(node, container, license_key=LICENSE)
        assert found.signer is not None
        assert (found.signer.name, found.signer.node_id, found.signer.here) == (
            "head-office",
            fleet.node_id(fleet.admin),
            False,
        )
        assert "issuer 'head-office'" in found.checks[1]
        signed_again(container, ContainerSigner(fleet.other.issuer, fleet.other.signer("model")))
        for act in (
            partial(verify_model, node, container),
            partial(decrypt_model, node, container, tmp_path / "opened.bin"),
            partial(open_model, container, node),
            partial(rewrap_model, node, container),
            partial(held, node, container),
        ):
            with pytest.raises(IntegrityError, match="another keystore than issuer 'head-office'"):
                act(license_key=LICENSE)
        assert not (tmp_path / "opened.bin").exists()
        manifest = Manifest(bytes(16), "llama", "dir", (PlainEntry("a", 1, bytes(32)),))
        signed = SignedManifest.make(manifest, fleet.other.issuer, partial(fleet.other.sign, "manifest"))
        (tmp_path / MANIFEST_NAME).write_bytes(signed.encode())
        with pytest.raises(IntegrityError, match="another keystore than issuer 'head-office'"):
            trusted_manifest(node, tmp_path)


def held(manager: KeyManager, container: Path, license_key: str | bytes) -> None:
    with held_models(manager, [container], program="true", license_key=license_key):
        raise AssertionError


def test_the_issuer_does_not_believe_its_nodes(delivered: Fleet, tmp_path: Path) -> None:
    container = sealed_by(delivered.admin, tmp_path)
    node = delivered.nodes["n1"]
    signed_again(container, ContainerSigner(node.issuer, node.signer("model")))
    with pytest.raises(IntegrityError, match="another keystore than this keystore"):
        opened_by(delivered.admin, container, tmp_path)


@pytest.mark.parametrize("compromised", [False, True])
def test_what_a_removed_issuer_signed_counts_where_the_registry_names_it(
    delivered: Fleet, tmp_path: Path, compromised: bool
) -> None:
    (tmp_path / "other").mkdir()
    known, new = sealed_by(delivered.admin, tmp_path), sealed_by(delivered.admin, tmp_path / "other")
    node = delivered.nodes["n1"]
    opened_by(node, known, tmp_path)
    (row,) = node.containers()
    assert (row.signed, row.signer) == (True, delivered.node_id(delivered.admin))
    unpin(node, "head-office", compromised=compromised)
    if compromised:
        with pytest.raises(RevokedError):
            opened_by(node, known, tmp_path)
        with pytest.raises(IntegrityError, match="another keystore"):
            Signers(node).of_container(*parts_of(known))
        return
    assert opened_by(node, known, tmp_path) == WEIGHTS
    with pytest.raises(IntegrityError, match="another keystore"):
        opened_by(node, new, tmp_path)


def parts_of(container: Path) -> tuple[Container, Trailer, bytes]:
    with container.open("rb") as file:
        found = read_container(file.fileno())
    assert found.trailer.signature is not None
    return found, found.trailer, found.trailer.signature.issuer


@pytest.mark.parametrize("recover", [False, True])
def test_a_node_reencrypts_nothing_of_a_living_issuer(delivered: Fleet, tmp_path: Path, recover: bool) -> None:
    container, node = sealed_by(delivered.admin, tmp_path), delivered.nodes["n1"]
    if recover:
        delivered.admin.revoke([delivered.key.key_id], reason="a leak")
        delivered.deliver()
    before = container.read_bytes()
    with pytest.raises(RefusedError, match="belongs to issuer 'head-office'"):
        reencrypt_model(node, container, license_key=LICENSE, recover_revoked=recover, confirmed="llama")
    assert container.read_bytes() == before


def test_what_a_compromised_issuer_leaves_is_recovered_with_the_models_name(delivered: Fleet, tmp_path: Path) -> None:
    container, node = sealed_by(delivered.admin, tmp_path), delivered.nodes["n1"]
    unpin(node, "head-office", compromised=True)
    own = node.generate("llama", license_key=LICENSE).keys[0]
    recover = partial(reencrypt_model, node, container, license_key=LICENSE, recover_revoked=True)
    for confirmed in (None, "mistral"):
        refused = error_of(partial(recover, confirmed=confirmed))
        assert isinstance(refused, RefusedError)
        assert hint_of(refused) == "if the container is yours, add --confirm llama"
    made = recover(confirmed="llama")
    assert made.key.key_id == own.key_id
    found = verify_model(node, container, license_key=LICENSE)
    assert found.signer is not None
    assert found.signer.here
    assert isinstance(error_of(partial(recover, confirmed="llama")), UsageError), "there is nothing to confirm any more"
    assert isinstance(error_of(partial(recover, confirmed="mistral")), UsageError)
    assert verify_model(node, container, license_key=LICENSE).file_id == made.file_id
    assert opened_by(node, container, tmp_path) == WEIGHTS


def test_a_rewrap_gives_a_new_issuer_no_key_to_what_another_encrypted(tmp_path: Path) -> None:
    """llama goes over to the second issuer; what the first one has encrypted stays under its own key."""
    with two_issuers() as fleet:
        container, node = sealed_by(fleet.admin, tmp_path), fleet.nodes["n1"]
        opened_by(node, container, tmp_path)
        card, admin = parse_card(own_card(fleet.other)[1]), fleet.node_id(fleet.admin)
        models = ["vision/*", "llama"]
        pin(node, card, expect=card.node_id, role="issuer", models=models, keeps={admin: []})
        theirs = fleet.other.generate("llama", no_license=True).keys[0]
        fleet.send_from_other([theirs.key_id])
        assert fleet.receive("n1").superseded == ()
        assert node.find("llama").key_id == theirs.key_id
        assert not rewrap_registered(node, license_key=LICENSE).changed
        assert slots_at(str(container)).current.header.key_ids == {fleet.key.key_id}
