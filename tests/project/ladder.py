"""The import ladder, read from the source by its syntax tree: who may import what, and who may talk to the outside.

What it does not see: names built at run time (`importlib.import_module(name)`, `getattr(os, "environ")`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.project.imports import PACKAGE, names

# A module may import from its own rung and those below. The facade and __main__ stand outside: nothing below cli
# imports them.
RUNGS = {"errors": 0, "core": 1, "models": 2, "fleet": 3, "recovery": 4, "roots": 4, "cli": 5}
CLI_ONLY = {"typer", "rich", "getpass", "curses", "readline"}
FORBIDDEN = {"click": "typer carries its own copy"}
# Their import costs more than the work of most commands; py-cpuinfo alone starts processes. In cli whole modules that
# draw with rich are themselves imported late, which test_start_up.py holds.
HEAVY = {"cpuinfo", "psutil", "numpy", "blake3", "rich"}
LATE_IN_CLI = {"rich"}
OUTSIDE = {
    "os": {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv", "get_terminal_size"},
    "sys": {"stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"},
}
OUTSIDE_CALLS = {"print", "input", "breakpoint"}


def violations(root: Path) -> list[str]:
    """Returns `path:line: reason` for every break of the ladder below `root`, the folder that holds the package."""
    package = root / PACKAGE
    return [
        f"{path.relative_to(root)}:{line}: {reason}"
        for path in sorted(package.rglob("*.py"))
        for line, reason in sorted(_Module(root, path).violations())
    ]


class _Module:
    """One source file and its place on the ladder."""

    def __init__(self, root: Path, path: Path) -> None:
        self.root = root
        self.tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        parts = path.relative_to(root).with_suffix("").parts
        self.package = parts[:-1]
        self.layer = parts[1]
        self.rung = RUNGS.get(self.layer)
        self.in_cli = self.layer in {"cli", "__main__"}

    def violations(self) -> Iterator[tuple[int, str]]:
        if self.rung is None and self.layer not in {"__init__", "__main__"}:
            yield 1, f"{self.layer} has no rung: the ladder knows {', '.join(RUNGS)}"
        for node, name in self._imports():
            yield from ((node.lineno, reason) for reason in self._import_reasons(name))
        for node, name in self._imports_at_start():
            top = name.split(".")[0]
            if top in HEAVY and not (self.in_cli and top in LATE_IN_CLI):
                yield node.lineno, f"imports {top} at start-up; import it inside the function that needs it"
        if not self.in_cli:
            yield from self._outside_uses()

    def _import_reasons(self, name: str) -> Iterator[str]:
        top, *rest = name.split(".")
        if top in FORBIDDEN:
            yield f"imports {top}: {FORBIDDEN[top]}"
        if top in CLI_ONLY and not self.in_cli:
            yield f"{self.layer} imports {top}; only cli may"
        if top != PACKAGE or self.layer == "__main__":
            return
        target = rest[0] if rest else ""
        if self.layer == "__init__":
            if target == "cli":
                yield "the public API imports cli"
        elif target not in RUNGS:
            if self.layer != "cli":
                yield f"{self.layer} imports the public API; import from the module that defines the name"
        elif self.rung is not None and RUNGS[target] > self.rung:
            yield f"{self.layer} imports {target}, which stands above it"

    def _imports(self) -> Iterator[tuple[ast.stmt, str]]:
        for node in ast.walk(self.tree):
            yield from ((node, name) for name in self._names(node) if isinstance(node, ast.stmt))

    def _imports_at_start(self) -> Iterator[tuple[ast.stmt, str]]:
        """Imports that run when the module is imported: not in a function, not under TYPE_CHECKING."""
        waiting: list[ast.AST] = [self.tree]
        while waiting:
            node = waiting.pop()
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
                waiting.extend(node.orelse)
                continue
            if isinstance(node, ast.stmt):
                yield from ((node, name) for name in self._names(node))
            waiting.extend(ast.iter_child_nodes(node))

    def _names(self, node: ast.AST) -> Iterator[str]:
        """The absolute dotted names that an import statement loads: `from a import b` may load a.b."""
        for source, name in names(node, self.package):
            yield f"{source}.{name}" if name and self._is_module(source, name) else source

    def _is_module(self, source: str, name: str) -> bool:
        if source != PACKAGE:
            return False
        place = self.root / PACKAGE / name
        return name in RUNGS or place.is_dir() or place.with_suffix(".py").exists()

    def _outside_uses(self) -> Iterator[tuple[int, str]]:
        """Uses of the environment or the terminal, under whatever name `os` and `sys` were imported."""
        aliases = {"os": "os", "sys": "sys"}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                aliases.update((a.asname, a.name) for a in node.names if a.asname and a.name in OUTSIDE)
            elif isinstance(node, ast.ImportFrom) and node.module in OUTSIDE:
                used = sorted({a.name for a in node.names} & OUTSIDE[node.module])
                yield from ((node.lineno, f"{self.layer} uses {node.module}.{name}; only cli may") for name in used)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = aliases.get(node.value.id, "")
                if node.attr in OUTSIDE.get(module, ()):
                    yield node.lineno, f"{self.layer} uses {module}.{node.attr}; only cli may"
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OUTSIDE_CALLS:
                yield node.lineno, f"{self.layer} calls {node.func.id}(); only cli may"
