"""A rehearsal: a backup restored for practice, beside the keystore that stays as it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.keystores import LICENSE, Desk, error_of, events
from tiktrue_keys.core.audit.checkpoint import open_note
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError


@pytest.fixture
def made(desk: Desk, tmp_path: Path) -> Desk:
    """A keystore of one key, and a backup of it."""
    with desk.manager() as manager:
        manager.generate("m", license_key=LICENSE)
        manager.backup(tmp_path / "copy.db")
    return desk


@pytest.fixture
def rehearsal(made: Desk, tmp_path: Path) -> Path:
    folder = tmp_path / "rehearsal"
    with made.manager() as manager:
        done = manager.rehearse(tmp_path / "copy.db", folder)
        assert [notice.code for notice in done.warnings] == ["rehearsal"]
    return folder


def copy_of(made: Desk, folder: Path, secret: Path | None = None) -> KeyManager:
    manager = made.manager(host_secret_file=secret)
    manager.close()
    manager.session.place = type(manager.session.place)(folder, secret)
    return manager


def test_it_decrypts_and_the_keystore_goes_on(made: Desk, rehearsal: Path) -> None:
    marks = made.mark.read_bytes()
    with copy_of(made, rehearsal) as copy:
        assert copy.document().rehearsal
        with copy.open_key("m", LICENSE, use=Use.DECRYPT) as opened:
            assert opened.key.generation == 1
        assert copy.audit_verify() == copy.audit_size()
        assert copy.mark_paths() == ()
        (finding,) = [each for each in copy.status().findings if each.id == "rehearsal"]
        assert finding.about == {"folder": str(rehearsal)}
    assert made.mark.read_bytes() == marks
    assert sorted(path.suffix for path in made.secret.parent.iterdir()) == ["", ".mark", ".reserve"]
    with made.manager() as manager:
        assert not manager.document().rehearsal
        manager.rotate(["m"], license_key=LICENSE)
    with copy_of(made, rehearsal) as copy:
        assert copy.find("m").generation == 1


def test_one_with_a_host_secret_of_its_own_closes_nothing(made: Desk, tmp_path: Path) -> None:
    """What an operator does who keeps the practice apart; a restore there would have closed the keystore."""
    own = tmp_path / "own/secret"
    own.parent.mkdir(mode=0o700)
    shutil.copy(made.secret, own)
    with made.manager(host_secret_file=own) as manager:
        manager.rehearse(tmp_path / "copy.db", tmp_path / "rehearsal")
    assert [path.name for path in own.parent.iterdir()] == ["secret"]
    with copy_of(made, tmp_path / "rehearsal") as copy:
        assert copy.document().host_secret_path == str(own)
        assert copy.find("m").generation == 1
    with made.manager() as manager:
        assert manager.rotate(["m"], license_key=LICENSE).changed


CHANGES: dict[str, Callable[[KeyManager], object]] = {
    "generate": lambda copy: copy.generate("new", license_key=LICENSE),
    "rotate": lambda copy: copy.rotate(["m"], license_key=LICENSE),
    "revoke": lambda copy: copy.revoke(["m"], reason="leaked"),
    "rebind": lambda copy: copy.rebind(LICENSE, drop=["machine-id"]),
    "export-public": lambda copy: copy.export_public("m", LICENSE),
    "a signature": lambda copy: copy.signer("container"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_open", [False, True])
def test_a_change_is_refused_and_the_refusal_recorded(made: Desk, rehearsal: Path, change: str, is_open: bool) -> None:
    with copy_of(made, rehearsal) as copy:
        before = copy.find("m") if is_open else None
        error = error_of(lambda: CHANGES[change](copy))
        assert isinstance(error, RefusedError)
        assert error.message.endswith(f"{change} is refused")
        assert error.remedy == "leave-rehearsal"
        if change != "a signature":
            assert events(copy)[-1] == (change, "refused")
        assert before is None or copy.find("m") == before


def test_it_opens_only_in_its_folder(made: Desk, rehearsal: Path, tmp_path: Path) -> None:
    """In the keystore's folder it would stand in for the keystore, without a mark that tells its age."""
    shutil.copytree(rehearsal, tmp_path / "moved")
    with copy_of(made, tmp_path / "moved") as copy:
        assert isinstance(error_of(lambda: copy.find("m")), RefusedError)
    keystore = made.file.read_bytes()
    shutil.copy(rehearsal / "keystore.db", made.file)
    with made.manager() as manager:
        assert isinstance(error_of(lambda: manager.find("m")), RefusedError)
    made.file.write_bytes(keystore)
    with made.manager() as manager:
        error = error_of(lambda: manager.restore(rehearsal / "keystore.db"))
        assert isinstance(error, RefusedError)
        assert error.remedy == "rehearse-again"
        assert manager.find("m").generation == 1


def test_a_folder_in_use_is_refused_and_left_alone(made: Desk, rehearsal: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with made.manager() as manager:
        for folder in (rehearsal, tmp_path / "full", made.folder, made.folder / "below"):
            before = sorted(folder.iterdir()) if folder.exists() else None
            assert isinstance(error_of(partial(manager.rehearse, tmp_path / "copy.db", folder)), RefusedError)
            assert (sorted(folder.iterdir()) if folder.exists() else None) == before


def test_its_signed_head_is_of_another_log(made: Desk, rehearsal: Path) -> None:
    """The keystore may begin the same epoch with other records; both heads would be signed by one key."""
    with copy_of(made, rehearsal) as copy:
        document = copy.document()
        origin = f"tiktrue-keys/{document.keystore_id.hex()}/{document.epoch}/rehearsal"
        note = open_note(copy.audit_checkpoint(), origin=origin, public_key=document.audit_key)
        assert note.size == copy.audit_size()
