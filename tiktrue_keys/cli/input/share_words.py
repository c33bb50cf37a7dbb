"""Reads the shares of an escrow from files, from standard input, or word by word at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.prompts import ask_hidden, can_ask
from tiktrue_keys.cli.view.hints import own_hint
from tiktrue_keys.cli.view.streams import write_err
from tiktrue_keys.errors import UsageError
from tiktrue_keys.recovery.share_files import LIMIT, parse_shares, read_share_file
from tiktrue_keys.recovery.shares import Share, parse_share

ShareOption = Annotated[
    list[str] | None,
    typer.Option(
        "--share", metavar="FILE|-", help="File with shares, or - for standard input (repeatable; default: asked for)."
    ),
]


def read_shares(context: CommandContext, sources: Sequence[str] | None) -> list[Share]:
    """Return the shares of `--share` options, or ask for them. Raises UsageError where there is no terminal."""
    if not sources:
        if not can_ask():
            raise UsageError("no share was given", "use --share FILE for each share, or --share -")
        return _asked()
    shares = []
    for source in sources:
        shares += _from_stdin(context) if source == "-" else read_share_file(Path(source))
    return shares


def _from_stdin(context: CommandContext) -> list[Share]:
    context.claim_stdin("the shares")
    data = sys.stdin.buffer.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise UsageError(f"standard input is longer than {LIMIT} bytes", "pass the shares alone")
    return parse_shares(data, "standard input")


def _asked() -> list[Share]:
    """Ask for one share after the other until there are enough; ask again for a misspelt one."""
    given: list[Share] = []
    while not given or len(given) < given[0].threshold:
        needed = f" of {given[0].threshold}" if given else ""
        try:
            share = parse_share(ask_hidden(f"Share {len(given) + 1}{needed}").decode("ascii", "replace"))
        except UsageError as error:
            write_err(f"{error.message}; {own_hint(error) or 'enter it again'}\n")
            continue
        if given and (share.escrow, share.threshold) != (given[0].escrow, given[0].threshold):
            write_err(f"this share is of escrow {share.escrow}, the first one of {given[0].escrow}\n")
        elif share.number in {each.number for each in given}:
            write_err(f"share {share.number} was entered before\n")
        else:
            given.append(share)
    return given
