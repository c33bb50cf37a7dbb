"""What the next writer removes after a killed rekey, and what it must not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.keystores import Desk, error_of, in_a_child
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.derivation import host_secret_id
from tiktrue_keys.core.keystore import renewal
from tiktrue_keys.core.keystore.backup import put_in_place
from tiktrue_keys.core.keystore.leftovers import REKEYING, RENEWAL


def killed(desk: Desk, *, after_the_rename: bool) -> Path:
    """Rekey in a child that dies beside the rename. Return the path of the new host secret."""
    before = set(desk.secret.parent.iterdir())

    def die(copy: Path, current: Path, kept: Path | None) -> None:
        if after_the_rename:
            put_in_place(copy, current, kept)
        os._exit(0)

    def rekey() -> bytes:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(renewal, "put_in_place", die)
            desk.manager().rekey()
        return b"it lived"

    assert in_a_child(rekey) == b""
    (secret,) = (path for path in set(desk.secret.parent.iterdir()) - before if path.suffix == ".secret")
    assert (desk.folder / RENEWAL).exists()
    return secret


def write(desk: Desk) -> None:
    """Be the next writer."""
    manager = desk.manager()
    manager.generate("next", no_license=True)
    manager.close()
    assert not (desk.folder / RENEWAL).exists()
    assert not (desk.folder / REKEYING).exists()


@pytest.fixture
def made(desk: Desk) -> Desk:
    manager = desk.manager()
    manager.generate("first", no_license=True)
    manager.close()
    return desk


def test_the_secret_of_a_rekey_that_changed_nothing_is_removed(made: Desk) -> None:
    secret = killed(made, after_the_rename=False)

    write(made)

    assert not secret.exists()


@pytest.mark.parametrize(
    "note",
    [
        lambda path, _: os.fsencode(path),
        lambda path, named: canonical_json({"path": os.fsencode(path).hex(), "secret": named.hex(), "mac": "00" * 32}),
        lambda path, named: canonical_json({"path": os.fsencode(path).hex(), "secret": named.hex()}),
        lambda path, named: canonical_json({"path": 1, "secret": named.hex(), "mac": 1}),
    ],
    ids=["a path", "a wrong mac", "no mac", "numbers"],
)
def test_a_planted_note_removes_nothing(made: Desk, note: Callable[[Path, bytes], bytes]) -> None:
    other = made.folder.parent / "another-keystores.secret"
    other.write_bytes(bytes(32))
    other.chmod(0o600)
    (made.folder / REKEYING).touch(0o600)
    (made.folder / RENEWAL).write_bytes(note(other, host_secret_id(memoryview(bytes(32)))))

    write(made)

    assert other.read_bytes() == bytes(32)


def test_another_secret_at_the_noted_path_stays(made: Desk) -> None:
    secret = killed(made, after_the_rename=False)
    secret.write_bytes(bytes(32))

    write(made)

    assert secret.read_bytes() == bytes(32)


def test_the_secret_of_a_keystore_that_was_set_aside_stays(made: Desk) -> None:
    backup = made.folder.parent / "backup.db"
    manager = made.manager()
    manager.backup(backup)
    manager.close()
    secret = killed(made, after_the_rename=True)
    aside = made.folder / "aside.db"
    made.file.rename(aside)
    made.file.write_bytes(backup.read_bytes())
    made.file.chmod(0o600)

    error_of(lambda: made.manager().restore(backup))
    error_of(lambda: made.manager().generate("next", no_license=True))

    assert secret.exists()
    made.manager().restore(aside)
    assert made.manager().find("first").generation == 1
