"""Trees on a terminal: the rotation chain of a key, the wraps of a container."""

from __future__ import annotations

from rich.text import Text
from rich.tree import Tree as RichTree

from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.outcome import Tree
from tiktrue_keys.cli.view.tables import cell_text, console


def draw_tree(tree: Tree, *, color: bool) -> None:
    """Draw a label and its branches."""
    drawn = RichTree(_label(tree.label))
    _grow(drawn, tree)
    console(color).print(drawn)


def _grow(drawn: RichTree, tree: Tree) -> None:
    for branch in tree.branches:
        _grow(drawn.add(_label(branch.label)), branch)


def _label(text: str) -> Text:
    """Return the label in separate words, so that a state among them gets its colour."""
    return Text(" ").join(cell_text(word) for word in escaped(text).split(" "))
