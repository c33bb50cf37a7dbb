"""Source and pages say who and what is meant: no nobody, no "so long"."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.words import refused, unclean

REFUSED = [
    ("Nobody reads it.", "Nobody"),
    ("somebody else", "somebody"),
    ("# whoever opens it", "whoever"),
    ("sealed anew", "anew"),
    ("how it lasted so long", "so long"),
    ("This is no container.", "is no container"),
    ('"it is "\n        "no secret"', "is no secret"),
    ("# a file that is\n    # no backup", "is no backup"),
    ("the file is\nno longer than so\nlong", "so long"),
    ("a repeat is \\fBno\\fR second act", "is no second"),
    ("error(f\"'{role}' is no role\")", "is no role"),
]

PLAIN = [
    "There is no key, and there is\nno other.",
    "It is no longer here, and is no more than 3.",
    "This is not a container; as long as it lasts; a long time.",
    "Body, some, who, ever, newly, anewline.",
    "isno x; this no y",
]


def test_no_file_has_a_refused_word() -> None:
    assert unclean() == {}


@pytest.mark.parametrize(("text", "word"), REFUSED)
def test_a_planted_word_is_found(text: str, word: str) -> None:
    assert refused(text) == [word]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_words_pass(text: str) -> None:
    assert refused(text) == []


def test_source_and_pages_are_read(tmp_path: Path) -> None:
    for name in ("tiktrue_keys/core/a.py", "man/a.1", "README.md", "tests/a.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("nobody")

    assert unclean(tmp_path) == {
        "tiktrue_keys/core/a.py": ["nobody"],
        "man/a.1": ["nobody"],
        "README.md": ["nobody"],
    }
