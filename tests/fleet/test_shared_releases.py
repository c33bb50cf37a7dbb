"""Nodes that read models from a shared storage: rollback, a withdrawn version, a carrier that keeps news back, and a
re-encryption under their hands.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.fleet import Fleet, fleet_in_memory
from tests.keystores import LICENSE
from tests.models.workshop import pattern
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import ExpiredError, RefusedError
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.unpin import unpin
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.open import open_model
from tiktrue_keys.models.file.reencrypt import reencrypt_model
from tiktrue_keys.models.file.verify import Verified, verify_model
from tiktrue_keys.models.model_release import release_models
from tiktrue_keys.models.tensors import load_tensors

LENGTH = (1 << 20) + 5000
_HEADER = b'{"bias":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
TENSORS = len(_HEADER).to_bytes(8, "little") + _HEADER + b"abcd"


class Storage:
    """A folder that the issuer writes and the nodes read; an attacker can write it too."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.admin = fleet, fleet.admin
        self.folder = fleet.folder / "shared"
        self.folder.mkdir()
        fleet.admin.generate("weights", license_key=LICENSE, lifetime=400 * 86_400)
        distribute(fleet.admin, ["weights"], every_node=True)
        fleet.deliver()

    @property
    def node(self) -> KeyManager:
        return self.fleet.nodes["n1"]

    def sealed(self, name: str, content: bytes | None = None) -> Path:
        plain = self.folder / name
        plain.write_bytes(content or pattern(LENGTH))
        made = encrypt_model(self.admin, plain, key="weights", license_key=LICENSE).destination
        plain.unlink()
        return Path(str(made))

    def verified(self, path: Path, manager: KeyManager | None = None) -> Verified:
        return verify_model(manager or self.node, path, license_key=LICENSE)

    def refuse(self, path: Path, remedy: str) -> str:
        with pytest.raises(RefusedError) as refused:
            self.verified(path)
        assert refused.value.remedy == remedy
        return refused.value.message


@pytest.fixture
def storage() -> Iterator[Storage]:
    with fleet_in_memory("n1") as fleet:
        yield Storage(fleet)


def test_a_node_refuses_last_weeks_weights_and_opens_them_once_they_are_released_again(storage: Storage) -> None:
    last, this = storage.sealed("last.bin"), storage.sealed("this.bin")
    storage.verified(last)
    release_models(storage.admin, [this])
    storage.fleet.deliver()
    kept = storage.folder / "kept.ttm"
    shutil.copy(this, kept)
    shutil.copy(last, this)  # the rollback
    assert "does not name container" in storage.refuse(this, "superseded")
    storage.verified(kept)

    release_models(storage.admin, [last], only=True)  # back on purpose
    storage.fleet.deliver()
    storage.verified(this)
    withdrawn = storage.admin.releases()[0].entries[0].file_id
    release_models(storage.admin, [kept], withdraw=[withdrawn.hex()])
    storage.fleet.deliver()
    assert "was withdrawn from model weights" in storage.refuse(last, "withdrawn")
    storage.verified(kept)


def test_a_carrier_that_keeps_a_release_back_is_seen_by_the_age_of_the_list(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """Freezing works until the list ends; from then on every opening warns, and a strict one is refused."""
    bad, good = storage.sealed("bad.safetensors", TENSORS), storage.sealed("good.bin")
    release_models(storage.admin, [bad])
    storage.fleet.deliver()
    release_models(storage.admin, [good], only=True)
    storage.fleet.sync()  # and nothing arrives
    storage.fleet.clock.forward(days=29)
    assert storage.verified(bad).warnings == ()
    assert "list-ended" not in {each.id for each in storage.node.status().findings}
    storage.fleet.clock.forward(days=2)
    (ended,) = [each for each in storage.node.status().findings if each.id == "list-ended"]
    assert ended.subject == "head-office"
    codes = [notice.code for notice in storage.verified(bad).warnings]
    assert codes == ["stale-revocation-list", "stale-release"]
    with caplog.at_level(logging.WARNING, "tiktrue_keys"), open_model(bad, storage.node, LICENSE) as model:
        assert [notice.code for notice in model.warnings] == codes
        tensors = load_tensors(bad, storage.node, LICENSE)
    assert [notice.code for notice in tensors.warnings] == codes
    assert [each.name for each in tensors] == ["bias"]
    assert [(each.name, each.getMessage().split(":")[0]) for each in caplog.records] == [
        ("tiktrue_keys.models", code) for code in (*codes, *codes)
    ]
    assert "does not name container" in storage.refuse(good, "superseded")  # past its end it goes on counting
    storage.node.require_fresh_lists()
    with pytest.raises(ExpiredError):
        storage.verified(bad)
    assert [notice.code for notice in storage.verified(good, storage.admin).warnings] == []

    storage.fleet.deliver()
    assert storage.verified(good).warnings == ()
    storage.refuse(bad, "superseded")


def test_a_reencryption_on_shared_storage_under_readers(storage: Storage) -> None:
    shared = storage.sealed("model.bin")
    release_models(storage.admin, [shared])
    storage.fleet.deliver()
    reader = open_model(shared, storage.node, LICENSE)
    first = reader.read(100)
    old = storage.folder / "old.ttm"
    shutil.copy(shared, old)
    reencrypt_model(storage.admin, shared, license_key=LICENSE)

    assert first + reader.read() == pattern(LENGTH)  # a reader that has it open reads on
    reader.close()
    storage.refuse(shared, "superseded")  # the release is on its way, and the hint is to receive it
    storage.fleet.deliver()
    for path in (shared, old):
        storage.verified(path)
    storage.fleet.clock.forward(days=8)
    storage.verified(shared)
    storage.refuse(old, "superseded")


def test_a_copy_is_reencrypted_so_that_no_reader_ever_waits(storage: Storage) -> None:
    """The way of operations.7: a copy first, then the nodes, and only then the name that they read."""
    shared, new = storage.sealed("model.bin"), storage.folder / "new.ttm"
    release_models(storage.admin, [shared])
    storage.fleet.deliver()
    shutil.copy(shared, new)
    reencrypt_model(storage.admin, new, license_key=LICENSE)
    storage.verified(shared)
    storage.fleet.deliver()
    storage.verified(shared)
    new.rename(shared)
    storage.verified(shared)


def test_after_the_issuer_was_removed_its_last_release_still_refuses_a_rollback(storage: Storage) -> None:
    """Its earlier signatures go on counting, so its last release has to. Its list no longer ages."""
    last, this = storage.sealed("last.bin"), storage.sealed("this.bin")
    open_model(last, storage.node, LICENSE).close()  # registered, so that its signature counts later
    release_models(storage.admin, [this])
    storage.fleet.deliver()
    unpin(storage.node, "head-office")
    storage.fleet.clock.forward(days=40)
    assert "stale-release" not in [notice.code for notice in storage.verified(this).warnings]
    storage.refuse(last, "superseded")


def test_after_a_compromise_the_old_one_leaves_at_once(storage: Storage) -> None:
    shared = storage.sealed("model.bin")
    release_models(storage.admin, [shared])
    reencrypt_model(storage.admin, shared, license_key=LICENSE, recover_revoked=True)
    storage.fleet.deliver()
    storage.verified(shared)
    found = storage.node.release_of("weights")
    assert found is not None
    assert [each.file_id for each in found.release.entries] == [storage.verified(shared).file_id]
