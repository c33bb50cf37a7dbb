"""Commands that README and the man pages show: found in their text, and given to the program's own parser."""

from __future__ import annotations

import re
import shlex
from typing import Any

import typer

from tiktrue_keys.cli.program.main import app


def shown_commands(text: str) -> list[str]:
    """What follows the program's name on each line that runs it, up to a pipe or a redirection."""
    joined = re.sub(r"\\\n\s*", "", text)
    found = [
        re.search(r"(?<![/\w.-])tiktrue-keys (?!tiktrue-keys[ -])([a-z][^|<>\n]*)", line)
        for line in joined.splitlines()
    ]
    return [re.sub(r"\s+#.*", "", match.group(1)).strip() for match in found if match]


def parse(line: str) -> None:
    """Parse as the program would, down to the command, and run nothing; raises what the parser raises."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("tiktrue-keys", shlex.split(line, comments=True))
    while hasattr(group, "resolve_command"):
        name, group, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        context = group.make_context(name, rest, parent=context)
