"""A table of hostile inputs: what is written, which command reads it, and the exit code that it must end with."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
from base64 import b64decode
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.independent.encoding import LABEL, Signer, canonical, hkdf, joined, unwrap
from tests.independent.open_keystore import open_keystore, opened
from tests.independent.write_container import Draft, ManagedKey
from tests.independent.write_fleet import node_id
from tests.independent.write_keystore import write_header
from tests.keystores import FULL_RUN
from tests.program import Program

MEMORY = 2 << 30
"""The most that a program may take of address space; half of that is taken by its own modules and threads."""
LARGEST_FILE = 256 << 20
LIMITS = {resource.RLIMIT_AS: MEMORY, resource.RLIMIT_FSIZE: LARGEST_FILE, resource.RLIMIT_CPU: 20}

_ALWAYS = (
    "good one",
    "2^53",
    "sparse",
    "rewrap",
    "exec-model",
    "signature",
    "wraps",
    "model",
    "envelope, payload",
    "list,",
)

OK, USAGE, NOT_FOUND, INTEGRITY, REFUSED, PARTIAL, WRONG_MACHINE = 0, 2, 3, 4, 5, 7, 8
EXPIRED, UNAVAILABLE, INSECURE = 11, 12, 13


@dataclass
class Lair:
    """A folder with the program's keystore, and what its owner knows of it: keys and the seed that it signs with."""

    program: Program
    key: ManagedKey
    signer: Signer
    stranger: Signer
    host_secret: bytes
    facts: list[list[str]]
    card: dict[str, Any] = field(default_factory=dict)
    """Its own card, once it is a node."""

    @property
    def node_id(self) -> str:
        return node_id(bytes.fromhex(self.card["identity_key"]), b64decode(self.card["identity_hpke"]))

    @property
    def folder(self) -> Path:
        return self.program.folder

    def draft(self, **changes: object) -> Draft:
        """A container for this keystore, signed by it."""
        options = {"key": self.key, "signer": self.signer} | changes
        return Draft(**options)  # type: ignore[arg-type]

    def clear(self) -> None:
        """Remove everything but the keystore and the host secret."""
        for path in self.folder.iterdir():
            if path.name in ("keystore", "host"):
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def here(self) -> dict[str, tuple[int, int]]:
        """Every name in the folder, with type and size; the keystore's files and the mark without their size.

        What is kept back for a revocation on a full disk may go.
        """
        found = {}
        for path in sorted(path for path in self.folder.rglob("*") if path.suffix != ".reserve"):
            about, name = path.lstat(), path.relative_to(self.folder).as_posix()
            found[name] = (
                about.st_mode,
                0 if name.startswith(("keystore/", "host/")) or path.is_dir() else about.st_size,
            )
        return found


@dataclass(frozen=True)
class Row:
    """One input. `make` writes it into the folder; `words` are the command's, and `code` its exit code."""

    name: str
    make: Callable[[Lair], object]
    words: Sequence[str]
    code: int
    after: Callable[[Lair], object] | None = None
    """Compares what is left, where the command may write; else nothing may be new after a failure."""


def container(name: str, change: Callable[[Lair], Draft | bytes], code: int, *words: str) -> Row:
    """A container that is decrypted, or read by another command."""

    def make(lair: Lair) -> None:
        made = change(lair)
        (lair.folder / "in.ttm").write_bytes(made if isinstance(made, bytes) else made.encode())

    return Row(name, make, words or ("decrypt-model", "in.ttm", "-o", "out"), code)


def sampled(rows: Sequence[Row]) -> list[Row]:
    """All rows in a full run; else those about what was once got wrong, and every other one of the rest."""
    rest = [row for row in rows if not any(word in row.name for word in _ALWAYS)]
    left_out = set() if FULL_RUN else {row.name for row in rest[1::2]}
    return [row for row in rows if row.name not in left_out]


def at_copies(lair: Lair) -> Path:
    """Copy keystore, host secret and mark into the folder `at`, and let the copy's header name the copied mark."""
    at = lair.folder / "at"
    shutil.copytree(lair.program.keystore, at / "keystore")
    shutil.copytree(lair.folder / "host", at / "host")
    with closing(sqlite3.connect(at / "keystore/keystore.db")) as database:
        keystore = opened(database, lair.host_secret, lair.facts)
        keystore.document["marks"] = str(at / "host")
        write_header(keystore, canonical(keystore.document))
        database.commit()
    return at


def lair(program: Program, facts: list[list[str]]) -> Lair:
    """Read the secrets of the program's keystore, as its own machine can."""
    with program.manager() as manager:
        made = manager.generate("llama", no_license=True).keys[0]
    host_secret = (program.folder / "host" / "secret").read_bytes()
    keystore = open_keystore(str(program.keystore / "keystore.db"), host_secret, facts)
    try:
        secret = keystore.managed_key(made.key_id, None)
        identity = keystore.record(11, "identity")
        assert identity is not None
        seed_key = hkdf(keystore.root, b"", LABEL + b"identity")
        context = joined(LABEL + b"identity", keystore.id, b"identity")
        seed = unwrap(seed_key, b64decode(identity["wrapped"]), context)
    finally:
        keystore.database.close()
    key = ManagedKey(made.key_id, made.generation, secret)
    return Lair(program, key, Signer(seed), Signer(), host_secret, facts)


def try_row(lair: Lair, row: Row) -> None:
    """Run the program on one input, and compare its end with the table."""
    lair.clear()
    row.make(lair)
    before = lair.here()
    done = lair.program.run("--json", *row.words, limits=LIMITS)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert done.returncode == row.code, done.stdout + done.stderr
    if row.after is not None:
        row.after(lair)
    elif row.code != OK:
        assert lair.here() == before
    if row.code != OK:
        assert json.loads(done.stdout or done.stderr)["exit"] == row.code
