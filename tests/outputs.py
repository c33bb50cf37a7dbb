"""Every command that writes a file of the caller's choice, and all that no output may destroy, as a table.

python -m tests.outputs FOLDER     as root in a mount namespace of its own: the cells by bind mounts
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.program import LICENSE, Program
from tiktrue_keys.fleet.own_identity import init_node

OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "encrypt-model FILE": ("encrypt-model", "model", "--key", "llama", "--force", "-o"),
    "encrypt-model -": ("encrypt-model", "-", "--key", "llama", "--force", "-o"),
    "encrypt-model --recipient": ("encrypt-model", "model", "--recipient", "llama.pub", "--force", "-o"),
    "encrypt-model DIR": ("encrypt-model", "models", "--key", "llama", "--force", "-o"),
    "encrypt-model --resume": ("encrypt-model", "models", "--key", "llama", "-o", "new", "--resume"),
    "decrypt-model FILE": ("decrypt-model", "model.ttm", "--force", "-o"),
    "decrypt-model DIR": ("decrypt-model", "models.ttm", "--force", "-o"),
    "export-public": ("export-public", "llama", "--force", "-o"),
    "fleet card": ("fleet", "card", "--force", "-o"),
    "escrow create": ("escrow", "create", "-o"),
    "backup": ("backup", "--force"),
    "audit export": ("audit", "export", "-o"),
    "metrics": ("metrics", "--textfile"),
    "fleet sync": ("fleet", "sync", "--via"),
    "reencrypt-model": ("reencrypt-model",),
    "rewrap-model": ("rewrap-model",),
    "sign-model": ("sign-model", "--expect-root", "00" * 32),
    "encrypt-model, its source": ("encrypt-model", "--key", "llama", "-o", "new"),
}
"""The words before the output's path. The last four read, or change in place, what they are given."""
IN_PLACE = ("reencrypt-model", "rewrap-model", "sign-model", "encrypt-model, its source")
SOURCES = ("encrypt-model, its source",)
SPOOL = "fleet sync"

PROTECTED: Mapping[str, str] = {
    "keystore.db": "keystore/keystore.db",
    "keystore.lock": "keystore/keystore.lock",
    "host secret": "host/secret",
    "mark": "host/*.mark",
    "another keystore's mark": "host/" + "ab" * 16 + ".mark",
    "license file": "license",
    "container": "other.ttm",
    "backup": "earlier.db",
    "share": "shares/escrow-*-share-1-of-2.txt",
    "manifest": "models.ttm/tiktrue-manifest.json",
    "keystore's folder": "keystore",
    "new file in it": "keystore/new",
    "new file in another's": "another/new",
}
FOLDERS = ("keystore's folder", "new file in it", "new file in another's")
MAY_BE_READ = ("container", "backup", "share", "manifest", "new file in it", "new file in another's")
OF_ITS_KIND = {
    ("encrypt-model FILE", "container"),
    ("encrypt-model -", "container"),
    ("encrypt-model --recipient", "container"),
    ("backup", "backup"),
}


def is_refused(output: str, protected: str) -> bool:
    """Whether the table has this cell: an output of the same kind is replaced, and a container may be read."""
    if output in IN_PLACE:
        return protected not in MAY_BE_READ and (output in SOURCES or protected != "keystore's folder")
    return (output, protected) not in OF_ITS_KIND and (output != SPOOL or protected in FOLDERS)


CELLS = [(output, protected) for output in OUTPUTS for protected in PROTECTED if is_refused(output, protected)]
LINKED = [cell for cell in CELLS if cell[1] == "host secret" or cell[0] == SPOOL]
"""By a link: every output with one protected file; tests/core/test_outputs.py tries the others."""
MOUNTED = [cell for cell in CELLS if cell[1] == "host secret" or cell[0] in ("export-public", SPOOL)]
"""By a bind mount: every output with one protected file, and one output with all of them."""


def furnished(folder: Path) -> Program:
    """A keystore with all that there is to protect, and sources for every command."""
    program = Program(folder)
    program.generate("llama")
    (folder / "license").write_text(LICENSE)
    (folder / "license").chmod(0o600)
    program.variables["TIKTRUE_LICENSE_FILE"] = str(folder / "license")
    del program.variables["TIKTRUE_LICENSE_KEY"]
    with program.manager() as manager:
        init_node(manager, "head-office")
    (folder / "models").mkdir()
    for name in ("model", "models/a", "models/b"):
        (folder / name).write_bytes(b"weights")
    for words in (
        ("encrypt-model", "model", "--key", "llama"),
        ("encrypt-model", "model", "--key", "llama", "-o", "other.ttm"),
        ("encrypt-model", "models", "--key", "llama"),
        ("export-public", "llama", "-o", "llama.pub"),
        ("escrow", "create", "-o", "shares", "--shares", "2", "--threshold", "2"),
        ("backup", "earlier.db"),
    ):
        program.ok(*words)
    shutil.copytree(program.keystore, folder / "another")
    (folder / "host" / f"{'ab' * 16}.mark").write_text("{}")
    return program


def place_of(program: Program, protected: str) -> Path:
    """The path of what is protected, or of the new file."""
    pattern = PROTECTED[protected]
    found = [path for path in program.folder.glob(pattern) if "ab" * 16 in pattern or "ab" * 16 not in path.name]
    return found[0] if found else program.folder / pattern


def words_of(output: str, target: str) -> list[str]:
    """The command line that writes there."""
    first, *more = OUTPUTS[output]
    if output in IN_PLACE:
        return [first, target, *more]
    return [first, *more, f"spool:{target}" if output == SPOOL else target]


@dataclass(frozen=True)
class Seen:
    """Everything in a folder: its inodes, and the bytes of all that a recorded refusal does not change."""

    inodes: Mapping[str, int]
    contents: Mapping[str, bytes]

    @classmethod
    def of(cls, folder: Path) -> Seen:
        """Look at a folder. The record of a refusal replaces the mark and is written to the keystore."""
        inodes, contents = {}, {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            renewed = path.parent.name == "host" and path.suffix == ".mark" and "ab" * 16 not in name
            inodes[name] = 0 if renewed else path.lstat().st_ino
            if path.is_file() and not renewed and not name.startswith("keystore/"):
                contents[name] = path.read_bytes()
        return cls(inodes, contents)


def refusal(program: Program, output: str, target: Path) -> str:
    """Run the command, and return what it says. Raises AssertionError unless it is refused and nothing has changed."""
    before = Seen.of(program.folder)
    done = program.run(*words_of(output, str(target)), stdin=b"weights" if output == "encrypt-model -" else None)
    assert done.returncode == 5, f"{output} {target}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert Seen.of(program.folder) == before
    return done.stderr


def by_link(link: Callable[[Path, Path], object]) -> Callable[[Path, Path], Path]:
    """The way by a link at `aside` to a file, or to its folder where the file is new."""

    def lead(path: Path, aside: Path) -> Path:
        there = os.path.lexists(path)
        link(path if there else path.parent, aside)
        return aside if there else aside / path.name

    return lead


def _mount(path: Path, aside: Path) -> None:
    if path.is_dir():
        aside.mkdir()
    else:
        aside.touch()
    subprocess.run(["mount", "--bind", path, aside], check=True)


def _main() -> None:
    program = Program(Path(sys.argv[1]))
    program.variables["TIKTRUE_LICENSE_FILE"] = str(program.folder / "license")
    del program.variables["TIKTRUE_LICENSE_KEY"]
    mounts = program.folder.with_name(f"{program.folder.name}-mounts")
    mounts.mkdir()
    try:
        for number, (output, protected) in enumerate(MOUNTED):
            target = by_link(_mount)(place_of(program, protected), mounts / str(number))
            refusal(program, output, target)
            subprocess.run(["umount", mounts / str(number)], check=True)
    finally:
        shutil.rmtree(mounts, ignore_errors=True)
    print(len(MOUNTED))


if __name__ == "__main__":
    _main()
