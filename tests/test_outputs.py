"""Every output against all that it must not destroy, by the command line, with --force where there is one.

By path, hard link, symbolic link and bind mount: each ends in 5, and everything in the folder is as it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import mounts
from tests.keystores import folder_in_memory
from tests.outputs import CELLS, FOLDERS, IN_PLACE, LINKED, MOUNTED, by_link, furnished, place_of, refusal
from tests.program import Program

_FORCED = "no option lifts this"


@pytest.fixture(scope="module")
def office() -> Iterator[Program]:
    with folder_in_memory() as folder:
        yield furnished(folder)


@pytest.mark.parametrize("output", dict.fromkeys(output for output, _ in CELLS))
def test_an_output_destroys_nothing_that_the_program_lives_on(office: Program, output: str) -> None:
    for protected in (protected for other, protected in CELLS if other == output):
        said = refusal(office, output, place_of(office, protected))
        assert _FORCED in said or output in IN_PLACE, said


@pytest.mark.parametrize("link", [os.link, os.symlink], ids=["hard link", "symbolic link"])
def test_a_link_is_what_it_leads_to(office: Program, link: Callable[[Path, Path], object]) -> None:
    aside = office.folder / "aside"
    for output, protected in LINKED:
        if link is os.link and (protected in FOLDERS or place_of(office, protected).is_dir()):
            continue
        target = by_link(link)(place_of(office, protected), aside)
        try:
            refusal(office, output, target)
        finally:
            aside.unlink()


@pytest.mark.skipif(mounts.skip_reason() is not None, reason=str(mounts.skip_reason()))
def test_a_bind_mount_is_what_is_mounted(office: Program) -> None:
    folder = str(office.folder)
    words = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.outputs", folder]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert (done.returncode, done.stdout) == (0, f"{len(MOUNTED)}\n"), done.stderr


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (("encrypt-model", "model", "--key", "llama"), "model"),
        (("encrypt-model", "model", "--recipient", "llama.pub"), "model"),
        (("encrypt-model", "model", "--recipient", "llama.pub"), "llama.pub"),
        (("encrypt-model", "models", "--key", "llama"), "models"),
        (("encrypt-model", "models", "--key", "llama"), "models/in"),
        (("encrypt-model", "models", "--key", "llama"), "."),
        (("encrypt-model", "models", "--key", "llama", "--resume", "models/state"), "new"),
        (("decrypt-model", "model.ttm"), "model.ttm"),
        (("decrypt-model", "models.ttm"), "models.ttm"),
        (("decrypt-model", "models.ttm"), "models.ttm/in"),
        (("decrypt-model", "models.ttm"), "."),
    ],
    ids=" ".join,
)
def test_an_operation_does_not_write_over_its_source(office: Program, words: tuple[str, ...], target: str) -> None:
    before = {path: path.lstat().st_ino for path in office.folder.rglob("[a-z]*")}

    done = office.run(*words, "--force", "-o", target)

    assert done.returncode == 5, done.stderr
    assert not list(office.folder.glob(".*.tmp"))
    after = {path: path.lstat().st_ino for path in office.folder.rglob("[a-z]*")}
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} <= marks(office)


def test_a_configuration_is_protected_as_well(office: Program) -> None:
    config = office.folder / ".config" / "tiktrue-keys" / "tiktrue-keys.toml"
    config.parent.mkdir(parents=True)
    config.write_text("color = false\n")

    said = refusal(office, "export-public", config)

    assert f"{config} is the configuration" in said


@pytest.mark.parametrize("named", ["option", "credential", "configuration"])
def test_a_license_file_is_protected_wherever_it_is_named(office: Program, named: str) -> None:
    file, settings = office.folder / "tiktrue-license", office.keystore / "tiktrue-keys.toml"
    file.write_text("another license")
    words, variables = ["fleet", "card", "--force", "-o", str(file)], {}
    if named == "option":
        words += ["--license-file", str(file)]
    elif named == "credential":
        variables = {"CREDENTIALS_DIRECTORY": str(office.folder)}
    else:
        settings.write_text(f'license_file = "{file}"\n')
        settings.chmod(0o600)
    try:
        done = office.run(*words, env=variables)
    finally:
        settings.unlink(missing_ok=True)

    assert (done.returncode, file.read_text()) == (5, "another license"), done.stderr
    assert f"is the license file {file}" in done.stderr


def test_what_is_of_its_kind_is_replaced(office: Program) -> None:
    (office.folder / "keystore.prom").write_text("# HELP tiktrue_keys_info of an earlier version\n")
    for words in (
        ("encrypt-model", "model", "--key", "llama", "--force", "-o", "other.ttm"),
        ("decrypt-model", "other.ttm", "--force", "-o", "model"),
        ("backup", "earlier.db", "--force"),
        ("metrics", "--textfile", "keystore.prom"),
        ("fleet", "card", "--force", "-o", "llama.pub"),
        ("export-public", "llama", "--force", "-o", "llama.pub"),
    ):
        office.ok(*words)


def test_a_file_of_metrics_replaces_no_other_file(office: Program) -> None:
    notes = office.folder / "notes"
    notes.write_text("of the operator\n")

    said = refusal(office, "metrics", notes)

    assert "notes is not a file of metrics of this program" in said


def test_a_backup_that_is_called_as_a_keystore_is_one_still(office: Program) -> None:
    folder = office.folder / "disk"
    folder.mkdir()
    for _ in range(2):
        office.ok("backup", str(folder / "keystore.db"), "--force")
    office.ok("audit", "export", "-o", str(folder / "audit.jsonl"))


@pytest.mark.parametrize("words", [("backup", "host/bk", "--force"), ("escrow", "create", "--replace", "-o", "host")])
def test_what_the_host_secret_opens_is_not_stored_beside_it(office: Program, words: tuple[str, ...]) -> None:
    before = set(office.folder.glob("host/*"))

    done = office.run(*words)

    assert (done.returncode, set(office.folder.glob("host/*"))) == (5, before), done.stderr
    assert "lies beside the host secret" in done.stderr
    assert "choose another disk or folder" in done.stderr


def marks(office: Program) -> set[Path]:
    """The mark of the keystore, which the record of a refusal renews."""
    return set(office.folder.glob("host/*.mark"))
