"""A keystore file that was changed at rest: every byte flipped; rows swapped, put back, deleted; the file of yesterday.

    python -m tests.faults.flips --only splices --count 10000
    python -m tests.faults.flips --only bytes --every          resumable with --part

Each is refused, or everything the keystore tells is as before. Anything but an error of ours is a violation, too.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.faults.campaign import Options, Tally, ViolationError, break_it, main, scratch, watched
from tests.faults.shop import LICENSE, Shop
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError, TikTrueKeysError

_TABLES = {
    "record": ("bucket", "tag", "kind", "revision", "owner", "sealed"),
    "audit": ("number", "sealed"),
    "audit_hash": ("level", "position", "hash"),
    "bucket": ("page", "digests"),
    "header": ("id", "document", "mac"),
    "state": ("id", "audit_size", "audit_head", "checkpoint", "root"),
}
_IDENTITY = {"record": 2, "audit": 1, "audit_hash": 2, "bucket": 1, "header": 1, "state": 1}
Splice = Callable[["Attacker", random.Random], str]


class Attacker:
    """Somebody with the file, an older copy of it, another keystore of the same machine, and an SQLite shell."""

    def __init__(self, base: Path) -> None:
        self.shop = Shop(base / "shop")
        self.file = self.shop.keystore / "keystore.db"
        self._now = base / "now.db"
        self.old = base / "old.db"
        self.foreign = base / "foreign.db"
        shutil.copyfile(self.file, self.old)
        with self.shop.manager() as manager:
            manager.revoke(["llama"], reason="a test")
            manager.rotate(["mistral"], license_key=LICENSE)
            manager.generate("newer", license_key=LICENSE)
            manager.cleanup(after=0)
        shutil.copyfile(self.file, self._now)
        with KeyManager(base / "foreign", host_secret_file=self.shop.secret, pbkdf2_rounds=100_000) as manager:
            for name in ("llama", "other"):
                manager.generate(name, license_key=LICENSE)
        shutil.copyfile(base / "foreign/keystore.db", self.foreign)
        self.baseline = self.told()

    def undo(self) -> None:
        """The file as it was."""
        shutil.copyfile(self._now, self.file)

    def told(self) -> Any:
        """Everything that the keystore tells."""
        with self.shop.manager() as manager:
            checks = manager.validate(deep=True).checks
            return (
                sorted((check.key for check in checks), key=lambda key: key.key_id),
                [manager.find(check.key.key_id) for check in checks],
                manager.containers(),
                [manager.containers(check.key.key_id) for check in checks],
                manager.open_intents(),
                manager.audit_verify(),
                list(manager.audit_records()),
                manager.audit_checkpoint(),
                manager.document(),
                manager.now() // 86_400,
            )

    def examine(self) -> str:
        """`refused` or `unchanged`; ViolationError for anything else."""
        try:
            found = self.told()
        except IntegrityError:
            return "refused"
        except TikTrueKeysError as error:
            return f"refused ({type(error).__name__})"
        except Exception as error:
            raise ViolationError(f"a raw {type(error).__name__}: {error}") from error
        if [list_of(part) for part in found] != [list_of(part) for part in self.baseline]:
            raise ViolationError("accepted with another meaning")
        return "unchanged"

    @contextlib.contextmanager
    def shell(self) -> Any:
        """The file open in SQLite, the old and the foreign one attached."""
        connection = sqlite3.connect(self.file)
        try:
            connection.execute("ATTACH ? AS old", (str(self.old),))
            connection.execute("ATTACH ? AS foreign_", (str(self.foreign),))
            yield connection
            connection.commit()
        finally:
            connection.close()


def list_of(part: Any) -> Any:
    """Parts compare by value; a list of keys needs no order."""
    return sorted(part, key=repr) if isinstance(part, list) else part


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """Bytes, then splices, then whole files."""
    attacker = Attacker(scratch("flips"))
    only = options.only or ("bytes", "splices")
    if options.control is not None:
        _break()
    if "splices" in only:
        _splice_all(attacker, options, tally, go_on)
    if "bytes" in only:
        _flip_all(attacker, options, tally, go_on)


def _flip_all(attacker: Attacker, options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    attacker.undo()
    size = attacker.file.stat().st_size
    tally.figures["bytes in the file"] = size
    chooser = options.random("bytes", options.part)
    places: Sequence[int] = range(size) if options.every else [chooser.randrange(size) for _ in range(options.count)]
    with open(attacker.file, "r+b", buffering=0) as file:
        for case, place in enumerate(places):
            if options.every and not options.mine(case):
                continue
            if not go_on():
                break
            tally.cases += 1
            file.seek(place)
            (byte,) = file.read(1)
            file.seek(place)
            file.write(bytes([byte ^ (1 << chooser.randrange(8))]))
            with watched(tally, f"byte {place}"):
                tally.counts[f"bytes {attacker.examine()}"] += 1
            file.seek(place)
            file.write(bytes([byte]))
    if attacker.examine() != "unchanged":
        tally.broken("bytes", "the campaign left a change behind")


def _splice_all(attacker: Attacker, options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    chooser = options.random("splices", options.part)
    half = options.count if options.only else options.count // 2
    for case in range(half):
        if not go_on():
            break
        tally.cases += 1
        attacker.undo()
        done = _spliced(attacker, chooser)
        with watched(tally, f"splice {case}: {'; '.join(done)}"):
            tally.counts[f"splices {attacker.examine()}"] += 1


def _spliced(attacker: Attacker, chooser: random.Random) -> list[str]:
    """One splice, or two where the file is still a database for the second."""
    done = []
    for _ in range(1 + (chooser.random() < 0.3)):
        with contextlib.suppress(sqlite3.DatabaseError, IndexError, ValueError):
            done.append(chooser.choice(SPLICES)(attacker, chooser))
    return done


def _swap(attacker: Attacker, chooser: random.Random) -> str:
    """Two rows of a table exchange what they hold, not who they are."""
    table = chooser.choice(("record", "record", "audit", "audit_hash", "bucket"))
    columns, identity = _TABLES[table], _IDENTITY[table]
    with attacker.shell() as shell:
        rows = shell.execute(f"SELECT * FROM {table}").fetchall()
        one, two = chooser.sample(rows, 2)
        place = chooser.randrange(identity, len(columns))
        for row, other in ((one, two), (two, one)):
            where = " AND ".join(f"{column} = ?" for column in columns[:identity])
            shell.execute(f"UPDATE {table} SET {columns[place]} = ? WHERE {where}", (other[place], *row[:identity]))
    return f"swap {columns[place]} of two rows of {table}"


def _roll_back(attacker: Attacker, chooser: random.Random) -> str:
    """A row, or a whole table, as it was yesterday."""
    table = chooser.choice(list(_TABLES))
    with attacker.shell() as shell:
        if chooser.random() < 0.3:
            shell.execute(f"DELETE FROM main.{table}")
            shell.execute(f"INSERT INTO main.{table} SELECT * FROM old.{table}")
            return f"all of {table} as it was"
        row = chooser.choice(shell.execute(f"SELECT * FROM old.{table}").fetchall())
        marks = ", ".join("?" * len(row))
        shell.execute(f"INSERT OR REPLACE INTO main.{table} VALUES ({marks})", row)
    return f"a row of {table} as it was"


def _transplant(attacker: Attacker, chooser: random.Random) -> str:
    """A row of another keystore of this machine."""
    table = chooser.choice(("record", "audit", "header", "state", "bucket"))
    with attacker.shell() as shell:
        row = chooser.choice(shell.execute(f"SELECT * FROM foreign_.{table}").fetchall())
        marks = ", ".join("?" * len(row))
        shell.execute(f"INSERT OR REPLACE INTO main.{table} VALUES ({marks})", row)
    return f"a foreign row of {table}"


def _delete(attacker: Attacker, chooser: random.Random) -> str:
    """A row less."""
    table = chooser.choice(list(_TABLES))
    columns, identity = _TABLES[table], _IDENTITY[table]
    with attacker.shell() as shell:
        row = chooser.choice(shell.execute(f"SELECT * FROM {table}").fetchall())
        where = " AND ".join(f"{column} = ?" for column in columns[:identity])
        shell.execute(f"DELETE FROM {table} WHERE {where}", row[:identity])
    return f"a row of {table} deleted"


def _edit(attacker: Attacker, chooser: random.Random) -> str:
    """A clear column says something else."""
    edits = (
        "UPDATE record SET kind = kind + 1",
        "UPDATE record SET revision = revision + 1",
        "UPDATE record SET owner = NULL",
        "UPDATE record SET owner = tag",
        "UPDATE record SET bucket = (bucket + 1) % 4096",
        "UPDATE record SET tag = sealed",
        "UPDATE record SET sealed = x''",
        "UPDATE record SET sealed = 5",
        "UPDATE audit SET number = number + 1000",
        "UPDATE audit SET sealed = x'00'",
        "UPDATE audit_hash SET hash = x'00'",
    )
    edit = chooser.choice(edits)
    table = edit.split()[1]
    columns, identity = _TABLES[table], _IDENTITY[table]
    with attacker.shell() as shell:
        row = chooser.choice(shell.execute(f"SELECT * FROM {table}").fetchall())
        where = " AND ".join(f"{column} = ?" for column in columns[:identity])
        with contextlib.suppress(sqlite3.IntegrityError):
            shell.execute(f"{edit} WHERE {where}", row[:identity])
    return edit


def _whole_file(attacker: Attacker, chooser: random.Random) -> str:
    """Another file in its place: yesterday's, a part of it, its pages in another order.

    Not the file of another keystore of this machine: that is a keystore that opens here (security.7 says so).
    """
    choice = chooser.randrange(3)
    if choice == 0:
        shutil.copyfile(attacker.old, attacker.file)
        return "yesterday's file"
    content = attacker.file.read_bytes()
    if choice == 1:
        cut = chooser.randrange(1, len(content))
        attacker.file.write_bytes(content[:cut])
        return f"cut after {cut} bytes"
    pages = len(content) // 4096
    one, two = chooser.sample(range(pages), 2)
    first, second = content[one * 4096 : (one + 1) * 4096], content[two * 4096 : (two + 1) * 4096]
    mixed = bytearray(content)
    mixed[one * 4096 : (one + 1) * 4096], mixed[two * 4096 : (two + 1) * 4096] = second, first
    attacker.file.write_bytes(mixed)
    return f"pages {one} and {two} swapped"


def _index(attacker: Attacker, chooser: random.Random) -> str:
    """The index of owners, which SQLite keeps and nobody seals."""
    with attacker.shell() as shell:
        shell.execute("DROP INDEX record_owner")
        if chooser.random() < 0.5:
            shell.execute("CREATE INDEX record_owner ON record (owner) WHERE owner IS NULL")
    return "the index of owners"


SPLICES: tuple[Splice, ...] = (
    _swap,
    _swap,
    _roll_back,
    _roll_back,
    _transplant,
    _delete,
    _edit,
    _edit,
    _whole_file,
    _index,
)


def _break() -> None:
    """Believe the rows, and forget how far the log had come."""
    from tiktrue_keys.core.keystore import rows, verification

    break_it(rows.Rows, "_must_match", lambda *_: None)
    break_it(verification.VerifiedConnection, "_must_reach_mark", lambda *_: None)


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=200, controls=("rows-believed",), only=("bytes", "splices"))
