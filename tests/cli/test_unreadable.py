"""Files that the user of the program cannot read: the error names the file, and does not call it damaged."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.program import TIMEOUT_SECONDS, Program

WITHOUT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
"""Root without the capabilities to read every file, so that a mode holds for root too."""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    possible = shutil.which("setpriv") and subprocess.run([*WITHOUT, "true"], capture_output=True, check=False)
    if not possible or possible.returncode != 0:
        pytest.skip("capabilities cannot be dropped here")
    program = Program(tmp_path)
    program.generate("llama")
    return program


def run(program: Program, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WITHOUT, *program.argv(*words)],
        capture_output=True,
        text=True,
        cwd=program.folder,
        env=program.environment,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


@pytest.fixture
def folder(program: Program) -> Path:
    source = program.folder / "source"
    source.mkdir()
    for name in ("a.safetensors", "b.safetensors", "config.json"):
        (source / name).write_bytes(b"{}")
    done = program.run("encrypt-model", "source", "--key", "llama", "--plain", "config.json")
    assert done.returncode == 0, done.stderr
    return program.folder / "source.ttm"


def test_a_license_file_has_a_hint_of_its_own(program: Program) -> None:
    license_file = program.folder / "license"
    license_file.write_text("x")
    license_file.chmod(0)

    done = run(program, "generate", "other", "--license-file", "license")

    assert done.returncode == 5
    assert "error: the license file license is not readable by this user" in done.stderr
    assert "hint: run as its owner, or give it to the user who runs this" in done.stderr


@pytest.mark.parametrize("command", ["verify-model", "decrypt-model", "inspect-model"])
@pytest.mark.parametrize("name", ["a.safetensors.ttm", "config.json"])
def test_a_file_of_an_encrypted_folder_is_unreadable_not_changed(
    program: Program, folder: Path, command: str, name: str
) -> None:
    (folder / name).chmod(0)

    done = run(program, command, "source.ttm", *(("-o", "out") if command == "decrypt-model" else ()))

    assert done.returncode == 5
    assert f"source.ttm/{name} is not accessible to this user" in done.stderr
    assert "manifest" not in done.stderr


def test_a_changed_file_outweighs_an_unreadable_one(program: Program, folder: Path) -> None:
    (folder / "a.safetensors.ttm").chmod(0)
    (folder / "b.safetensors.ttm").write_bytes(b"another")

    done = run(program, "verify-model", "source.ttm")

    assert done.returncode == 4
    assert "another file than the manifest lists: b.safetensors.ttm" in done.stderr
    assert "a.safetensors.ttm" not in done.stderr


def test_an_unreadable_file_that_no_manifest_lists_is_still_one_too_many(program: Program, folder: Path) -> None:
    shutil.copy(folder / "a.safetensors.ttm", folder / "c.safetensors.ttm")
    (folder / "c.safetensors.ttm").chmod(0)

    done = run(program, "verify-model", "source.ttm")

    assert done.returncode == 4
    assert "not in the manifest: c.safetensors.ttm" in done.stderr
