"""The steps after an intrusion, one after the other, against a thief who was root until the first of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE, error_of, folder_in_memory
from tests.models.workshop import MODEL, Workshop, pattern
from tests.recovery.escrows import escrow_of
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.keystore.backup import opened_backup
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.former import open_former
from tiktrue_keys.core.keystore.open import by_escrow
from tiktrue_keys.core.keystore.slots import open_on_machine
from tiktrue_keys.core.machine import read_facts
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, NotFoundError, TikTrueKeysError, WrongLicenseError, WrongMachineError
from tiktrue_keys.models.container.container import read_container
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.reencrypt import reencrypt_model
from tiktrue_keys.models.file.rewrap import rewrap_model
from tiktrue_keys.models.format.wraps import unwrap_data_key
from tiktrue_keys.recovery.shares import Share, combine


@dataclass(frozen=True)
class Loot:
    """What the thief took: H, the host secret, the keystore, the escrow's shares, managed keys and data keys by id."""

    root: bytes
    host_secret: bytes
    keystore: bytes
    shares: tuple[Share, ...]
    keys: dict[str, bytes]
    data_keys: tuple[bytes, ...]


@pytest.fixture
def shop() -> Iterator[Workshop]:
    with folder_in_memory() as folder:
        workshop = Workshop(folder)
        yield workshop
        workshop.desk.__exit__()


def loot_of(shop: Workshop, containers: list[Path]) -> Loot:
    manager = shop.manager
    shares = tuple(escrow_of(manager))
    keys: dict[str, bytes] = {}
    for key in list(manager.keys()):
        with manager.open_key(key.key_id, LICENSE, use=Use.DECRYPT) as opened:
            keys[key.key_id] = bytes(opened.secret.view)
    root, data_keys = bytes(manager.session.root), tuple(map(shop.data_key, containers))
    return Loot(root, shop.desk.secret.read_bytes(), shop.desk.file.read_bytes(), shares, keys, data_keys)


def test_a_thief_opens_nothing_that_comes_after_the_steps(shop: Workshop) -> None:
    manager = shop.manager
    manager.generate("other", no_license=True)
    containers = [shop.sealed(), shop.sealed(9000, "more.bin")]
    stolen = loot_of(shop, containers)
    copies = [path.read_bytes() for path in containers]

    # The steps of AN INTRUSION in tiktrue-keys-operations(7).
    assert manager.rekey(compromised=True).changed
    assert "rekeyed" in ids(shop)
    manager.relicense(LICENSE, OTHER_LICENSE)
    manager.rotate(every=True, license_key=OTHER_LICENSE)
    for path in containers:
        rewrap_model(manager, path, license_key=OTHER_LICENSE)
        reencrypt_model(manager, path, license_key=OTHER_LICENSE)
    assert "rekeyed" not in ids(shop)
    shares = escrow_of(manager)
    backup = shop.folder.parent / "backup.db"
    manager.backup(backup)

    # What the operator has.
    for path, length in zip(containers, (5000, 9000), strict=True):
        out = decrypt_model(manager, path, shop.folder / "plain", license_key=OTHER_LICENSE).destination
        assert Path(str(out)).read_bytes() == pattern(length)
        Path(str(out)).unlink()
    with combine(shares[:3]) as secret, opened_backup(backup, by_escrow(secret)) as copy:
        copy.verify_whole()

    # What the thief has.
    document = manager.document()
    cannot_open_the_keystore(stolen, document)
    cannot_open_the_backup(stolen, backup)
    for path in containers:
        cannot_open_the_container(stolen, path)
    cannot_use_the_keys(shop, stolen)
    assert error_of(lambda: manager.open_key(MODEL, LICENSE, use=Use.ENCRYPT)).__class__ is WrongLicenseError
    assert all(old not in path.read_bytes() for path in containers for old in stolen.data_keys)
    assert copies != [path.read_bytes() for path in containers]
    manager.close()
    shop.desk.file.write_bytes(stolen.keystore)
    assert isinstance(error_of(shop.desk.manager().audit_size), IntegrityError)


def ids(shop: Workshop) -> set[str]:
    return {finding.id for finding in shop.manager.status().findings}


def cannot_open_the_keystore(stolen: Loot, document: Document) -> None:
    with SecretBuffer.copy_of(stolen.host_secret) as secret:
        assert isinstance(error_of(lambda: open_on_machine(document, read_facts(), secret.view)), WrongMachineError)
    assert document.former, "the keys of the old root are in it, sealed"
    with pytest.raises(IntegrityError), SecretBuffer.copy_of(stolen.root) as root:
        open_former(document, root.view)


def cannot_open_the_backup(stolen: Loot, backup: Path) -> None:
    with combine(stolen.shares[:3]) as secret:
        error = error_of(lambda: opened_backup(backup, by_escrow(secret)).__enter__())
    assert isinstance(error, TikTrueKeysError)
    assert not isinstance(error, NotFoundError), "there is an escrow, and these are not its shares"


def cannot_open_the_container(stolen: Loot, path: Path) -> None:
    with path.open("rb") as file:
        container = read_container(file.fileno())
    wraps = container.header.wraps
    assert wraps
    assert not {wrap.key_id for wrap in wraps} & stolen.keys.keys()
    header = container.header
    for wrap in wraps:
        for secret in stolen.keys.values():
            with pytest.raises(IntegrityError), SecretBuffer.copy_of(secret) as key:
                unwrap_data_key(wrap, key.view, file_id=header.file_id, model_id=header.model_id)
    for data_key in stolen.data_keys:
        with pytest.raises(IntegrityError), SecretBuffer.copy_of(data_key) as opened:
            container.authenticate(opened.view)


def cannot_use_the_keys(shop: Workshop, stolen: Loot) -> None:
    """The keys that encrypt from now on are none of those that were stolen."""
    for model in (MODEL, "other"):
        with shop.manager.open_key(model, OTHER_LICENSE, use=Use.ENCRYPT) as opened:
            assert opened.key.key_id not in stolen.keys
            assert bytes(opened.secret.view) not in stolen.keys.values()
