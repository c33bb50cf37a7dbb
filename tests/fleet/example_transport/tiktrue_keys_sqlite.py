"""`sqlite:FILE`: envelopes and acknowledgements in a database that both sides open.

An example of a whole transport: the methods of tiktrue_keys.fleet.transports.interface.Transport in one file. Its
errors are UnavailableError. It does not read the lines that it carries.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping

from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.errors import UnavailableError, UsageError
from tiktrue_keys.fleet.transports.interface import MAX_LINE, Junk, Place, Posted

_SCHEMA = """
CREATE TABLE IF NOT EXISTS post (issuer TEXT, node TEXT, epoch INTEGER, stream INTEGER, number INTEGER, line BLOB,
  PRIMARY KEY (issuer, node, epoch, stream, number));
CREATE TABLE IF NOT EXISTS acknowledgement (issuer TEXT, node TEXT, line BLOB, PRIMARY KEY (issuer, node));
"""
_POLL = 0.2


def open_sqlite(rest: str, credentials: Mapping[str, str]) -> Sqlite:
    """Return the transport in the file `rest`."""
    if credentials:
        raise UsageError("this transport takes no credentials", "who may open the file is a matter of its owner")
    return Sqlite(rest)


class Sqlite:
    """A database file, created at its first use."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._version = -1

    def publish(self, issuer: str, number: int, posts: Iterable[Posted], sign: Signer) -> None:
        """Insert a round in one transaction. Rows need neither the round's number nor a signature to be found again."""
        rows = ((issuer, post.node_id, *post.place, post.line) for post in posts)
        with self._opened() as database:
            database.executemany("INSERT OR REPLACE INTO post VALUES (?, ?, ?, ?, ?, ?)", rows)

    def collect(self, issuer: str, node_id: str, after: Place, junk: Junk) -> Iterator[bytes]:
        """Yield the lines past `after`, the one at `after`, and the challenges, whose number is 0; a row at a time."""
        wanted = (
            "SELECT typeof(line), length(line), line FROM post WHERE issuer = ? AND node = ? "
            "AND (number = 0 OR (epoch, stream, number) >= (?, ?, ?))"
        )
        with self._opened() as database:
            self._version = _version(database)
            for kind, length, line in database.execute(wanted, (issuer, node_id, *after)):
                if kind == "blob" and length <= MAX_LINE:
                    yield line
                else:
                    junk.add("row that is not a line")

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        """Replace the node's row."""
        with self._opened() as database:
            database.execute("INSERT OR REPLACE INTO acknowledgement VALUES (?, ?, ?)", (issuer, node_id, line))

    def acknowledgements(self, issuer: str, node_ids: Iterable[str], junk: Junk) -> list[tuple[str, bytes]]:
        """Return each node's row."""
        wanted = set(node_ids)
        with self._opened() as database:
            rows = database.execute("SELECT node, line FROM acknowledgement WHERE issuer = ?", (issuer,))
            return [(node_id, line) for node_id, line in rows if node_id in wanted]

    def tidy(self, issuer: str, consumed: Mapping[str, Place], identity_key: bytes) -> None:
        """Delete what was consumed, except the last of each node and the challenges."""
        rows = [(issuer, node_id, *place) for node_id, place in consumed.items()]
        with self._opened() as database:
            database.executemany(
                "DELETE FROM post WHERE issuer = ? AND node = ? AND number > 0 AND (epoch, stream, number) < (?, ?, ?)",
                rows,
            )

    def wait(self, issuer: str, node_id: str, seconds: float) -> None:
        """Return once a row was written."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self._opened() as database:
                if _version(database) != self._version:
                    return
            time.sleep(_POLL)

    def close(self) -> None:
        """Do nothing: a connection is open during a call only."""

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection with a transaction in progress."""
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=10)) as database, database:
                database.executescript(_SCHEMA)
                yield database
        except sqlite3.Error as error:
            raise UnavailableError(f"the database {self._path} is out of order: {error}", "who may write it?") from None


def _version(database: sqlite3.Connection) -> int:
    """Return a number that changes with every round."""
    (count,) = database.execute("SELECT coalesce(max(rowid), 0) + count(*) FROM post").fetchone()
    return int(count)
