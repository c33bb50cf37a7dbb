"""Signs: what comments, docstrings and pages say about where something lies in this repository.

A sign is a Python file by its name (`store.py`), with the folders that are named with it (`keystore/store.py`), a path
from the root (`tests/golden`, `tiktrue_keys/deploy/systemd/*.timer`) or from the package (`core/keystore`), a module
with the folder that it is in (`registry/intent`), or a dotted name (`tiktrue_keys.core.manager`).
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

SOURCES = ("tiktrue_keys", "tests")
FOLDERS = (*SOURCES, "man", "completions")
PAGES = ("*.md", "Makefile", "pyproject.toml", ".ci/run", "man/*", "tests/*/*.sh")
# Looks like a sign and is none: a group of entry points, a model of README's.
OTHER = {"tiktrue_keys.transports", "models/llama"}
_FILE = re.compile(r"(?<![\w./*<-])(?:\w[\w-]*/)*\w+\.py\b(?!/)")
_PATH = re.compile(rf"(?<![\w./$-])(?:{'|'.join(FOLDERS)})/\w[\w./*-]*[\w*]")
_BELOW = re.compile(r"(?<![\w./-])(?:core|models|fleet|recovery|cli|deploy)/[\w/*.]*\w")
_INNER = re.compile(r"(?<![\w./<-])[a-z]\w*/[a-z]\w*\b(?![\w./*])")
_DOTTED = re.compile(rf"(?<![\w./-])(?:{'|'.join(SOURCES)})(?:\.\w+)+(?![\w(/])")


def false_signs(root: Path) -> list[str]:
    """Returns `path: sign` for every sign below `root` that leads nowhere."""
    files = {path.relative_to(root).as_posix() for folder in FOLDERS for path in (root / folder).rglob("*.py")}
    suspects = ((path, text) for path, text in _texts(root) if any(_false(text, root, files)))
    return [
        f"{path.relative_to(root)}: {sign}"
        for path, text in suspects
        for sign in _false(_prose(text) if path.suffix == ".py" else text, root, files)
    ]


def _false(text: str, root: Path, files: set[str]) -> Iterator[str]:
    folders = {part for file in files for part in file.split("/")[1:-1]}
    checks: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
        (_FILE, lambda sign: any(f"/{file}".endswith(f"/{sign}") for file in files)),
        (_PATH, lambda sign: any(root.glob(sign))),
        (_BELOW, lambda sign: any(_below(sign, root))),
        (_INNER, lambda sign: sign.split("/")[0] not in folders or _ends_a_path(sign, files)),
        (_DOTTED, lambda sign: _is_name(sign, root)),
    )
    for pattern, leads in checks:
        yield from (sign for sign in sorted(set(pattern.findall(text)) - OTHER) if not leads(sign))


def _below(sign: str, root: Path) -> Iterator[Path]:
    """What a path from the package leads to, with or without `.py`; in the tests' mirror of it as well."""
    for folder in SOURCES:
        yield from (path for name in (sign, f"{sign}.py") for path in (root / folder).glob(name))


def _ends_a_path(sign: str, files: set[str]) -> bool:
    """Whether it is the end of the path of a module or of its folder."""
    return any(f"/{place}".endswith(f"/{sign}") for file in files for place in (file[:-3], file.rpartition("/")[0]))


def _is_name(sign: str, root: Path) -> bool:
    """A module, a package, or a name that stands in one."""
    parts = sign.split(".")
    for length in range(len(parts), 0, -1):
        folder = root.joinpath(*parts[:length])
        for file in (folder.with_suffix(".py"), folder / "__init__.py"):
            if file.exists():
                rest = parts[length:]
                return not rest or re.search(rf"\b{rest[0]}\b", file.read_text(encoding="utf-8")) is not None
        if folder.is_dir() and length == len(parts):
            return True
    return False


def _texts(root: Path) -> Iterator[tuple[Path, str]]:
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*.py")):
            yield path, path.read_text(encoding="utf-8")
    for pattern in PAGES:
        for path in sorted(root.glob(pattern)):
            yield path, path.read_text(encoding="utf-8").replace("\\-", "-").replace("\\_", "_")


def _prose(source: str) -> str:
    """The comments and docstrings of a source; a sign in one of its other texts is not ours to check."""
    return "\n".join([*_comments(source), *_docstrings(source)])


def _comments(source: str) -> Iterator[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    yield from (token.string for token in tokens if token.type == tokenize.COMMENT)


def _docstrings(source: str) -> Iterator[str]:
    """Strings that stand alone: also those below a constant or a field, which ast.get_docstring leaves out."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
