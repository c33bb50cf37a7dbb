"""Which host secret opens a keystore: the place that is given before the recorded one, in either its own file first."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.keystores import LICENSE, Desk, error_of
from tiktrue_keys.core.keystore.secret_place import own_secret_path
from tiktrue_keys.errors import InsecureError, NotFoundError, RefusedError, WrongMachineError

ANOTHER = bytes(reversed(range(32)))


@pytest.fixture
def made(desk: Desk) -> Desk:
    """A keystore, not in use."""
    with desk.manager() as manager:
        manager.generate("m", license_key=LICENSE)
    return desk


def own_file(desk: Desk, folder: Path | None = None) -> Path:
    """The path of the keystore's own secret."""
    return own_secret_path(folder or desk.secret.parent, bytes.fromhex(desk.mark.stem))


def put(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return path


def opened_with(desk: Desk, given: Path | None = None) -> Path:
    """The file of the secret in use, when `given` is the place that is given."""
    with desk.manager(host_secret_file=given) as manager:
        assert manager.find("m").generation == 1
        return manager.host_secret_path()


def test_the_place_that_is_given_goes_before_the_recorded_one(made: Desk, tmp_path: Path) -> None:
    assert opened_with(made) == made.secret
    copy = put(tmp_path / "new/secret", made.secret.read_bytes())
    assert opened_with(made, copy) == copy
    error = error_of(lambda: opened_with(made, tmp_path / "nowhere"))
    assert isinstance(error, WrongMachineError)
    hint = f"the keystore's host secret was made at {made.secret}; looked at {tmp_path / 'nowhere'}"
    assert error.hint.startswith(hint)


def test_its_own_file_goes_before_the_named_one_that_others_share(made: Desk, tmp_path: Path) -> None:
    own = put(own_file(made), made.secret.read_bytes())
    assert opened_with(made) == own
    made.secret.write_bytes(ANOTHER)
    assert opened_with(made) == opened_with(made, made.secret) == own
    made.secret.unlink()
    assert opened_with(made) == own
    elsewhere = put(own_file(made, tmp_path / "new"), own.read_bytes())
    assert opened_with(made, elsewhere.with_name("not-there")) == opened_with(made, elsewhere) == elsewhere


@pytest.mark.parametrize(
    ("data", "mode"), [(ANOTHER, 0o600), (b"short", 0o600), (bytes(9000), 0o600), (ANOTHER, 0o644)]
)
def test_its_own_file_that_does_not_fit_hides_no_secret_that_does(made: Desk, data: bytes, mode: int) -> None:
    """A renewal of the root that was killed before its commit leaves such a file."""
    put(own_file(made), data, mode)
    assert opened_with(made) == made.secret


def test_one_that_others_can_read_is_refused(made: Desk) -> None:
    put(own_file(made), made.secret.read_bytes(), 0o644)
    made.secret.unlink()
    assert isinstance(error_of(lambda: opened_with(made)), InsecureError)


def test_one_inside_the_keystores_folder_is_refused(made: Desk) -> None:
    inside = put(made.folder / "secret", made.secret.read_bytes())
    assert isinstance(error_of(lambda: opened_with(made, inside)), InsecureError)


def test_rebind_records_the_path_in_use_and_only_rebind(made: Desk, tmp_path: Path) -> None:
    moved = put(tmp_path / "new/secret", made.secret.read_bytes())
    with made.manager(host_secret_file=moved) as manager:
        manager.rotate(["m"], license_key=LICENSE)
        assert manager.document().host_secret_path == str(made.secret)
        planned = manager.rebind(dry_run=True)
        assert (planned.changed, planned.moved.host_secret) == (False, moved)
        assert manager.document().host_secret_path == str(made.secret)
        done = manager.rebind(LICENSE)
        assert (done.changed, done.moved.host_secret, done.after) == (True, moved, done.before)
        assert manager.document().host_secret_path == str(moved)
        assert manager.rebind(LICENSE).changed is False
    made.secret.unlink()
    with made.manager(host_secret_file=None) as manager:
        assert manager.find("m").generation == 2


def test_an_output_replaces_neither(made: Desk, tmp_path: Path) -> None:
    own = own_file(made)  # its name is kept free for the day that it is written
    with made.manager() as manager:
        check = manager.output_gate().check
        for path in (own, made.secret, own.with_name("00" * 16 + ".mark")):
            assert isinstance(error_of(partial(check, path)), RefusedError), path
        check(tmp_path / "free")


def test_a_lost_shared_secret_is_not_replaced_for_keystores_that_have_none_of_their_own(made: Desk) -> None:
    other = Desk(made.folder.parent / "other")
    own = put(own_file(made), made.secret.read_bytes())
    made.secret.unlink()
    with other.manager(host_secret_file=made.secret) as manager:
        manager.generate("m", license_key=LICENSE)  # the only keystore with a mark there has its own
    made.secret.unlink()
    third = Desk(made.folder.parent / "third")
    with third.manager(host_secret_file=made.secret) as manager:
        error = error_of(lambda: manager.generate("m", license_key=LICENSE))
    assert isinstance(error, RefusedError)
    assert error.remedy == "host-secret-gone"
    assert opened_with(made) == own


def test_a_keystore_that_is_gone_is_not_found(desk: Desk) -> None:
    assert isinstance(error_of(lambda: opened_with(desk)), NotFoundError)
