"""Outside of core an opened keystore is asked; what it is made of stays its own: `session.x()`, never `session.x.y`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiktrue_keys

PACKAGE = Path(tiktrue_keys.__file__).parent
OUTSIDE = sorted(path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(PACKAGE / "core"))


def reaches(source: str) -> Iterator[str]:
    """Line and words of every `session.x.y`, whatever `session` is part of."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            owner = node.value.value
            if getattr(owner, "attr", getattr(owner, "id", "")).lstrip("_") == "session":
                yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothing_outside_of_core_reaches_into_a_session(path: Path) -> None:
    assert list(reaches(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "words", ["session.keystore.keys", "manager.session.place.folder", "self._session.keystore.close()"]
)
def test_a_reach_is_noticed(words: str) -> None:
    assert list(reaches(words))


def test_asking_is_not_reaching() -> None:
    assert not list(reaches("manager.session.signer(view)\nsession.clock()\nself.session = session"))
