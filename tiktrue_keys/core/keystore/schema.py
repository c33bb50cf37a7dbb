"""The tables of a keystore, the kinds and members of its records, and their version.

Come here to change what is stored. Everything that an operator would call data is a sealed row of `record`; the other
tables prove that it is complete. This module does no cryptography; core/upgrade.py takes older keystores to VERSION.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from enum import IntEnum

from tiktrue_keys.errors import Advice, IntegrityError, InternalError

APPLICATION_ID = 0x54544B31  # "TTK1", in the SQLite header for file(1)
FIRST_VERSION = 1
VERSION = 2

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

TABLES: dict[int, tuple[str, ...]] = {FIRST_VERSION: _STATEMENTS, VERSION: _STATEMENTS}
"""The statements that create the tables of each version. A file has exactly the tables of its version.

Version 2 has the tables of version 1. Its header has more members, and so have its records.
"""


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
    AGENDA = 23
    CLAIM = 24
    RELEASE = 25
    FINDING = 26
    EVENT = 27
    SINK = 28
    COUNTER = 29
    RETIRED = 30


def _members(text: str) -> frozenset[str]:
    return frozenset(text.split())


SHAPES: dict[RecordKind, tuple[frozenset[str], ...]] = {
    RecordKind.KEY: (
        _members(
            "key_id model_id generation created_at expires_at decrypt_until labels wrapped license_tag predecessor"
            " successor pending rotated_at overlap_ends_at revoked_at revoke_reason destroy_at destroyed_at exported"
            " fingerprint audit_number origin origin_epoch rotate_every rotate_before last_used_at"
            " promoted_at"
        ),
    ),
    RecordKind.MODEL: (_members("model_id heads ended"),),
    RecordKind.SHORT_ID: (_members("keys"),),
    RecordKind.LICENSE: (_members("tag cost enrolled_at version salt strength factor"),),
    RecordKind.ROTATION: (_members("old_key_id new_key_id model_id rotated_at operation_id promote_at min_acks"),),
    RecordKind.CONTAINER: (
        _members(
            "file_id path model_id name keys last_seen piped signed copies root archived_at lagging_since failure"
            " signer"
        ),
    ),
    RecordKind.WRAPPING: (_members("key_id file_id"),),
    RecordKind.INTENT: (
        _members(
            "act file_id path keys_before keys_after model_id name temporary existed piped signed replaces chosen"
            " operation_id process at before request root supersedes leaves"
        ),
    ),
    RecordKind.OPERATION: (_members("act at parts request"), _members("items")),
    RecordKind.BINDING: (_members("anchors device dropped replacing"),),
    RecordKind.IDENTITY: (_members("wrapped"),),
    RecordKind.EPOCH: (_members("epoch last_known at"),),
    RecordKind.NODE: (
        _members("name role"),
        _members("receives"),
        _members("shards count epoch next_dispatch first_open round"),
        _members("members"),
        _members(
            "node_id name role keystore_id epoch identity_key identity_hpke audit_key recovery_key added_at shard scope"
            " scope_assumed retired_at compromised_at earlier frozen"
        ),
        _members("node_id"),
        _members("retired"),
        _members("epoch progress"),
        _members("failures until"),
    ),
    RecordKind.DELIVERY: (
        _members("key_id client requested_at operation_id state"),
        _members("number kind audit_size at operation_id key_id generation old_key_id list_number parts done model_id"),
        _members("dispatch nodes"),
        _members("old_key_id"),
    ),
    RecordKind.REVOCATION_LIST: (
        _members("number issued_at valid_until revoked releases"),
        _members("number issued_at"),
        _members("epoch number issued_at valid_until"),
        _members("key_id revoked_at reason origin"),
    ),
    RecordKind.ESCROW: (_members("number shares threshold created_at verified_at"),),
    RecordKind.UNLOCK: (_members("former"),),
    RecordKind.APPROVAL: (
        _members("require approvers"),
        _members("number epoch operation also subject arguments parts expires_at created_at signatures used_at"),
        _members("rows"),
        _members("next"),
    ),
    RecordKind.WITNESS: (
        _members("issuer epoch number audit results seen blocked offered heard_at stream challenge"),
        _members("epoch audit"),
        _members("issuer at epoch"),
    ),
    RecordKind.CLOCK_GAP: (_members("since until"),),
    RecordKind.BACKUP: (_members("at path done operation_id size epoch held escrow opened_at"),),
    RecordKind.TALLY: (_members("count fold day first"),),
    RecordKind.AGENDA: (_members("days"), _members("series")),
    RecordKind.CLAIM: (_members("path file_id keys seen_at"),),
    RecordKind.RELEASE: (_members("model_id epoch number issued_at parts origin"), _members("entries withdrawn")),
    RecordKind.FINDING: (_members("finding subject since accepted_at"), _members("raised")),
    RecordKind.EVENT: (),  # events are read off the audit log
    RecordKind.SINK: (),  # how far sinks are is in cursors.py
    RecordKind.COUNTER: (_members("day counts"),),
    RecordKind.RETIRED: (
        _members("size epoch audit_key identity_key identity_hpke at compromised settled parts"),
        _members("file_ids"),
    ),
}
"""The members that records of each kind may have: one set, or one for each form of a name. All are in format.5."""


def must_have_shape(kind: RecordKind, payload: Collection[str]) -> None:
    """Raise InternalError for a payload with a member that its kind does not have."""
    if not any(members.issuperset(payload) for members in SHAPES[kind]):
        raise InternalError(f"a record of kind {kind.name} does not have the members {', '.join(sorted(payload))}")


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of an empty keystore inside the open transaction."""
    for statement in TABLES[VERSION]:
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO bucket (page, digests) VALUES (?, ?)",
        ((page, bytes(BUCKETS_A_PAGE * DIGEST_LENGTH)) for page in range(BUCKETS // BUCKETS_A_PAGE)),
    )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    set_version(connection)


def has_tables(connection: sqlite3.Connection) -> bool:
    """Return whether there are tables; the empty file that a killed creation leaves has none."""
    (count,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return bool(count)


def must_be_ours(connection: sqlite3.Connection) -> None:
    """Raise IntegrityError for a database that tiktrue-keys did not create, LaterVersionError for a later version."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    version = version_of(connection)
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


def set_version(connection: sqlite3.Connection) -> None:
    """Set the schema version of the file to VERSION, inside the open transaction."""
    connection.execute(f"PRAGMA user_version = {VERSION}")


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of the file, which nothing authenticates; the header says the same."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
