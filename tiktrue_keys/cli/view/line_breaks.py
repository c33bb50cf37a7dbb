"""Wraps prose at words for a terminal. A command to type stays on one line, so that it can be copied.

A command that is wider than the terminal gets a line of its own, which the terminal breaks: a copy has no line end.
"""

from __future__ import annotations

import re
import shutil

_COMMAND = re.compile(r"\btiktrue-keys(?: (?!-> )[^\s;,()]+)+")
_LEAST_WIDTH = 40
_JOINED = "\0"  # an escaped text has none


def terminal_width() -> int:
    """Return the width of the terminal in characters, as COLUMNS or the terminal says."""
    return max(shutil.get_terminal_size().columns, _LEAST_WIDTH)


def wrapped(text: str, width: int, *, hanging: int = 0) -> str:
    """Return a line as lines of at most `width`; all but the first are indented as it is, and by `hanging` more."""
    import textwrap

    if len(text) <= width:
        return text
    lead = text[: len(text) - len(text.lstrip())]
    joined = _COMMAND.sub(lambda found: found[0].replace(" ", _JOINED), text[len(lead) :])
    lines = textwrap.wrap(
        joined,
        width,
        initial_indent=lead,
        subsequent_indent=lead + " " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace(_JOINED, " ")
