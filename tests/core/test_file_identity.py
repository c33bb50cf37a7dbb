"""Which file a path leads to; the ways of links are in test_outputs.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiktrue_keys.core.file_identity import absolute_path, folders_of, identities, identity_of, listed, same_name


def test_a_link_has_its_own_identity_and_that_of_its_target(tmp_path: Path) -> None:
    file, link, dangling = tmp_path / "file", tmp_path / "link", tmp_path / "dangling"
    file.touch()
    link.symlink_to(file)
    dangling.symlink_to("none")
    (tmp_path / "hard").hardlink_to(file)

    assert identities(str(file)) == identities(str(tmp_path / "hard")) == {identity_of(file)}
    assert identities(str(link)) > identities(str(file))
    assert (len(identities(str(dangling))), identity_of(dangling)) == (1, None)
    for path in (str(tmp_path / "none"), "a\0b"):
        assert (identities(path), identity_of(path)) == (set(), None)


def test_a_name_is_compared_in_the_folder_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")

    assert same_name(f"{tmp_path}/folder/new", f"{tmp_path}/link/new")
    assert not same_name(f"{tmp_path}/folder/new", f"{tmp_path}/link/other")
    assert not same_name(f"{tmp_path}/folder/new", f"{tmp_path}/new")
    assert not same_name(f"{tmp_path}/none/new", f"{tmp_path}/none/new")


def test_folders_as_written_and_as_the_kernel_follows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to("deep/er")
    (tmp_path / "file").symlink_to("deep/er/file")
    monkeypatch.chdir(tmp_path)

    assert absolute_path("link/../new") == os.path.join(os.getcwd(), "link/../new")
    assert {f"{tmp_path}/link", f"{tmp_path}/deep/er", "/"} <= set(folders_of(f"{tmp_path}/link/new"))
    assert f"{tmp_path}/link/.." not in folders_of(f"{tmp_path}/link/../new")
    assert f"{tmp_path}/deep/er" in folders_of(f"{tmp_path}/file")


def test_a_folder_that_cannot_be_read_lists_nothing(tmp_path: Path) -> None:
    for name in "dgbeacf":
        (tmp_path / name).touch()

    assert listed(tmp_path) == list("abcdefg")
    assert listed(tmp_path / "a") == listed(tmp_path / "none") == []
