"""The man pages and completions that are checked in are those that the command line would write now."""

from __future__ import annotations

from pathlib import Path

from tiktrue_keys.cli.docs.generate import generated_files

ROOT = Path(__file__).parents[2]
BY_HAND = {"man/tiktrue-keys-format.5"} | {
    f"man/tiktrue-keys-{name}.7" for name in ("glossary", "operations", "protocol", "security")
}


def checked_in() -> set[str]:
    return {str(path.relative_to(ROOT)) for folder in ("man", "completions") for path in (ROOT / folder).iterdir()}


def test_every_generated_file_is_current() -> None:
    stale = [name for name, text in generated_files().items() if not _reads(ROOT / name, text)]

    assert stale == [], "run: make generate"


def test_no_page_of_a_command_that_is_gone_is_left() -> None:
    assert checked_in() - BY_HAND == set(generated_files())


def _reads(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text
