"""What had an output's name before an operation: told apart from what has it afterwards, without a clock."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tiktrue_keys.core.containers.intents import ABSENT
from tiktrue_keys.models.storage.output_identity import (
    file_identity,
    is_another_file,
    is_another_object,
    object_identity,
)

NOON = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC)
S3 = {"size": 5, "ETag": '"7d793037a0760186574b0282f2f435e7"', "LastModified": NOON, "VersionId": None}


@pytest.mark.parametrize(
    ("changes", "another"),
    [
        ({}, False),
        ({"size": 6}, True),
        ({"ETag": '"9b71d224bd62f3785d96d46ad3ea3d73-2"'}, True),
        ({"LastModified": NOON + timedelta(seconds=1)}, True),
        ({"LastModified": NOON.astimezone(timezone(timedelta(hours=2)))}, False),
        ({"StorageClass": "GLACIER"}, False),
        ({"VersionId": "a&b=c"}, False),  # a package that has learned to tell it
        ({"ETag": ""}, False),
        ({"ETag": None, "LastModified": None}, False),
    ],
)
def test_an_object(changes: dict[str, Any], another: bool) -> None:
    assert is_another_object(object_identity(S3), object_identity(S3 | changes)) is another
    assert is_another_object(object_identity(S3 | changes), object_identity(S3)) is another


def test_two_versions_of_the_same_content_in_the_same_second() -> None:
    first, second = (object_identity(S3 | {"VersionId": name}) for name in ("a=1&b", "a=1&c"))
    assert is_another_object(first, second)
    assert not is_another_object(first, first)


def test_a_file_in_some_other_storage() -> None:
    first = object_identity({"size": 5, "mtime": 1782907200.25, "name": "a"})
    assert not is_another_object(first, object_identity({"size": 5, "mtime": 1782907200.25, "name": "b"}))
    assert is_another_object(first, object_identity({"size": 5, "mtime": 1782907200.75}))


def test_where_there_was_nothing(tmp_path: Path) -> None:
    assert object_identity(None) == file_identity(tmp_path / "none") == file_identity(tmp_path / "\0") == ABSENT
    there = object_identity(S3)
    for differs in (is_another_object, is_another_file):
        assert differs(ABSENT, there)
        assert not differs(ABSENT, ABSENT)
        assert not differs(there, ABSENT)


def test_a_file_is_another_one_only_when_it_was_given_the_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"older")
    before = file_identity(path)
    assert not is_another_file(before, file_identity(path))
    path.chmod(0o640)
    path.write_bytes(b"changed in place")
    os.utime(path, ns=(0, 0))
    assert not is_another_file(before, file_identity(path))
    (tmp_path / "new").write_bytes(b"as long as older")
    (tmp_path / "new").replace(path)
    assert is_another_file(before, file_identity(path))


def test_a_link_is_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"older")
    (tmp_path / "link").symlink_to("model")
    assert file_identity(tmp_path / "link") != file_identity(tmp_path / "model")
    assert file_identity(tmp_path / "dangling") == ABSENT


def test_a_file_system_that_numbers_its_files_afresh(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"older")
    before = file_identity(path)
    inode = f"inode={path.lstat().st_ino}"
    assert inode in before
    assert not is_another_file(before.replace(inode, "inode=1"), before)
