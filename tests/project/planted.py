"""Packages that a test makes up, to see that a check finds what it is there for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def plant(root: Path, sources: Mapping[str, str], package: str = "tiktrue_keys") -> None:
    """Write a package of these files, by their path below it."""
    for name, source in sources.items():
        path = root / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
