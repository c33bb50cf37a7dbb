"""`python -m tiktrue_keys.cli.docs.generate [--check] [ROOT]`: writes the man pages and completions from the parser.

`--check` writes nothing, lists the stale files, and exits with 1 if there are any.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tiktrue_keys.cli.docs.manpages import PROGRAM, pages
from tiktrue_keys.cli.docs.reference import descriptions, old_descriptions
from tiktrue_keys.cli.docs.shells import SCRIPTS
from tiktrue_keys.cli.view.streams import write_err, write_out

REPOSITORY = Path(__file__).parents[3]


def generated_files() -> dict[str, str]:
    """Return the text of every generated file by its path in the repository."""
    commands = descriptions()
    guides = [path.name for path in (REPOSITORY / "man").glob(f"{PROGRAM}-*.[57]")]
    files = {f"man/{name}": text for name, text in pages(commands, old_descriptions(), guides).items()}
    return files | {f"completions/{name}": script(commands) for name, script in SCRIPTS.values()}


def stale_files(root: Path, wanted: dict[str, str]) -> list[str]:
    """Return the files that are missing or differ, and the pages of removed commands."""
    differing = [name for name, text in wanted.items() if not _reads(root / name, text)]
    gone = [f"man/{path.name}" for path in (root / "man").glob(f"{PROGRAM}*.1") if f"man/{path.name}" not in wanted]
    return sorted(differing + gone)


def write_files(root: Path, wanted: dict[str, str], names: Sequence[str]) -> None:
    """Write the named files, or remove those that nothing generates."""
    for name in names:
        path = root / name
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name], "utf-8")
        else:
            path.unlink()


def main(arguments: Sequence[str]) -> int:
    """Write the files below ROOT (default: this repository), or check them; return the exit code."""
    check = "--check" in arguments
    roots = [word for word in arguments if word != "--check"]
    if len(roots) > 1 or any(word.startswith("-") for word in roots):
        write_err(
            "error: too many or unknown arguments\nhint: python -m tiktrue_keys.cli.docs.generate [--check] [ROOT]\n"
        )
        return 2
    root = Path(roots[0]) if roots else REPOSITORY
    wanted = generated_files()
    stale = stale_files(root, wanted)
    if check:
        write_err("".join(f"stale: {name}\n" for name in stale))
        return 1 if stale else 0
    write_files(root, wanted, stale)
    write_out("".join(f"{name}\n" for name in stale))
    return 0


def _reads(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
