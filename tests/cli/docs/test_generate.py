"""Man pages and completion scripts: generated, current, and without complaint from the programs that read them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tiktrue_keys.cli.docs import generate
from tiktrue_keys.cli.docs.program_page import ENVIRONMENT, FILES, VALUES
from tiktrue_keys.cli.program.catalog import CATALOG
from tiktrue_keys.errors import ERRORS

MANDOC = pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
MAN = pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return generate.generated_files()


@pytest.fixture(scope="module")
def pages(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The pages in a folder as `man` wants it."""
    folder = tmp_path_factory.mktemp("man") / "man1"
    folder.mkdir()
    for name, text in files.items():
        if name.startswith("man/"):
            (folder / Path(name).name).write_text(text, "utf-8")
    return sorted(folder.iterdir())


def test_there_is_a_page_for_the_program_and_one_for_each_command(files: dict[str, str]) -> None:
    wanted = {"man/tiktrue-keys.1", *(f"man/tiktrue-keys-{name}.1" for name in [*CATALOG, "fingerprint"])}

    assert {name for name in files if name.startswith("man/")} == wanted


def test_the_program_page_tells_of_every_exit_code_variable_and_file(files: dict[str, str]) -> None:
    page = files["man/tiktrue-keys.1"]

    for error in ERRORS:
        assert f"\\fB{error.exit_code}\\fR \\fI{error.code}".replace("-", "\\-") in page
    for name in [*ENVIRONMENT, *VALUES]:
        assert f"\\fB{name}\\fR" in page
    assert page.count("\n.TP\n\\fI") == len(FILES)


def test_every_command_page_has_its_options_and_the_exit_codes(files: dict[str, str]) -> None:
    page = files["man/tiktrue-keys-rotate.1"]

    assert "\\fB\\-\\-overlap\\fR \\fIDURATION\\fR" in page
    assert ".SH EXIT STATUS\n.TP\n\\fB5\\fR\nWith" in page
    assert "\\fBtiktrue\\-keys audit show\\fR" in files["man/tiktrue-keys-audit.1"]


def test_the_list_of_exit_codes_is_on_the_programs_page_alone(files: dict[str, str]) -> None:
    listed = [name for name, text in files.items() if "\\fIwrong\\-license\\fR" in text]

    assert listed == ["man/tiktrue-keys.1"]


def test_every_page_ends_with_examples_and_names_the_pages_written_by_hand(files: dict[str, str]) -> None:
    guides = {path.name for path in (generate.REPOSITORY / "man").glob("tiktrue-keys-*.[57]")}
    assert len(guides) >= 4
    for name, text in files.items():
        if name.startswith("man/"):
            assert re.findall(r"^\.SH (.*)", text, re.MULTILINE)[-2:] == ["EXAMPLES", "SEE ALSO"], name
            see_also = text.rpartition(".SH SEE ALSO")[2].replace("\\-", "-")
            assert {".".join(page) for page in re.findall(r"(tiktrue-keys-\S+) \(([57])\)", see_also)} == guides


@MANDOC
def test_mandoc_has_nothing_to_say(pages: list[Path]) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


@MAN
def test_man_warns_of_nothing(pages: list[Path]) -> None:
    for page in pages:
        done = subprocess.run(
            ["man", "--warnings", "-l", page],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
            check=True,
        )
        assert done.stderr == "", page


def test_writing_and_checking_in_another_folder(
    tmp_path: Path, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "man").mkdir()
    (tmp_path / "man" / "tiktrue-keys-gone.1").touch()
    (tmp_path / "man" / "tiktrue-keys-security.7").touch()

    assert generate.main(["--check", str(tmp_path)]) == 1
    assert "stale: man/tiktrue-keys-gone.1\n" in capsys.readouterr().err
    assert generate.main([str(tmp_path)]) == 0
    assert generate.main(["--check", str(tmp_path)]) == 0
    assert not (tmp_path / "man" / "tiktrue-keys-gone.1").exists()
    assert (tmp_path / "man" / "tiktrue-keys-security.7").exists()
    assert (tmp_path / "completions" / "_tiktrue-keys").read_text("utf-8") == files["completions/_tiktrue-keys"]


def test_unknown_arguments_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--chekc"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
