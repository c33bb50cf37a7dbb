"""Who may replace a file: each folder on the way counts, and each link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiktrue_keys.core.trusted_path import must_be_trusted
from tiktrue_keys.errors import InsecureError

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
OTHER = 65_534


@pytest.fixture
def program(tmp_path: Path) -> Path:
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    (folder / "program").write_text("x")
    for path in (folder / "program", folder, folder.parent):
        path.chmod(0o700)
    return folder / "program"


def test_each_folder_on_the_way_is_judged_and_the_hint_mends_it(program: Path) -> None:
    assert must_be_trusted(program) == program.resolve()
    for path in (program, program.parent, program.parent.parent):
        path.chmod(0o720)
        with pytest.raises(InsecureError, match=f"^{path} can be written by others") as caught:
            must_be_trusted(program)
        assert caught.value.hint == f"chmod go-w '{path}'"
        path.chmod(0o700)
    assert must_be_trusted(program) == program.resolve()


@AS_ROOT
def test_each_link_in_the_middle_is_judged(program: Path, tmp_path: Path) -> None:
    evil, first = tmp_path / "evil", tmp_path / "first"
    evil.mkdir(mode=0o700)
    (evil / "link").symlink_to("../a/b/program")
    first.symlink_to(evil / "link")
    assert must_be_trusted(first) == program.resolve()
    os.chown(evil, OTHER, -1)
    with pytest.raises(InsecureError, match=f"^{evil} belongs to another user") as caught:
        must_be_trusted(first)
    assert caught.value.hint == f"chown -h root '{evil}'"
    os.chown(evil, 0, -1)
    evil.chmod(0o1777)
    assert must_be_trusted(first) == program.resolve()
    os.chown(evil / "link", OTHER, -1, follow_symlinks=False)
    with pytest.raises(InsecureError, match=f"^{evil / 'link'} belongs to another user"):
        must_be_trusted(first)


def test_what_is_not_there_and_a_loop_are_errors_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in ("loop", "missing", "loop/x"):
        with pytest.raises(OSError, match=r"No such file|Too many levels"):
            must_be_trusted(tmp_path / name)
