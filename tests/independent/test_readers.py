"""The readers that know the format page alone open what the product wrote, and refuse what was changed."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.independent.open_block import open_block
from tests.independent.open_container import SEGMENT, current_slot, header_of, open_container
from tests.independent.open_keystore import hkdf, open_keystore
from tests.vectors import known as vectors
from tests.vectors.store_keystore import stored as stored_keystores
from tests.vectors.store_keystore import unpack
from tiktrue_keys.core.derivation import signed_message
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.machine import read_facts
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.models.container.seal import ContainerSigner, seal_container
from tiktrue_keys.models.format.header import Header, Origin
from tiktrue_keys.models.format.kind import Kind
from tiktrue_keys.models.format.wraps import wrap_for_key

HERE = Path(__file__).parent
VECTORS = HERE.parent / "vectors"
KNOWN: dict[str, Any] = json.loads((VECTORS / "container.json").read_text())
MANAGED_KEY = bytes.fromhex(KNOWN["managed_key"])
ISSUER = bytes.fromhex(KNOWN["issuer"])
REFUSED = (SystemExit, InvalidTag, InvalidSignature)


def stored(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def known(name: str) -> dict[str, Any]:
    described: dict[str, Any] = KNOWN["containers"][name]
    return described


@pytest.mark.parametrize("name", ["container-small.ttm", "container-piped.ttm"])
def test_container(name: str) -> None:
    assert open_container(stored(name), KNOWN["key_id"], MANAGED_KEY, ISSUER).hex() == known(name)["plaintext"]


# Every part of a container, by an offset in it: slot 0 and slot 1 together for the header.
PARTS = {
    "sequence number": 14,
    "header": 80,
    "padding": 30_000,
    "HMAC": 32_740,
    "salt": 65_536 + 5,
    "prefix": 65_536 + 35,
    "ciphertext": 65_536 + 60,
    "leaf": -200 - 5,
    "segments": -200 + 15,
    "length": -200 + 23,
    "root": -200 + 30,
    "issuer": -200 + 60,
    "signature": -200 + 100,
    "check": -200 + 160,
    "footer": -4,
}


@pytest.mark.parametrize("at", PARTS.values(), ids=PARTS.keys())
def test_changed_container(at: int) -> None:
    changed = bytearray(stored("container-small.ttm"))
    for place in (at, at + 32_768) if 0 <= at < 32_768 else (at,):
        changed[place] ^= 1
    with pytest.raises(REFUSED):
        open_container(bytes(changed), KNOWN["key_id"], MANAGED_KEY, ISSUER)


def refitted(container: bytearray) -> bytes:
    """With all checksums right again, as an attacker would leave it."""
    for at in (0, 32_768):
        slot = container[at : at + 32_768]
        container[at + 32 : at + 64] = hashlib.sha256(slot[:32] + bytes(32) + slot[64:]).digest()
    record, footer = container[-200:-32], container[-32:-16]
    check = hashlib.sha256(b"tiktrue-keys/1 model-signature\0" + record[24:152]).digest()[:16]
    container[-48:-32] = check
    leaves = container[-200 - 32 : -200]
    container[-16:] = hashlib.sha256(leaves + record[:56] + bytes(112) + footer).digest()[:16]
    return bytes(container)


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ("sequence number", "HMAC of the header"),
        ("HMAC", "HMAC of the header"),
        ("leaf", "leaves"),
        ("root", "root"),
        ("segments", "lengths"),
        ("length", "lengths"),
        ("issuer", "issuer"),
    ],
)
def test_changed_container_with_its_checksums_mended(part: str, complaint: str) -> None:
    changed = bytearray(stored("container-small.ttm"))
    at = PARTS[part]
    for place in (at, at + 32_768) if 0 <= at < 32_768 else (at,):
        changed[place] ^= 1
    with pytest.raises(SystemExit, match=complaint):
        open_container(refitted(changed), KNOWN["key_id"], MANAGED_KEY, ISSUER if part != "root" else None)


def test_forged_signature() -> None:
    changed = bytearray(stored("container-small.ttm"))
    changed[PARTS["signature"]] ^= 1
    with pytest.raises(InvalidSignature):
        open_container(refitted(changed), KNOWN["key_id"], MANAGED_KEY, ISSUER)


def test_refitting_changes_nothing_that_is_right() -> None:
    container = stored("container-small.ttm")
    assert refitted(bytearray(container)) == container


def test_other_managed_key() -> None:
    with pytest.raises(REFUSED):
        open_container(stored("container-small.ttm"), KNOWN["key_id"], bytes(32), ISSUER)


@pytest.fixture(scope="module")
def two_segments(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, bytes, bytes]:
    """A container of two segments, its data key, file id and plaintext."""
    folder = tmp_path_factory.mktemp("two")
    plaintext, data_key, file_id = vectors.known("two segments", SEGMENT + 1000), bytes(range(32)), bytes(range(16))
    private = Ed25519PrivateKey.from_private_bytes(vectors.known("issuer"))
    signer = ContainerSigner(ISSUER, lambda data: private.sign(signed_message("model", data)))
    (folder / "plain").write_bytes(plaintext)
    with (
        SecretBuffer.copy_of(data_key) as secret,
        SecretBuffer.copy_of(MANAGED_KEY) as key,
        open(folder / "plain", "rb") as source,
        open(folder / "sealed", "w+b") as target,
    ):
        names = {"file_id": file_id, "model_id": vectors.MODEL, "key_id": vectors.KEY, "generation": 7}
        wrap = wrap_for_key(secret.view, key.view, **names)  # type: ignore[arg-type]
        header = Header(file_id, vectors.MODEL, "plain", Kind.OTHER, None, Origin.KEYSTORE, (wrap,))
        seal_container(source.fileno(), target.fileno(), header, secret.view, signer=signer)
    return (folder / "sealed").read_bytes(), data_key, file_id, plaintext


def test_container_of_two_segments(two_segments: tuple[bytes, bytes, bytes, bytes]) -> None:
    container, _, _, plaintext = two_segments
    assert open_container(container, KNOWN["key_id"], MANAGED_KEY, ISSUER) == plaintext


def test_swapped_segments_are_refused_without_tags(two_segments: tuple[bytes, bytes, bytes, bytes]) -> None:
    container, *_ = two_segments
    body = bytearray(container)
    body[65_536 + SEGMENT] ^= 1
    with pytest.raises(SystemExit, match="leaves"):
        open_container(bytes(body), KNOWN["key_id"], MANAGED_KEY, ISSUER)


def test_tink_opens_the_bodies(two_segments: tuple[bytes, bytes, bytes, bytes]) -> None:
    pytest.importorskip("tink", reason="the tink package is not installed for this system")
    from tests.independent.open_with_tink import open_body

    for name in KNOWN["containers"]:
        about = known(name)
        found = open_body(stored(name), bytes.fromhex(about["data_key"]), bytes.fromhex(about["file_id"]))
        assert found.hex() == about["plaintext"]
    container, data_key, file_id, plaintext = two_segments
    assert open_body(container, data_key, file_id) == plaintext


def test_block() -> None:
    about = json.loads(stored("block.json"))
    key_id, block_id, block = open_block(bytes.fromhex(about["envelope"]), bytes.fromhex(about["managed_key"]))
    assert (key_id, block_id, block.hex()) == (about["key_id"], about["block_id"], about["block"])
    changed = bytes.fromhex(about["envelope"])[:-1] + b"\0"
    with pytest.raises(InvalidTag):
        open_block(changed, bytes.fromhex(about["managed_key"]))


@pytest.fixture
def keystore(tmp_path: Path) -> Iterator[KeyManager]:
    made = KeyManager(tmp_path / "ks", host_secret_file=tmp_path / "state" / "host", pbkdf2_rounds=100_000)
    with made as manager:
        manager.generate("licensed", license_key="a license")
        manager.generate("unlicensed", no_license=True)
        yield manager


def facts() -> list[list[str]]:
    return [[fact.kind.value, fact.value] for fact in read_facts().facts]


def secret_of(manager: KeyManager, model_id: str, license_key: str | None) -> tuple[str, bytes]:
    with manager.open_key(model_id, license_key, use=Use.ENCRYPT) as opened:
        return opened.key.key_id, bytes(opened.secret.view)


@pytest.mark.parametrize(("model_id", "license_key"), [("licensed", "a license"), ("unlicensed", None)])
def test_keystore(keystore: KeyManager, tmp_path: Path, model_id: str, license_key: str | None) -> None:
    key_id, secret = secret_of(keystore, model_id, license_key)
    path, host_secret = str(tmp_path / "ks" / "keystore.db"), (tmp_path / "state" / "host").read_bytes()
    opened = open_keystore(path, host_secret, facts())
    assert opened.managed_key(key_id, license_key.encode() if license_key else None) == secret
    opened.database.close()
    with pytest.raises(SystemExit, match="host secret"):
        open_keystore(path, bytes(32), facts())


@pytest.mark.parametrize("name", ["license", "license_of_version_2"])
def test_license_of_the_vectors(name: str) -> None:
    """Both versions of an entry, from the vectors' own numbers."""
    vectors = json.loads((VECTORS / "keystore.json").read_text())
    given, cost = vectors[name], json.loads(vectors["document"])["costs"][0]
    text = given["license"].encode()
    hashed = text if given["version"] == 1 else hmac.digest(b"tiktrue-keys/2 license", text, "sha256")
    stretched = hashlib.pbkdf2_hmac("sha256", hashed, bytes.fromhex(cost["salt"]), cost["rounds"])
    salt = bytes.fromhex(given["salt"])
    assert stretched.hex() == given["P"]
    assert hkdf(stretched, salt, b"tiktrue-keys/1 license-tag", 16).hex() == given["tag"]
    assert hkdf(stretched, salt, b"tiktrue-keys/1 license-kek").hex() == given["kek"]


def test_keystore_of_another_license(keystore: KeyManager, tmp_path: Path) -> None:
    key_id, _ = secret_of(keystore, "licensed", "a license")
    host_secret = (tmp_path / "state" / "host").read_bytes()
    opened = open_keystore(str(tmp_path / "ks" / "keystore.db"), host_secret, facts())
    with pytest.raises(SystemExit, match="unknown license"):
        opened.managed_key(key_id, b"another license")
    opened.database.close()


@pytest.mark.parametrize("archive", stored_keystores(), ids=lambda path: path.name)
def test_stored_keystore(tmp_path: Path, archive: Path) -> None:
    """What expected.json says of the machine and the license is all that a reader needs to open a container there."""
    expected = unpack(archive, tmp_path / "lib")
    secret = (tmp_path / "lib/tiktrue-keys-host/secret").read_bytes()
    container = (tmp_path / "lib/model.ttm").read_bytes()
    ((key_id, _),) = {(wrap["key_id"], wrap["type"]) for wrap in header_of(current_slot(container))["wraps"]}
    opened = open_keystore(str(tmp_path / "lib/tiktrue-keys/keystore.db"), secret, expected["facts"])
    managed_key = opened.managed_key(key_id, expected["license"].encode())
    issuer = bytes.fromhex(opened.document["identity_key"])
    opened.database.close()
    assert open_container(container, key_id, managed_key, issuer) == (tmp_path / "lib/model.bin").read_bytes()


def test_as_programs(keystore: KeyManager, tmp_path: Path) -> None:
    """Each runs by itself, without the package on its path."""
    key_id, secret = secret_of(keystore, "licensed", "a license")
    (tmp_path / "facts.json").write_text(json.dumps(facts()))
    (tmp_path / "license").write_text("a license")
    files = [tmp_path / "ks" / "keystore.db", tmp_path / "state" / "host", tmp_path / "facts.json"]
    assert run("open_keystore.py", *files, key_id, tmp_path / "license") == f"{secret.hex()}\n".encode()
    container = VECTORS / "container-small.ttm"
    plaintext = bytes.fromhex(known("container-small.ttm")["plaintext"])
    assert run("open_container.py", container, KNOWN["key_id"], KNOWN["managed_key"], KNOWN["issuer"]) == plaintext


def run(script: str, *arguments: str | os.PathLike[str]) -> bytes:
    done = subprocess.run([sys.executable, "-I", HERE / script, *arguments], capture_output=True, check=False)
    assert done.stderr == b""
    return done.stdout
