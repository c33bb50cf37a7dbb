"""`completion SHELL`: the completion script on standard output."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tiktrue_keys.cli.view.outcome import Outcome, Raw

EXAMPLES = (
    (
        "Install the script for every user of bash:",
        "tiktrue-keys completion bash > /etc/bash_completion.d/tiktrue-keys",
    ),
    (
        "Install the script for this user of fish:",
        "tiktrue-keys completion fish > ~/.config/fish/completions/tiktrue-keys.fish",
    ),
)


def command(
    ctx: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="Shell: bash, zsh or fish.")],
) -> Outcome:
    """Print the completion script of a shell.

    Save it where the shell looks for it. bash: ~/.local/share/bash-completion/completions/tiktrue-keys. zsh:
    _tiktrue-keys in a folder of $fpath. fish: ~/.config/fish/completions/tiktrue-keys.fish.
    """
    from tiktrue_keys.cli.docs.shells import script_for

    script = script_for(shell)
    return Outcome(result={"shell": shell, "script": script}, view=[Raw(script)])
