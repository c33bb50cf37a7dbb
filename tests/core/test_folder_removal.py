"""Folders that others have filled are removed as a whole, and nothing beside them."""

from __future__ import annotations

import os
from pathlib import Path

from tiktrue_keys.core.folder_removal import remove_folder


def test_a_folder_with_everything_in_it(tmp_path: Path) -> None:
    kept, root = tmp_path / "kept", tmp_path / "root"
    kept.mkdir()
    (kept / "file").write_bytes(b"kept")
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/file").write_bytes(b"")
    (root / "a/d").mkdir()
    (root / "out").symlink_to(kept)
    (root / "a/out").symlink_to(kept / "file")
    os.mkfifo(root / "a/pipe")
    remove_folder(root)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["kept", "kept/file"]


def test_a_link_a_file_and_nothing_are_left(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("link", "kept/file", "none"):
        remove_folder(tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "kept", "link"]
