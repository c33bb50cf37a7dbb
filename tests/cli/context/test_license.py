"""Where the license comes from, in which order, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.program import Program
from tiktrue_keys.cli.context.license import LicenseSource
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import InsecureError, NotFoundError, UsageError


def source(
    option: str | None = None,
    environment: dict[str, str] | None = None,
    configured: str | None = None,
    warnings: list[Notice] | None = None,
) -> LicenseSource:
    collect = warnings if warnings is not None else []
    return LicenseSource(option, environment or {}, configured, collect.append)


def file(folder: Path, name: str, data: bytes, mode: int = 0o600) -> str:
    path = folder / name
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def test_the_sources_are_asked_in_their_order(tmp_path: Path) -> None:
    option, variable, configured = (
        file(tmp_path, name, name.encode()) for name in ("option", "variable", "configured")
    )
    file(tmp_path, "tiktrue-license", b"credential")
    environment = {
        "TIKTRUE_LICENSE_FILE": variable,
        "TIKTRUE_LICENSE_KEY": "direct",
        "CREDENTIALS_DIRECTORY": str(tmp_path),
    }

    assert source(option, environment, configured).read() == b"option"
    assert source(None, environment, configured).read() == b"variable"
    del environment["TIKTRUE_LICENSE_FILE"]
    assert source(None, environment, configured).read() == b"direct"
    del environment["TIKTRUE_LICENSE_KEY"]
    assert source(None, environment, configured).read() == b"credential"
    assert source(None, {}, configured).read() == b"configured"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"abc", b"abc"),
        (b"abc\n", b"abc"),
        (b"abc\r\n", b"abc"),
        (b"abc\n\n", b"abc\n"),
        (b" a\tb \n", b" a\tb "),
        (b"\xff\n", b"\xff"),
    ],
)
def test_one_newline_at_the_end_is_dropped_and_nothing_else(tmp_path: Path, data: bytes, expected: bytes) -> None:
    assert source(file(tmp_path, "license", data)).read() == expected


@pytest.mark.parametrize("data", [b"", b"\n", b"  \n", b"\r\n"])
def test_an_empty_license_is_a_usage_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UsageError, match="is empty"):
        source(file(tmp_path, "license", data)).read()


def test_two_places_that_name_one_are_named(tmp_path: Path) -> None:
    warnings: list[Notice] = []
    given = {"TIKTRUE_LICENSE_FILE": file(tmp_path, "license", b"of the file"), "TIKTRUE_LICENSE_KEY": "direct"}
    found = source(None, given, "/etc/license", warnings)

    assert (found.read(), found.read()) == (b"of the file", b"of the file")
    (notice,) = warnings
    assert "TIKTRUE_LICENSE_FILE and TIKTRUE_LICENSE_KEY and license_file = /etc/license" in notice.message
    warnings.clear()
    source(file(tmp_path, "option", b"x"), given, None, warnings).read()
    assert warnings == []


def test_an_empty_variable_is_not_passed_over() -> None:
    with pytest.raises(UsageError, match="TIKTRUE_LICENSE_KEY is empty"):
        source(environment={"TIKTRUE_LICENSE_KEY": ""}).read()
    with pytest.raises(UsageError, match="is empty"):
        source(environment={"TIKTRUE_LICENSE_FILE": "", "TIKTRUE_LICENSE_KEY": "x"}).read()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_insecure(tmp_path: Path, mode: int) -> None:
    with pytest.raises(InsecureError, match="can be written by others"):
        source(file(tmp_path, "license", b"x", mode)).read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_is_insecure(tmp_path: Path) -> None:
    path = file(tmp_path, "license", b"x")
    os.chown(path, 54321, 54321)

    with pytest.raises(InsecureError, match="belongs to another user"):
        source(path).read()


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_that_others_can_read_is_warned_about(tmp_path: Path, mode: int) -> None:
    warnings: list[Notice] = []

    assert source(file(tmp_path, "license", b"x", mode), warnings=warnings).read() == b"x"
    assert [notice.code for notice in warnings] == ["license-readable"]


def test_a_private_file_is_not_warned_about(tmp_path: Path) -> None:
    warnings: list[Notice] = []

    source(file(tmp_path, "license", b"x"), warnings=warnings).read()

    assert warnings == []


def test_a_symbolic_link_is_followed_as_secret_mounts_need(tmp_path: Path) -> None:
    file(tmp_path, "license", b"x")
    (tmp_path / "link").symlink_to("license")

    assert source(str(tmp_path / "link")).read() == b"x"


def test_a_missing_file_a_folder_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        source(str(tmp_path / "nothing")).read()
    with pytest.raises(UsageError, match="is not a file"):
        source(str(tmp_path)).read()
    with pytest.raises(UsageError, match="longer than 65536 bytes"):
        source(file(tmp_path, "license", b"x" * 65_537)).read()


def test_a_pipe_gives_a_license_too(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe\n")
    os.close(writing)

    assert source(f"/dev/fd/{reading}").read() == b"from a pipe"
    os.close(reading)


def test_the_license_is_read_once(tmp_path: Path) -> None:
    path = file(tmp_path, "license", b"first")
    found = source(path)
    found.read()
    Path(path).write_bytes(b"second")

    assert found.read() == b"first"


def test_nothing_given_and_no_terminal_is_a_usage_error(program: Program) -> None:
    done = program.without("TIKTRUE_LICENSE_KEY").run("generate", "m")

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: no license was given",
        "hint: use --license-file FILE or -, or set TIKTRUE_LICENSE_FILE or TIKTRUE_LICENSE_KEY",
    ]


def test_the_license_comes_from_standard_input_when_told_so(program: Program) -> None:
    program.ok("generate", "m", "--license-file", "-", stdin="from-stdin\n")

    assert program.run("rotate", "m", env={"TIKTRUE_LICENSE_KEY": "from-stdin"}).returncode == 0
    assert program.run("rotate", "m", env={"TIKTRUE_LICENSE_KEY": "another"}).returncode == 9


def test_standard_input_has_one_reader(program: Program) -> None:
    done = program.run("generate", "m", "--license-file", "-", "--from-file", "-", stdin="x" * 32)

    assert done.returncode == 2
    assert "standard input cannot be both the license and the key" in done.stderr


def test_a_command_that_needs_no_license_reads_none(seeded: Program) -> None:
    bad = {"TIKTRUE_LICENSE_FILE": "/does/not/exist"}

    for words in (["list"], ["show", "llama"], ["validate"], ["audit", "show"], ["rotate", "--due"], ["doctor"]):
        assert seeded.run(*words, env=bad).returncode == 0, words
