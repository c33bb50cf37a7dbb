"""One name, one thing: which module names may come twice, and which gerunds may stand beside a verb of their stem."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

# Verbs that are done to different things, each in a module of its own: file/encrypt and folder/encrypt.
VERBS = {
    "backup",
    "decrypt",
    "encrypt",
    "export_public",
    "generate",
    "inspect",
    "open",
    "plan",
    "reencrypt",
    "rewrap",
    "upload",
    "verify",
}
# The field's nouns: the name of a thing, where another module's verb has the same stem.
NOUNS = {"binding", "sealing", "wrapping"}
COMMANDS = "cli/commands"


def shared_names(package: Path) -> list[str]:
    """Returns `name: path, path` for each name that modules share although it is not a verb's or a command's own."""
    places: dict[str, list[str]] = {}
    for path in _modules(package):
        place = path.relative_to(package).with_suffix("").as_posix()
        if not place.startswith(f"{COMMANDS}/"):
            places.setdefault(path.stem, []).append(place)
    return [f"{name}: {', '.join(found)}" for name, found in places.items() if len(found) > 1 and name not in VERBS]


def shared_command_names(package: Path) -> list[str]:
    """The same for two modules of commands, which never share a name."""
    found = [path.stem for path in _modules(package / COMMANDS)]
    return sorted({name for name in found if found.count(name) > 1})


def gerunds(package: Path) -> list[str]:
    """Returns `gerund: verb` for each module that is named by the gerund of a verb by which another one is named."""
    names = {path.stem for path in _modules(package)}
    pairs = ((name, verb) for name in sorted(names - NOUNS) for verb in _stems(name) if verb in names)
    return [f"{gerund}: {verb}" for gerund, verb in pairs]


def unused_exceptions(package: Path) -> list[str]:
    """Verbs that no two modules share, and nouns that no module has: they are to leave the tables."""
    names = [path.stem for path in _modules(package)]
    return sorted({verb for verb in VERBS if names.count(verb) < 2} | {noun for noun in NOUNS if noun not in names})


def _modules(package: Path) -> list[Path]:
    return [path for path in sorted(package.rglob("*.py")) if not path.stem.startswith("__")]


def _stems(name: str) -> Iterator[str]:
    """The verbs of which `name` may be the gerund: rotating of rotate, opening of open, stopping of stop."""
    if not name.endswith("ing"):
        return
    stem = name.removesuffix("ing")
    yield from (stem, f"{stem}e")
    if stem[-1:] == stem[-2:-1]:
        yield stem[:-1]
