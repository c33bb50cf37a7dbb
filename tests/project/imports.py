"""Who imports whom inside the package, read from the source by its syntax tree: at start-up, inside a function (lazily)
or for types only, all the same.

What it does not see: modules that are named at run time, as the table of commands and the public API do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = "tiktrue_keys"


@dataclass(frozen=True)
class Import:
    """One import of one module of the package by another; both are dotted names, `place` is `path:line`."""

    importer: str
    imported: str
    place: str


def modules(root: Path, *packages: str) -> dict[str, Path]:
    """The modules below `root` of our package, or of these, by dotted name."""
    files = [path for package in packages or (PACKAGE,) for path in sorted((root / package).rglob("*.py"))]
    return {dotted(path.relative_to(root)): path for path in files}


def dotted(path: Path) -> str:
    """The dotted name of a module by its path; a folder's `__init__` has the name of the folder."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(root: Path, *packages: str) -> list[Import]:
    """Every import of one of these modules by another, in the order of the source."""
    known = modules(root, *packages)
    return [
        Import(importer, imported, f"{path.relative_to(root)}:{line}")
        for importer, path in known.items()
        for imported, line in sorted(set(_imported(path, root, known)))
    ]


def names(node: ast.AST, package: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(module, name) of each thing that a statement imports in a module of `package`; a whole module has no name."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else ()
        source = ".".join([*base, *(node.module.split(".") if node.module else [])])
        yield from ((source, alias.name) for alias in node.names)


def circle(edges: Iterable[Import]) -> list[str]:
    """The modules of one circle, each imported by the next, the first again at the end; empty where there is none."""
    graph: dict[str, set[str]] = {}
    for edge in edges:
        graph.setdefault(edge.importer, set()).add(edge.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def _imported(path: Path, root: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    package = path.relative_to(root).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        for module, name in names(node, package):
            whole = f"{module}.{name}"
            imported = whole if whole in known else module
            if imported in known and isinstance(node, ast.stmt):
                yield imported, node.lineno
