"""Where a test replaces something that the whole process sees, instead of passing an argument."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_METHODS = {"setattr", "delattr", "setitem", "delitem"}
_FUNCTIONS = {"setattr", "delattr", "patch"}


def patches(tests: Path) -> dict[str, set[str]]:
    """What each test file replaces, as it is written there; without the surroundings of the process, which a test may
    set: environment and working folder.
    """
    found = {path.relative_to(tests).as_posix(): set(_replaced(path)) for path in sorted(tests.rglob("*.py"))}
    return {name: replaced for name, replaced in found.items() if replaced}


def _replaced(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and _is_patch(node.func):
            target, *rest = node.args
            by_name = isinstance(target, ast.Constant) or not rest
            yield _words(target) if by_name else f"{_words(target)}.{_words(rest[0])}"


def _is_patch(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr in _METHODS or (function.attr == "object" and ast.unparse(function.value) == "patch")
    return isinstance(function, ast.Name) and function.id in _FUNCTIONS


def _words(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)
