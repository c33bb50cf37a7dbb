"""Man pages and completion scripts: generated, current, and without complaint from the programs that read them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tiktrue_keys.cli.docs import generate, manpages
from tiktrue_keys.cli.docs.program_page import ENVIRONMENT, FILES, VALUES
from tiktrue_keys.cli.docs.reference import descriptions
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


LEADING = (".TH is not a request.", "'br is not one either.")
EXAMPLE = "printf '%s\\n' `ls` ~ ^ -- .TH" + " --one-more-argument" * 5


@pytest.fixture(scope="module")
def odd_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with words at the beginnings of lines that roff reads as requests, and an example full of quotes."""
    program, rotate = descriptions()[0], next(each for each in descriptions() if each.name == "rotate")
    # Lines are filled up to 78 characters: each word of the last paragraph begins a line.
    text = "\n\n".join((*LEADING, f"{'x' * 70} .TH-{'y' * 70} 'br{'z' * 70} e.g. {'v' * 76}"))
    odd = replace(rotate, help=text, examples=((".so is a name:", EXAMPLE),))
    path = tmp_path_factory.mktemp("odd") / "tiktrue-keys-rotate.1"
    path.write_text(manpages.pages([program, odd], [])[path.name], "utf-8")
    return path


def _rendered(*command: str | Path) -> str:
    """The words of the page, without overstrikes, each after one space."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "300"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return re.sub(" +", " ", re.sub("\n *", " ", re.sub(".\b", "", done.stdout)))


@pytest.mark.parametrize(
    "reader",
    [
        pytest.param(("mandoc", "-T", "utf8", "-O", "width=300"), marks=MANDOC, id="mandoc"),
        pytest.param(("man", "-l"), marks=MAN, id="man"),
    ],
)
def test_no_character_of_a_page_is_read_as_a_request_or_replaced(odd_page: Path, reader: tuple[str, ...]) -> None:
    rendered = _rendered(*reader, odd_page)

    assert EXAMPLE in rendered
    words = rendered.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")  # how some set an apostrophe outside of examples
    assert LEADING[0] in words
    assert LEADING[1] in words
    assert f".TH-{'y' * 70} 'br{'z' * 70} e.g. {'v' * 76}" in words
    assert ".so is a name:" in words


def test_quotes_of_an_example_stay_and_no_abbreviation_ends_a_sentence(odd_page: Path) -> None:
    """In the source: whether a reader without these escapes sets other characters is up to its configuration."""
    source = odd_page.read_text("utf-8")
    example = source.partition("\n.EX\n")[2].partition("\n.EE\n")[0]

    assert ("\\(aq" in example, "\\(ga" in example) == (True, True)
    assert not set("'`") & set(example)
    assert " e.g.\\&\n" in source


@MANDOC
def test_no_line_of_a_page_is_longer_than_mandoc_wants(odd_page: Path) -> None:
    done = subprocess.run(["mandoc", "-T", "lint", odd_page], capture_output=True, text=True, check=False)

    assert [line for line in done.stdout.splitlines() if "longer than" in line] == []


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
