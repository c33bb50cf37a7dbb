"""The workflows of tiktrue-keys-operations(7): their commands, run where nothing is, make what the keystore's machine
signs and opens."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faked_clock import of_the_clock
from tests.program import Program
from tests.waiting import PATIENCE

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
NAMESPACE = ("unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--propagation", "private")
HIDDEN = ("/var/lib", "/root", "/home", "/run", "/dev/shm")
TAGS = {"github": "github-actions.yml", "gitlab": "gitlab-ci.yml"}


def github_script() -> str:
    """The step called Encrypt."""
    text = (HERE / TAGS["github"]).read_text()
    block = re.search(r"- name: Encrypt\n +run: \|\n((?: {10}.*\n)+)", text)
    assert block is not None
    return re.sub(r"^ {10}", "", block[1], flags=re.MULTILINE)


def gitlab_script() -> str:
    """The lines under script."""
    text = (HERE / TAGS["gitlab"]).read_text()
    block = re.search(r"\n  script:\n((?:    - .*\n)+)", text)
    assert block is not None
    return re.sub(r"^    - ", "", block[1], flags=re.MULTILINE)


SCRIPTS: dict[str, Callable[[], str]] = {"github": github_script, "gitlab": gitlab_script}


def can_unshare() -> bool:
    return os.geteuid() == 0 and subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def run_where_nothing_is(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a job's script: no network, no home, no keystore, no license, no state of this machine's user."""
    hide = [f"mount -t tmpfs none {place}" for place in HIDDEN if _may_be_hidden(Path(place), folder)]
    whole = "\n".join(["set -eu", *hide, 'cd "$1"', "set -x", script])
    return subprocess.run(
        [*NAMESPACE, "sh", "-c", whole, "sh", folder],
        env={
            "PATH": f"{_bin(folder)}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "GITHUB_STEP_SUMMARY": str(folder / "summary"),
            **of_the_clock(),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def _may_be_hidden(place: Path, folder: Path) -> bool:
    """Not what the interpreter, the code and the job itself lie in."""
    needed = [REPOSITORY, Path(sys.prefix), Path(sys.base_prefix), folder]
    return place.is_dir() and not any(path.resolve().is_relative_to(place.resolve()) for path in needed)


def _bin(folder: Path) -> Path:
    """The programs that the job has installed: this very code."""
    made = folder / ".bin"
    made.mkdir()
    (made / "python").symlink_to(sys.executable)
    program = made / "tiktrue-keys"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tiktrue_keys "$@"\n')
    program.chmod(0o755)
    return made


def exporter(folder: Path) -> Program:
    """The machine with the keystore, which has exported model.pub."""
    folder.mkdir()
    admin = Program(folder)
    admin.generate("llama")
    admin.ok("export-public", "llama", "-o", "model.pub")
    return admin


@pytest.mark.skipif(not can_unshare(), reason="namespaces take root")
@pytest.mark.parametrize("kind", SCRIPTS)
def test_the_job_makes_what_the_keystore_signs_and_opens(kind: str, tmp_path: Path) -> None:
    admin = exporter(tmp_path / "admin")
    job = tmp_path / "job"
    job.mkdir()
    (job / "model.safetensors").write_bytes(bytes(range(256)) * 5000)
    shutil.copy(admin.folder / "model.pub", job)

    done = run_where_nothing_is(SCRIPTS[kind](), job)

    assert done.returncode == 0, done.stderr
    told = (job / "summary").read_text() if kind == "github" else done.stdout
    (root,) = re.findall(r"root ([0-9a-f]{64})", told)
    made = sorted(path.name for path in job.iterdir() if not path.name.startswith(".") and path.name != "summary")
    assert made == ["model.pub", "model.safetensors", "model.safetensors.ttm", "sealed.json"]
    shutil.copy(job / "model.safetensors.ttm", admin.folder)
    admin.ok("sign-model", "model.safetensors.ttm", "--expect-root", root)
    admin.ok("rotate", "llama")
    admin.ok("decrypt-model", "model.safetensors.ttm")
    assert (admin.folder / "model.safetensors").read_bytes() == (job / "model.safetensors").read_bytes()


@pytest.mark.skipif(not can_unshare(), reason="namespaces take root")
def test_a_job_whose_recipient_was_edited_fails_with_integrity(tmp_path: Path) -> None:
    admin = exporter(tmp_path / "admin")
    job = tmp_path / "job"
    job.mkdir()
    (job / "model.safetensors").write_bytes(b"weights")
    text = (admin.folder / "model.pub").read_text()
    (job / "model.pub").write_text(re.sub(r'"not_after":"[0-9]{4}', '"not_after":"2099', text))

    done = run_where_nothing_is(gitlab_script(), job)

    assert done.returncode == 4
    assert not (job / "model.safetensors.ttm").exists()
