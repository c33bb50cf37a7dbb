"""README's picture of a session is the one that its commands draw now."""

from __future__ import annotations

from tests.demo.picture import PICTURE, draw


def test_the_picture_is_current() -> None:
    assert draw() == PICTURE.read_text(encoding="utf-8"), "run: python -m tests.demo.picture, and look at the file"
