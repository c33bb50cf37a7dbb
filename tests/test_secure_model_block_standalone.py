"""Model blocks end to end through the public API: bound to machine and license, rotated, revoked, expired."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keystores import NOON, Clock
from tiktrue_keys import KeyManager, ModelEncryption, SecurityError
from tiktrue_keys.errors import ExpiredError, IntegrityError, NotFoundError, RevokedError, WrongLicenseError

LICENSE = "user_license_key"
MODEL = "llama_7b_v1"


class Node:
    """A machine with a keystore, a clock and an encryption."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock(NOON)
        self.manager = self.open()
        self.key = self.manager.generate_hardware_bound_key(license_key=LICENSE, model_id=MODEL)
        self.encryption = ModelEncryption(self.manager)

    def open(self) -> KeyManager:
        return KeyManager(
            self.folder / "keys",
            host_secret_file=self.folder / "host/secret",
            clock=self.clock,
            pbkdf2_rounds=100_000,
        )

    def seal(self, data: bytes = b"weights", block_id: str = "block-0", model_id: str = MODEL) -> bytes:
        return self.encryption.encrypt_block(data, model_id=model_id, license_key=LICENSE, block_id=block_id)

    def unseal(self, block: bytes, block_id: str = "block-0", model_id: str = MODEL) -> bytes:
        return self.encryption.decrypt_block(block, model_id=model_id, license_key=LICENSE, block_id=block_id)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.manager.close()


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 4096, (1 << 20) + 1])
def test_blocks_of_any_size_come_out_again(node: Node, length: int) -> None:
    data = hashlib.shake_128(b"block").digest(length)
    block = node.seal(data)
    assert node.unseal(block) == data
    assert length < 16 or data[:16] not in block


def test_a_block_opens_in_another_process_of_the_same_machine(node: Node) -> None:
    block = node.seal()
    node.manager.close()
    with node.open() as again:
        assert again.validate_hardware_binding(node.key.key_id)
        assert ModelEncryption(again).decrypt_block(block, model_id=MODEL, license_key=LICENSE, block_id="block-0")


def test_a_copied_keystore_opens_nothing_elsewhere(node: Node, tmp_path: Path) -> None:
    block = node.seal()
    node.manager.close()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(node.folder / "keys", elsewhere / "keys")
    shutil.rmtree(node.folder / "host")
    with KeyManager(elsewhere / "keys") as thief:
        with pytest.raises(SecurityError) as caught:
            ModelEncryption(thief).decrypt_block(block, model_id=MODEL, license_key=LICENSE, block_id="block-0")
        assert caught.value.code == "wrong-machine"
        assert not thief.validate_hardware_binding(node.key.key_id)


def test_the_wrong_license_opens_nothing(node: Node) -> None:
    block = node.seal()
    with pytest.raises(WrongLicenseError):
        node.encryption.decrypt_block(block, model_id=MODEL, license_key="stolen", block_id="block-0")


def test_rotation_keeps_old_blocks_readable_and_seals_new_ones_again(node: Node) -> None:
    old = node.seal(b"old")
    new_key = asyncio.run(
        node.manager.rotate_key(old_key_id=node.key.key_id, license_key=LICENSE, notify_clients=["client1", "client2"])
    )
    new = node.seal(b"new")
    assert node.key.key_id.encode() in old
    assert new_key.key_id.encode() in new
    assert (node.unseal(old), node.unseal(new)) == (b"old", b"new")
    node.clock.forward(days=8)  # the overlap is over: still readable, with a warning
    assert node.unseal(old) == b"old"


def test_a_revoked_key_opens_nothing_any_more(node: Node) -> None:
    block = node.seal()
    assert asyncio.run(node.manager.revoke_key(key_id=node.key.key_id, reason="security_breach")) is True
    with pytest.raises(RevokedError, match="security_breach"):
        node.unseal(block)
    with pytest.raises(RevokedError):
        node.seal()
    assert ("open", "refused") in [(record.event, record.outcome) for record in node.manager.audit_records()]


def test_an_expired_key_seals_nothing_and_opens_for_a_while(node: Node) -> None:
    block = node.seal()
    node.clock.forward(days=31)
    with pytest.raises(ExpiredError):
        node.seal()
    assert node.unseal(block) == b"weights"
    node.clock.forward(days=90)
    with pytest.raises(ExpiredError):
        node.unseal(block)
    assert node.encryption.decrypt_block(
        block, model_id=MODEL, license_key=LICENSE, block_id="block-0", allow_deprecated=True
    )


def test_blocks_of_several_models_and_places_are_not_exchangeable(node: Node) -> None:
    node.manager.generate_hardware_bound_key(license_key=LICENSE, model_id="mistral_7b")
    one, two = node.seal(b"1", "block-1"), node.seal(b"2", "block-2")
    other = node.seal(b"3", "block-1", "mistral_7b")
    for block, block_id, model_id in ((one, "block-2", MODEL), (two, "block-1", MODEL), (other, "block-1", MODEL)):
        with pytest.raises(IntegrityError, match="this is not block"):
            node.unseal(block, block_id, model_id)
    assert node.unseal(other, "block-1", "mistral_7b") == b"3"


def test_a_changed_block_is_found(node: Node) -> None:
    block = node.seal(b"0123456789")
    for at in range(0, len(block), 7):
        changed = bytearray(block)
        changed[at] ^= 0x40
        with pytest.raises((IntegrityError, NotFoundError)):
            node.unseal(bytes(changed))
    with pytest.raises(IntegrityError):
        node.unseal(block[:-1])


def test_many_threads_at_once(node: Node) -> None:
    results: dict[int, bytes] = {}

    def work(number: int) -> None:
        block_id = f"block-{number}"
        results[number] = node.unseal(node.seal(b"%d" % number, block_id), block_id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: b"%d" % number for number in range(8)}
