"""A claim on a temporary file or folder: held against every other descriptor, and gone with its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiktrue_keys.errors import BusyError
from tiktrue_keys.models.storage.claim import claim, claimed_folder, must_be_unclaimed


def test_a_folder_is_claimed_for_the_block(tmp_path: Path) -> None:
    with claimed_folder(tmp_path), pytest.raises(BusyError, match="another process is using"):
        must_be_unclaimed(tmp_path)
    must_be_unclaimed(tmp_path)


def test_a_file_is_claimed_until_its_descriptor_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "part"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        claim(fd)
        with pytest.raises(BusyError):
            must_be_unclaimed(path)
    finally:
        os.close(fd)
    must_be_unclaimed(path)


def test_looking_claims_nothing(tmp_path: Path) -> None:
    must_be_unclaimed(tmp_path)
    must_be_unclaimed(tmp_path)


def test_what_is_missing_or_a_link_is_unclaimed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    link = tmp_path / "link"
    link.symlink_to(folder)
    with claimed_folder(folder):
        must_be_unclaimed(link)
        must_be_unclaimed(tmp_path / "missing")


def test_a_second_claim_leaves_the_first(tmp_path: Path) -> None:
    with claimed_folder(tmp_path):
        with claimed_folder(tmp_path):
            pass
        with pytest.raises(BusyError):
            must_be_unclaimed(tmp_path)
