"""`escrow create`: shares that recover the keystore on another machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.escrows import escrow_json
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.cli.view.streams import write_out
from tiktrue_keys.core.notices import plural
from tiktrue_keys.errors import NotFoundError, UsageError
from tiktrue_keys.recovery.escrow import EscrowResult, HandOver, create_escrow, the_escrow
from tiktrue_keys.recovery.share_files import must_take_shares, share_text, write_shares
from tiktrue_keys.recovery.shares import Share

EXAMPLES = (
    ("Create five shares, any three of which recover the keystore:", "tiktrue-keys escrow create -o shares"),
    (
        "Replace them by seven, of which four are needed:",
        "tiktrue-keys escrow create -o shares2 --shares 7 --threshold 4 --replace --yes",
    ),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="DIR|-", help="Folder for the shares, or - for standard output (required)."
        ),
    ] = None,
    shares: Annotated[
        int, typer.Option("--shares", metavar="N", help="Number of shares to create, at most 16 (default: 5).")
    ] = 5,
    threshold: Annotated[
        int, typer.Option("--threshold", metavar="N", help="Number of shares that recover the keystore (default: 3).")
    ] = 3,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the existing escrow.")] = False,
) -> Outcome:
    """Create shares that recover the keystore elsewhere, with a backup.

    A share is a list of words (SLIP-39) in a file of its own. Give each share to another person, on paper or encrypted
    to them, and delete it here. Fewer shares than the threshold reveal nothing, and a lost share cannot be made again.
    Then run escrow verify with some of them, and take a new backup: older backups do not hold this escrow. Licensed
    keys need their license as well. Reads no license.
    """
    context: CommandContext = ctx.obj
    if not output:
        raise UsageError("no destination for the shares", "use -o DIR for a file each, or -o - for standard output")
    folder = None if output == "-" else Path(output).absolute()
    if folder is not None:
        must_take_shares(folder, context.manager.output_gate())
    context.stdout_is_data = folder is None
    if replace:
        _confirm(context)
    files: list[Path] = []
    made = create_escrow(
        context.writer,
        _hand_over(context, folder, files),
        shares=shares,
        threshold=threshold,
        replacing=replace,
        destination="-" if folder is None else str(folder),
        operation_id=context.operation_id,
    )
    return Outcome(
        result={
            **escrow_json(made.escrow),
            "keystore_id": made.keystore_id.hex(),
            "files": [str(path) for path in files],
        },
        view=[Line(str(path)) for path in files],
        messages=_messages(made),
        changed=made.changed,
        operation_id=made.operation_id,
        shows_data=folder is None,
    )


def _confirm(context: CommandContext) -> None:
    try:
        escrow = the_escrow(context.manager)
    except NotFoundError:
        return
    shares = f"{plural(escrow.shares, 'share')} then open{'s' * (escrow.shares == 1)}"
    context.confirm(f"Replace escrow {escrow.number}, whose {shares} only earlier backups?")


def _hand_over(context: CommandContext, folder: Path | None, files: list[Path]) -> HandOver:
    def hand_over(keystore_id: bytes, shares: Sequence[Share]) -> Callable[[], None]:
        if folder is None:
            write_out("".join(share_text(share, len(shares), keystore_id) for share in shares))
            return lambda: None
        gate = context.manager.output_gate()
        written, take_back = write_shares(folder, shares, keystore_id, gate=gate)
        files.extend(written)
        return take_back

    return hand_over


def _messages(made: EscrowResult) -> list[str]:
    if not made.changed:
        return [f"{REPEATED.removesuffix('.')}, and shares are shown only once."]
    escrow = made.escrow
    shares = (
        f"any {escrow.threshold} of its {escrow.shares} shares recover" if escrow.shares > 1 else "its share recovers"
    )
    return [
        f"Created escrow {escrow.number}: {shares} this keystore.",
        "Next, give each share to another person, verify them with escrow verify, and take a backup.",
    ]
