"""`sqlite:FILE`: envelopes and acknowledgements in a database that both sides open.

An example of a whole transport: the methods of tiktrue_keys.fleet.transports.interface.Transport in one file. What it
is out of order for is UnavailableError; what it carries it does not look into.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping

from tiktrue_keys.errors import UnavailableError, UsageError
from tiktrue_keys.fleet.transports.interface import MAX_LINE, MAX_LINES, Place, Posted

_SCHEMA = """
CREATE TABLE IF NOT EXISTS post (issuer TEXT, node TEXT, epoch INTEGER, stream INTEGER, number INTEGER, line BLOB,
  PRIMARY KEY (issuer, node, epoch, stream, number));
CREATE TABLE IF NOT EXISTS acknowledgement (issuer TEXT, node TEXT, line BLOB, PRIMARY KEY (issuer, node));
"""
_POLL = 0.2


def open_sqlite(rest: str, credentials: Mapping[str, str]) -> Sqlite:
    """The transport in the file `rest`."""
    if credentials:
        raise UsageError("this transport takes no credentials", "who may open the file is a matter of its owner")
    return Sqlite(rest)


class Sqlite:
    """A database file; made by whoever uses it first."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._version = -1

    def publish(self, issuer: str, number: int, posts: Iterable[Posted]) -> None:
        """A round is one transaction; its number is of no use here."""
        rows = ((issuer, post.node_id, *post.place, post.line) for post in posts)
        with self._opened() as database:
            database.executemany("INSERT OR REPLACE INTO post VALUES (?, ?, ?, ?, ?, ?)", rows)

    def collect(self, issuer: str, node_id: str, after: Place) -> list[bytes]:
        """The lines past `after`, in order, with the last one before and the challenges, whose number is 0."""
        wanted = (
            "SELECT line FROM post WHERE issuer = ? AND node = ? "
            "AND (number = 0 OR (epoch, stream, number) >= (?, ?, ?)) AND length(line) <= ? "
            "ORDER BY epoch, stream, number LIMIT ?"
        )
        with self._opened() as database:
            self._version = _version(database)
            return [line for (line,) in database.execute(wanted, (issuer, node_id, *after, MAX_LINE, MAX_LINES))]

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        """Replace the node's row."""
        with self._opened() as database:
            database.execute("INSERT OR REPLACE INTO acknowledgement VALUES (?, ?, ?)", (issuer, node_id, line))

    def acknowledgements(self, issuer: str, node_ids: Iterable[str]) -> list[tuple[str, bytes]]:
        """Each node's row."""
        wanted = set(node_ids)
        with self._opened() as database:
            rows = database.execute("SELECT node, line FROM acknowledgement WHERE issuer = ?", (issuer,))
            return [(node_id, line) for node_id, line in rows if node_id in wanted]

    def tidy(self, issuer: str, consumed: Mapping[str, Place]) -> None:
        """Delete what was consumed, but for the last of each node and the challenges."""
        rows = [(issuer, node_id, *place) for node_id, place in consumed.items()]
        with self._opened() as database:
            database.executemany(
                "DELETE FROM post WHERE issuer = ? AND node = ? AND number > 0 AND (epoch, stream, number) < (?, ?, ?)",
                rows,
            )

    def wait(self, issuer: str, node_id: str, seconds: float) -> None:
        """Until anybody has written."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self._opened() as database:
                if _version(database) != self._version:
                    return
            time.sleep(_POLL)

    def close(self) -> None:
        """Nothing stays open."""

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A transaction."""
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=10)) as database, database:
                database.executescript(_SCHEMA)
                yield database
        except sqlite3.Error as error:
            raise UnavailableError(f"the database {self._path} is out of order: {error}", "who may write it?") from None


def _version(database: sqlite3.Connection) -> int:
    """How many rows there are and were: it changes with every round."""
    (count,) = database.execute("SELECT coalesce(max(rowid), 0) + count(*) FROM post").fetchone()
    return int(count)
