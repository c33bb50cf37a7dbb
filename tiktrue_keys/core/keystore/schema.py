"""The tables of a keystore, their version, and the migration of older ones.

Come here to change what is stored. Everything that an operator would call data is a sealed row of `record`; the other
tables prove that it is complete. This module does no cryptography.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from enum import IntEnum

from tiktrue_keys.errors import Advice, IntegrityError

APPLICATION_ID = 0x54544B31  # "TTK1", in the SQLite header for file(1)
VERSION = 1

BUCKETS = 4096
BUCKETS_A_PAGE = 64
DIGEST_LENGTH = 32

MAX_DOCUMENT = 64 * 1024
MAX_RECORD = 16 * 1024
MAX_AUDIT_RECORD = 4 * 1024

RESTORE: Advice = {"hint": "restore the keystore from a backup", "remedy": "damaged-keystore", "about": {}}
"""What to do about a keystore that is damaged or was changed."""

_TABLES = """
CREATE TABLE header (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    document BLOB NOT NULL,
    mac BLOB NOT NULL
);
CREATE TABLE record (
    bucket INTEGER NOT NULL,
    tag BLOB NOT NULL,
    kind INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    owner BLOB,
    sealed BLOB NOT NULL,
    PRIMARY KEY (bucket, tag)
) WITHOUT ROWID;
CREATE INDEX record_owner ON record (owner) WHERE owner IS NOT NULL;
CREATE TABLE bucket (
    page INTEGER PRIMARY KEY,
    digests BLOB NOT NULL
);
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
);
CREATE TABLE audit_hash (
    level INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (level, position)
) WITHOUT ROWID;
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    audit_size INTEGER NOT NULL,
    audit_head BLOB NOT NULL,
    checkpoint TEXT NOT NULL,
    root BLOB NOT NULL
);
"""


_STATEMENTS = tuple(statement.strip() for statement in _TABLES.split(";") if statement.strip())

TABLES: dict[int, tuple[str, ...]] = {VERSION: _STATEMENTS}
"""The statements that create the tables of each version. A file has exactly the tables of its version."""


class LaterVersionError(IntegrityError):
    """A later tiktrue-keys created the keystore. This version cannot tell whether it is intact."""


class RecordKind(IntEnum):
    """The kinds of sealed row. The numbers are part of the format: tags are derived from them, and none is reused."""

    KEY = 1
    MODEL = 2
    SHORT_ID = 3
    LICENSE = 4
    ROTATION = 5
    CONTAINER = 6
    WRAPPING = 7
    INTENT = 8
    OPERATION = 9
    BINDING = 10
    IDENTITY = 11
    EPOCH = 12
    NODE = 13
    DELIVERY = 14
    REVOCATION_LIST = 15
    ESCROW = 16
    UNLOCK = 17
    APPROVAL = 18
    WITNESS = 19
    CLOCK_GAP = 20
    BACKUP = 21
    TALLY = 22


MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {}
"""The migration from each version to the next, run inside the first write transaction.

A kill leaves the old tables or the new ones. Readers do not migrate, so a new version has to read the tables of the old
ones too. Version 1 is the only one so far.
"""


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of an empty keystore inside the open transaction."""
    for statement in TABLES[VERSION]:
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO bucket (page, digests) VALUES (?, ?)",
        ((page, bytes(BUCKETS_A_PAGE * DIGEST_LENGTH)) for page in range(BUCKETS // BUCKETS_A_PAGE)),
    )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def has_tables(connection: sqlite3.Connection) -> bool:
    """Return whether there are tables; the empty file that a killed creation leaves has none."""
    (count,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return bool(count)


def must_be_ours(connection: sqlite3.Connection) -> None:
    """Raise IntegrityError for a database that tiktrue-keys did not create, LaterVersionError for a later version."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise IntegrityError("keystore.db is not a keystore of this program")
    if version > VERSION:
        raise LaterVersionError(
            f"the keystore has schema version {version}, and this program knows versions up to {VERSION}",
            "upgrade tiktrue-keys",
        )
    if version not in TABLES:
        raise IntegrityError(f"the keystore has the impossible schema version {version}")
    if not _has_tables_of(connection, TABLES[version]):
        raise IntegrityError("keystore.db holds tables that this program did not make", **RESTORE)


def _has_tables_of(connection: sqlite3.Connection, statements: tuple[str, ...]) -> bool:
    """Return whether these are exactly our tables and index.

    A view or trigger in a hostile file would run before anything is authenticated.
    """
    limit = len(statements) + 8
    rows = connection.execute(f"SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL LIMIT {limit}").fetchall()  # noqa: S608
    return len(rows) == len(statements) and {row[0] for row in rows} == set(statements)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to VERSION, one version after the other, inside the open write transaction."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    while version < VERSION:
        MIGRATIONS[version](connection)
        version += 1
        connection.execute(f"PRAGMA user_version = {version}")
