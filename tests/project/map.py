"""`python -m tests.project.map`: writes CONTRIBUTING's map of the packages, from the first sentence of each one.

The map stands between two marker lines; everything outside of them is left alone.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN = "<!-- map: written by make generate -->\n"
END = "<!-- end of map -->\n"
WIDTH = 30


def packages(root: Path) -> list[tuple[tuple[str, ...], str]]:
    """Every package below `root/tiktrue_keys` with the first sentence of its docstring, parents first."""
    top = root / "tiktrue_keys"
    found = [(path.parent.relative_to(top).parts, _sentence(path)) for path in top.rglob("__init__.py")]
    return sorted(found)


def drawn(root: Path) -> str:
    """The map as a block of text."""
    lines = []
    for parts, sentence in packages(root):
        name = f"{'  ' * len(parts)}{parts[-1] if parts else 'tiktrue_keys'}/"
        lines.append(f"{name:<{WIDTH}}{sentence}")
    return "```\n" + "\n".join(lines) + "\n```\n"


def with_map(page: str, block: str) -> str:
    """`page` with `block` between the markers; ValueError without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN.strip()} or {END.strip()}")
    return f"{before}{begin}{block}{end}{after}"


def _sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")


if __name__ == "__main__":
    PAGE.write_text(with_map(PAGE.read_text(encoding="utf-8"), drawn(ROOT)), encoding="utf-8")
