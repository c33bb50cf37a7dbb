"""`completion SHELL`: the completion script on standard output."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tiktrue_keys.cli.view.outcome import Outcome, Raw


def command(
    ctx: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> Outcome:
    """Print the completion script of a shell.

    bash: save it as ~/.local/share/bash-completion/completions/tiktrue-keys. zsh: as _tiktrue-keys in a folder of
    $fpath. fish: as ~/.config/fish/completions/tiktrue-keys.fish.
    """
    from tiktrue_keys.cli.docs.shells import script_for

    script = script_for(shell)
    return Outcome(result={"shell": shell, "script": script}, view=[Raw(script)])
