"""The man pages as readers see them: every heading as it was written, no complaint, no reference that leads nowhere.

What mdoc and man do with a word that is also a macro ("An", "No", "In") shows in the rendered page alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.name for path in (ROOT / "man").iterdir())
BY_HAND = [name for name in PAGES if not name.endswith(".1")]
WIDTH = 300  # wide enough that no heading is broken

needs_mandoc = pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
needs_man = pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")

_ESCAPES = {"&": "", "-": "-", "e": "\\", "(ti": "~", "(ha": "^", "(aq": "'", "(dq": '"'}
_FONTS = r"\\f[BIRP]"
_TAG_MACROS = ("Pa", "Cm", "Va", "Ev", "Em")
_NOT_INSTALLED = "referenced manual not found"  # test_every_reference_leads_to_a_page looks in man/ instead
_LONG_LINE = "input text line longer than 80 bytes"  # the generator writes one sentence a line, however long


def source(page: str) -> str:
    return (ROOT / "man" / page).read_text("utf-8")


def headings(page: str) -> Iterator[str]:
    """Sections, subsections and the tags of lists, in their order, as the source means them."""
    lines = source(page).splitlines()
    for number, line in enumerate(lines):
        if line == ".TP":
            yield _plain(lines[number + 1])
        elif match := re.match(r"\.(?:SH|SS|Sh|Ss) (.*)", line):
            yield _plain(match[1])
        elif match := re.match(r"\.It (.*)", line):
            yield _plain(_tag(match[1]))


def _tag(text: str) -> str:
    """The tag of an mdoc list: a word in a font of its own, an option, or words."""
    macro, _, rest = text.partition(" ")
    if macro == "Fl":
        return f"-{rest}"
    return rest if macro in _TAG_MACROS else text


def _plain(text: str) -> str:
    return re.sub(r"\\(\(..|.)", lambda match: _ESCAPES[match[1]], re.sub(_FONTS, "", text))


def first_missing(wanted: Iterator[str], rendered: str) -> str | None:
    """The first heading that is not at the beginning of a line, after the one before it."""
    lines = iter(line.strip() for line in rendered.splitlines())
    for heading in wanted:
        if not any(line == heading or line.startswith(f"{heading} ") for line in lines):
            return heading
    return None


def run(*command: str | Path) -> str:
    """Standard output without the overstrikes that stand for bold and underlined."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": str(WIDTH)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return re.sub(".\b", "", done.stdout)


@needs_mandoc
@pytest.mark.parametrize("page", PAGES)
def test_mandoc_renders_every_heading_as_it_is_written(page: str) -> None:
    rendered = run("mandoc", "-T", "utf8", "-O", f"width={WIDTH}", ROOT / "man" / page)

    assert first_missing(headings(page), rendered) is None


@needs_man
@pytest.mark.parametrize("page", BY_HAND)
def test_man_renders_every_heading_as_it_is_written(page: str) -> None:
    assert first_missing(headings(page), run("man", "-l", ROOT / "man" / page)) is None


def test_every_page_has_headings() -> None:
    assert [page for page in PAGES if len(list(headings(page))) < 5] == []


@needs_mandoc
@pytest.mark.parametrize("page", PAGES)
def test_mandoc_has_nothing_to_say(page: str) -> None:
    said = run("mandoc", "-T", "lint", ROOT / "man" / page).splitlines()
    allowed = {_NOT_INSTALLED} if page in BY_HAND else {_NOT_INSTALLED, _LONG_LINE}

    assert [line for line in said if not any(text in line for text in allowed)] == []


@needs_man
@pytest.mark.parametrize("page", BY_HAND)
def test_man_warns_of_nothing(page: str) -> None:
    done = subprocess.run(
        ["man", "--warnings", "-l", ROOT / "man" / page],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
        check=True,
    )

    assert done.stderr == ""


def test_every_reference_leads_to_a_page() -> None:
    named = {
        f"{_plain(name)}.{section}"
        for page in PAGES
        for name, section in re.findall(r"^\.(?:BR|Xr) (tiktrue\S*) \(?(\d)", source(page), re.MULTILINE)
    }

    assert named - set(PAGES) == set()


def test_the_glossary_is_sorted_and_every_term_leads_on() -> None:
    entries = source("tiktrue-keys-glossary.7").partition(".Sh TERMS")[2].partition("\n.El")[0].split("\n.It ")[1:]
    terms = [entry.partition("\n")[0] for entry in entries]

    assert len(terms) > 50
    assert terms == sorted(terms, key=str.lower)
    assert [entry for entry in entries if not re.search(r"\nSee\n\.Xr tiktrue-keys\S* \d", entry)] == []


def test_generated_pages_name_what_generates_them() -> None:
    firsts = {source(page).splitlines()[0] for page in PAGES if page not in BY_HAND}

    assert firsts == {'.\\" Generated by make generate; do not edit.'}
    assert re.search(r"^generate:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
