"""The ladder inside `core`, `models` and `cli`: what stands there imports from its own rung and those below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.project.imports import PACKAGE, imports, modules

# From the bottom up. A name is a package with all that is in it, or a module; where both a package and a module in it
# have a rung, the module's own counts. What stands on one line may import one another.
RUNGS: Mapping[str, tuple[str, ...]] = {
    "core": (
        "canonical csv_line forks instants names notices secret system_errors trusted_path",
        "derivation durable file_identity folder_removal members node_ids outputs sealing",
        "machine",
        "fingerprint replacement",
        "audit",
        "keystore",
        "approvals",
        "containers",
        "dispatch",
        "keys",
        "upgrade limits findings",
        "session",
        "once",
        "operations",
        "reader",
        "manager",
        "read_only",
    ),
    "models": (
        "format",
        "storage",
        "pipeline",
        "container",
        "registry",
        "file",
        "folder",
        "settle",
        "serving",
        "model_release",
        "encryption",
        "tensors",
    ),
    "cli": (
        "program.catalog program.hygiene program.limits_of_process program.options program.parser program.values",
        "view",
        "context",
        "view.progress_bar input checks",
        "program.boundary",
        "program.main program.entry",
        "docs",
        "commands",
    ),
}


def upward(root: Path, rungs: Mapping[str, tuple[str, ...]] = RUNGS) -> list[str]:
    """Returns `path:line: reason` for each import of a higher rung below `root`, the folder that holds the package."""
    found = []
    for edge in imports(root):
        layer, importer = _split(edge.importer)
        other, imported = _split(edge.imported)
        if layer != other or layer not in rungs or not importer or not imported:
            continue
        low, high = _rung(importer, rungs[layer]), _rung(imported, rungs[layer])
        if low is not None and high is not None and high > low:
            found.append(f"{edge.place}: {layer}/{_path(importer)} imports {_path(imported)}, which stands above it")
    return found


def without_rung(root: Path, rungs: Mapping[str, tuple[str, ...]] = RUNGS) -> list[str]:
    """Modules of these layers that no rung holds."""
    placed = ((module, *_split(module)) for module in modules(root))
    return [
        module
        for module, layer, rest in placed
        if layer in rungs and rest and _rung(rest, rungs[layer]) is None and not _is_folder_of_rungs(rest, rungs[layer])
    ]


def empty_rungs(root: Path, rungs: Mapping[str, tuple[str, ...]] = RUNGS) -> list[str]:
    """Names on a rung behind which there is no module."""
    known = modules(root)
    named = [f"{layer}.{name}" for layer, lines in rungs.items() for _, name in _named(lines)]
    return [name for name in named if f"{PACKAGE}.{name}" not in known]


def _named(lines: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    yield from ((number, name) for number, line in enumerate(lines) for name in line.split())


def _rung(module: str, lines: tuple[str, ...]) -> int | None:
    """The rung of the longest name that holds the module."""
    holding = [(len(name), number) for number, name in _named(lines) if f"{module}.".startswith(f"{name}.")]
    return max(holding)[1] if holding else None


def _is_folder_of_rungs(module: str, lines: tuple[str, ...]) -> bool:
    """A package whose modules have rungs of their own holds no code itself."""
    return any(name.startswith(f"{module}.") for _, name in _named(lines))


def _split(module: str) -> tuple[str, str]:
    """The layer of a module, and its name below it."""
    layer, _, rest = module.removeprefix(f"{PACKAGE}.").partition(".")
    return layer, rest


def _path(module: str) -> str:
    return module.replace(".", "/")
