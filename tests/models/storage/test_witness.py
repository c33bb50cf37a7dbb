"""A witness elsewhere gets a dated checkpoint of the audit log as often as the log grew, and no log that went back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keystores import Desk
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, SecurityError
from tiktrue_keys.models.storage.location import Place, Url
from tiktrue_keys.models.storage.witness import keep_checkpoint


class Store:
    """What lies in a witness's place, beside our own code."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.path = place if isinstance(place, Path) else None
        if self.path is None:
            import fsspec

            self.system = fsspec.filesystem("memory")

    def names(self) -> list[str]:
        if self.path is not None:
            return sorted(path.name for path in self.path.iterdir())
        return sorted(name.rpartition("/")[2] for name in self.system.find("/witness"))

    def put(self, name: str, data: bytes) -> None:
        if self.path is not None:
            (self.path / name).write_bytes(data)
        else:
            self.system.pipe_file(f"/witness/{name}", data)


@pytest.fixture(params=["file", "object"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "file":
        (tmp_path / "witness").mkdir()
        yield Store(tmp_path / "witness")
        return
    pytest.importorskip("fsspec", reason="fsspec is installed by the extra `remote`")
    made = Store(Url("memory", "witness"))
    yield made
    made.system.store.clear()
    made.system.pseudo_dirs[:] = [""]


def begun(desk: Desk) -> KeyManager:
    manager = desk.manager()
    manager.generate("llama", no_license=True)
    return manager


def test_a_checkpoint_is_added_when_the_log_has_grown(desk: Desk, store: Store) -> None:
    manager = begun(desk)
    name = f"{manager.document().keystore_id.hex()}-1-00000002-20261125T120000Z.checkpoint"
    first = keep_checkpoint(manager, store.place)
    assert (first.added, first.size, store.names()) == (True, 2, [name])
    assert str(first.place).endswith(f"witness/{name}")
    desk.clock.forward(days=1)
    again = keep_checkpoint(manager, store.place)
    assert (again.added, again.place, store.names()) == (False, first.place, [name])
    manager.generate("other", no_license=True)
    assert keep_checkpoint(manager, store.place).added
    assert [each.split("-", 1)[1] for each in store.names()] == [
        "1-00000002-20261125T120000Z.checkpoint",
        "1-00000003-20261126T120000Z.checkpoint",
    ]


def test_an_older_copy_of_the_keystore_adds_nothing(desk: Desk, store: Store) -> None:
    manager = begun(desk)
    keep_checkpoint(manager, store.place)
    older, mark = desk.file.read_bytes(), desk.mark.read_bytes()
    manager.generate("other", no_license=True)
    keep_checkpoint(manager, store.place)
    manager.close()
    desk.file.write_bytes(older)
    desk.mark.write_bytes(mark)
    before = store.names()
    with pytest.raises(IntegrityError, match=r"00000003-.*: the log has 2 records, but the checkpoint covers 3"):
        keep_checkpoint(desk.manager(), store.place)
    # With another record in the place of the one that is gone, the sizes agree and the histories do not.
    desk.manager().generate("third", no_license=True)
    with pytest.raises(IntegrityError, match=r"00000003-"):
        keep_checkpoint(desk.manager(), store.place)
    assert store.names() == before


def test_a_new_epoch_begins_a_new_row_and_an_older_one_adds_nothing(desk: Desk, store: Store, tmp_path: Path) -> None:
    manager = begun(desk)
    manager.backup(tmp_path / "backup.db")
    manager.generate("other", no_license=True)
    keep_checkpoint(manager, store.place)
    kept = [shutil.copy(path, tmp_path / path.name) for path in (desk.file, desk.mark)]
    manager.restore(tmp_path / "backup.db")
    keep_checkpoint(manager, store.place)
    assert [name.split("-")[1] for name in store.names()] == ["1", "2"]
    manager.close()
    for path, copy in zip((desk.file, desk.mark), kept, strict=True):
        path.write_bytes(Path(copy).read_bytes())
    with pytest.raises(IntegrityError, match="is of epoch 2, but the keystore is in epoch 1"):
        keep_checkpoint(desk.manager(), store.place)


def test_only_a_signed_note_of_this_keystore_is_believed(desk: Desk, store: Store) -> None:
    manager = begun(desk)
    keystore = manager.document().keystore_id.hex()
    others = [f"{'0' * 32}-7-99999999-20261125T120000Z.checkpoint", f"{keystore}-1-9.checkpoint", "notes.txt"]
    for name in others:
        store.put(name, b"nothing")
    assert keep_checkpoint(manager, store.place).added
    store.put(f"{keystore}-1-00000009-20261125T120000Z.checkpoint", b"\xff")
    with pytest.raises(IntegrityError, match=r"00000009-.*is not text"):
        keep_checkpoint(manager, store.place)
    store.put(f"{keystore}-1-00000010-20261125T120000Z.checkpoint", manager.audit_checkpoint().encode()[:-9])
    with pytest.raises(IntegrityError, match="00000010-"):
        keep_checkpoint(manager, store.place)


def test_a_folder_has_to_be_there_and_may_not_be_the_keystores(desk: Desk, tmp_path: Path) -> None:
    manager = begun(desk)
    with pytest.raises(NotFoundError, match="none does not exist"):
        keep_checkpoint(manager, tmp_path / "none")
    with pytest.raises(RefusedError, match="inside the folder of the keystore"):
        keep_checkpoint(manager, desk.folder)
    keystore = manager.document().keystore_id.hex()
    (tmp_path / f"{keystore}-1-00000009-20261125T120000Z.checkpoint").symlink_to("/dev/zero")
    with pytest.raises(SecurityError, match="is a symbolic link"):
        keep_checkpoint(manager, tmp_path)
