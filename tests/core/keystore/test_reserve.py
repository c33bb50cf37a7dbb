"""The space that a revocation on a full disk needs: kept in two files, released at once, and made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiktrue_keys.core.keystore.reserve import FILE_NAME, keep_reserve, release_reserve


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    (tmp_path / "keystore").mkdir()
    (tmp_path / "host").mkdir()
    return tmp_path / "host" / "0123.mark"


def sizes(mark: Path) -> dict[str, int]:
    folders = mark.parent, mark.parent.parent / "keystore"
    return {path.name: path.stat().st_size for folder in folders for path in folder.iterdir()}


def test_there_is_one_on_each_disk(mark: Path, tmp_path: Path) -> None:
    keep_reserve(tmp_path / "keystore", [mark])
    assert sizes(mark) == {FILE_NAME: 256 * 1024, "0123.reserve": 16 * 1024}
    assert (tmp_path / "keystore" / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_one_that_is_there_is_left_alone(mark: Path, tmp_path: Path) -> None:
    keep_reserve(tmp_path / "keystore", [mark])
    first = (tmp_path / "keystore" / FILE_NAME).read_bytes()
    mark.with_suffix(".reserve").unlink()
    keep_reserve(tmp_path / "keystore", [mark])
    assert (tmp_path / "keystore" / FILE_NAME).read_bytes() == first
    assert mark.with_suffix(".reserve").exists()


def test_release_says_whether_there_was_any(mark: Path, tmp_path: Path) -> None:
    keep_reserve(tmp_path / "keystore", [mark])
    assert release_reserve(tmp_path / "keystore", [mark])
    assert sizes(mark) == {}
    assert not release_reserve(tmp_path / "keystore", [mark])


def test_a_folder_that_is_missing_is_not_an_error(mark: Path, tmp_path: Path) -> None:
    keep_reserve(tmp_path / "missing", [mark])
    assert sizes(mark) == {"0123.reserve": 16 * 1024}
    assert release_reserve(tmp_path / "missing", [mark])
