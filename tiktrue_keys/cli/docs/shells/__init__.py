"""The completion scripts of bash, zsh and fish, which start Python only to list key ids.

Start with `bash.py`. Key ids come from `tiktrue-keys list -q`, which asks nothing and needs no license.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tiktrue_keys.cli.docs.reference import Description, descriptions
from tiktrue_keys.cli.docs.shells.bash import bash_script
from tiktrue_keys.cli.docs.shells.fish import fish_script
from tiktrue_keys.cli.docs.shells.zsh import zsh_script

SCRIPTS: Mapping[str, tuple[str, Callable[[Sequence[Description]], str]]] = {
    "bash": ("tiktrue-keys.bash", bash_script),
    "zsh": ("_tiktrue-keys", zsh_script),
    "fish": ("tiktrue-keys.fish", fish_script),
}
"""Each shell's file name in `completions/` and the writer of its script."""


def script_for(shell: str) -> str:
    """The completion script of a shell in SCRIPTS."""
    return SCRIPTS[shell][1](descriptions())
