"""Questions on a terminal.

Without a terminal nothing is asked: the caller raises `refused` or `usage` with the option to use.
"""

from __future__ import annotations

import sys

from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.streams import write_err
from tiktrue_keys.errors import OperationInterruptedError, RefusedError, UsageError


def can_ask() -> bool:
    """Return whether standard input and standard error are terminals."""
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def confirm(question: str) -> None:
    """Return when the answer is yes. Raises RefusedError otherwise, and without a terminal."""
    if not can_ask():
        raise RefusedError(f"not confirmed: {question}", "use --yes, or run the command on a terminal")
    write_err(f"{escaped(question)} [y/N] ")
    answer = sys.stdin.readline()
    if not answer:
        write_err("\n")
    if answer.strip().lower() not in ("y", "yes"):
        raise RefusedError("declined; nothing was changed", "answer y to confirm, or use --yes")


def ask_line(question: str) -> str:
    """Return a line without surrounding space; empty at the end of the input. The caller checks that it can ask."""
    write_err(f"{escaped(question)}: ")
    answer = sys.stdin.readline()
    if not answer:
        write_err("\n")
    return answer.strip()


def ask_hidden(question: str, *, twice: bool = False) -> bytes:
    """Return a line read without echo, read twice when it sets a value. Raises UsageError when the two differ."""
    import getpass

    try:
        answer = getpass.getpass(f"{question}: ")
        if twice and getpass.getpass(f"{question} again: ") != answer:
            raise UsageError("the two entries differ")
    except EOFError:
        write_err("\n")
        raise OperationInterruptedError("nothing was entered") from None
    return answer.encode("utf-8", "surrogateescape")
