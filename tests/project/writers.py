"""Where the package creates files and folders: through core/durable.py, with or without a gate, or by itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

DURABLE = ("NewFile", "replace_bytes", "create_bytes")
_MODE = re.compile(r"[wxa][bt]?\+?|r[bt]?\+b?")
_METHODS = ("mkdir", "write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "makedirs", "link", "symlink")


def ungated(package: Path) -> set[str]:
    """The modules that call core/durable.py without a gate, by their path below the package."""
    return {name for name, call in _calls(package) if _name(call) in DURABLE and _gate(call) == "None"}


def forgetful(package: Path) -> set[str]:
    """The modules that call core/durable.py and do not say which gate."""
    return {name for name, call in _calls(package) if _name(call) in DURABLE and not _gate(call)}


def others(package: Path) -> set[str]:
    """The modules that create a file or folder without core/durable.py."""
    return {name for name, node in _nodes(package) if _creates(node)}


def _calls(package: Path) -> Iterator[tuple[str, ast.Call]]:
    return ((name, node) for name, node in _nodes(package) if isinstance(node, ast.Call))


def _nodes(package: Path) -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path.relative_to(package).as_posix(), node


def _name(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.IfExp):  # (replace_bytes if force else create_bytes)(...)
        function = function.body
    return function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)


def _gate(call: ast.Call) -> str:
    return next((ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "gate"), "")


def _creates(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and node.attr == "O_CREAT":
        return True
    if not isinstance(node, ast.Call):
        return False
    if _name(node) == "open":
        return any(isinstance(word, ast.Constant) and _MODE.fullmatch(str(word.value)) for word in node.args)
    return isinstance(node.func, ast.Attribute) and _name(node) in _METHODS
