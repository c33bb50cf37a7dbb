"""Words that neither the source nor the pages use: for each there is one that says who or what is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("tiktrue_keys/**/*", "man/*", "README.md", "CONTRIBUTING.md")
# unauthenticated, another process, the caller, an attacker; re-created; "is not a"; how long, as long as. "There is no
# key" says that one is missing, and "is no longer" is about time: both are plain English.
_WORDS = re.compile(
    r"\b(?:nobody|somebody|whoever|anew|so long)\b|(?<!\bthere )\bis no (?!longer\b|more than\b)\w+", re.IGNORECASE
)
# A line's end with what begins the next one: indentation, a comment's sign, the quotes of a text that goes on.
_BREAK = re.compile(r"""["']?[ \t]*\n\s*(?:#\s+|f?["'])?""")
_FONT = re.compile(r"\\f[BIRP]|\\&")


def refused(text: str) -> list[str]:
    """The words in a text that are refused, in the order in which they come."""
    return [match[0] for match in _WORDS.finditer(re.sub(r" {2,}", " ", _BREAK.sub(" ", _FONT.sub("", text))))]


def unclean(root: Path = ROOT) -> dict[str, list[str]]:
    """Files below `root`, by path, with the refused words in each."""
    found = {path.relative_to(root).as_posix(): refused(path.read_text(encoding="utf-8")) for path in _files(root)}
    return {name: words for name, words in found.items() if words}


def _files(root: Path) -> Iterator[Path]:
    for pattern in PLACES:
        yield from (path for path in sorted(root.glob(pattern)) if path.is_file() and path.suffix != ".pyc")
