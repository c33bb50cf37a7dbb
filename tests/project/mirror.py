"""Which test file is about which module: that of its name in the mirrored place, or the one that a table names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.project.imports import PACKAGE, dotted, imports, modules

Table = Mapping[str, str]
"""By test file (its path below tests/), the modules that it is about: paths below the package, without `.py`."""
_PROGRAM = "tests.program"
_COMMANDS = "cli/commands/"


def without_a_test(root: Path, table: Table) -> list[str]:
    """Modules below `root` that have neither a test file of their name nor a place in the table."""
    listed = {module for _, module in _lines(table)}
    return [module for module in _modules(root) if module not in listed and not _mirror(root, module).exists()]


def false_lines(root: Path, table: Table) -> list[str]:
    """Returns `test: reason` for each line of the table that does not hold, or that nothing needs."""
    known, reach = set(_modules(root)), _Reach(root)
    return [
        f"{test}: {reason}" for test, module in _lines(table) for reason in _faults(root, test, module, known, reach)
    ]


def _faults(root: Path, test: str, module: str, known: set[str], reach: _Reach) -> Iterator[str]:
    path = root / "tests" / test
    if not path.exists():
        yield "is not there"
    elif module not in known:
        yield f"{module} is not there"
    elif _mirror(root, module).exists():
        yield f"{module} has a test file of its name"
    elif path.suffix == ".txt":
        if _name(module) not in reach.of(_PROGRAM) or not _runs(path, module):
            yield f"does not run {module}"
    elif _name(module) not in reach.of(dotted(path.relative_to(root))):
        yield f"does not reach {module}"


def _lines(table: Table) -> Iterator[tuple[str, str]]:
    yield from ((test, module) for test, modules_of_it in table.items() for module in modules_of_it.split())


def _modules(root: Path) -> list[str]:
    """Every module with code, by its path; a package's own file is not a subject of its own."""
    files = (path.relative_to(root / PACKAGE) for path in modules(root).values())
    return [path.with_suffix("").as_posix() for path in files if not path.stem.startswith("__")]


def _name(module: str) -> str:
    return f"{PACKAGE}.{module.replace('/', '.')}"


def _mirror(root: Path, module: str) -> Path:
    folder, _, name = module.rpartition("/")
    return root / "tests" / folder / f"test_{name}.py"


def _runs(scenario: Path, module: str) -> bool:
    """Whether a golden scenario runs the program; if the module is a command's, with the first word of its name."""
    word = module.rpartition("/")[2].partition("_")[0] if module.startswith(_COMMANDS) else ""
    return re.search(rf"^\$ .*{word}", scenario.read_text(encoding="utf-8"), re.MULTILINE) is not None


class _Reach:
    """What a test loads: by its imports and theirs, and every command where one of these runs the program."""

    def __init__(self, root: Path) -> None:
        self._imported: dict[str, set[str]] = defaultdict(set)
        for edge in imports(root, PACKAGE, "tests"):
            self._imported[edge.importer].add(edge.imported)
        commands = f"{PACKAGE}.{_COMMANDS}".replace("/", ".")
        self._program = {f"{PACKAGE}.__main__", *(name for name in modules(root) if name.startswith(commands))}

    def of(self, module: str) -> set[str]:
        found, waiting = set[str](), [module]
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting.extend(self._imported[current])
                waiting.extend(self._program if current == _PROGRAM else ())
        return found
