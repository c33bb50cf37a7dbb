"""`--ephemeral`, of the commands that create a keystore."""

from __future__ import annotations

from typing import Annotated

import typer

Ephemeral = Annotated[
    bool,
    typer.Option("--ephemeral", help="Create the keystore even where it vanishes with a container or at a restart."),
]
