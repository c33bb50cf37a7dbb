"""man/tiktrue-keys-format.5 read by its tables: the literal displays that follow a comment `table: NAME`."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "man" / "tiktrue-keys-format.5"
PACKAGE = REPOSITORY / "tiktrue_keys"


def table(name: str) -> list[str]:
    """The lines of the literal display that follows the comment `table: name`."""
    _, found, rest = PAGE.read_text().partition(f'.\\" table: {name}\n')
    assert found, f"the page has no table '{name}'"
    body = rest.partition(".Bd -literal\n")[2].partition("\n.Ed")[0]
    return body.split("\n")


def rows(name: str, *, title: bool = False) -> dict[str, str]:
    """First column (up to two blanks) and the rest, continuation lines joined."""
    found: dict[str, str] = {}
    key = ""
    for line in table(name)[1 if title else 0 :]:
        first, _, rest = line.partition("  ")
        if line.startswith(" "):
            found[key] += f" {line.strip()}"
        else:
            key = first.strip()
            found[key] = f"{found[key]} {rest.strip()}" if key in found else rest.strip()
    return found


def in_braces(text: str) -> set[str]:
    """The names between the first pair of braces."""
    return set(re.findall(r'"([a-z_]+)"', text.partition("{")[2].partition("}")[0]))
