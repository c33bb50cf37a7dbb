"""Hostile backups: rows, tables and files that are not what the page's section KEYSTORE says.

Each is restored over a keystore in use, which must stay as it is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.independent.encoding import canonical
from tests.independent.hostile import INTEGRITY, NOT_FOUND, OK, REFUSED, Lair, Row
from tests.independent.open_keystore import Keystore, opened
from tests.independent.write_keystore import deflated, fit_root, packed, seal_record, write_header

_BACKUP = "backups/copy.db"
_DRY_RUN = ("restore", "--dry-run", _BACKUP)


def _backup(name: str, change: Callable[[Path, Lair], object], code: int = INTEGRITY, *words: str) -> Row:
    def make(lair: Lair) -> None:
        copy = lair.folder / _BACKUP
        copy.parent.mkdir()
        source = sqlite3.connect(lair.program.keystore / "keystore.db")
        with closing(source), closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        change(copy, lair)

    return Row(f"backup, {name}", make, words or ("restore", "--yes", _BACKUP), code)


def _sql(name: str, *statements: str) -> Row:
    """Changed by one who lacks the keystore's secret."""

    def change(path: Path, _: Lair) -> None:
        with closing(sqlite3.connect(path)) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    return _backup(name, change)


def _sealed(name: str, act: Callable[[Keystore, Lair], object], code: int = INTEGRITY) -> Row:
    """Changed by one who has it: what can be made to fit does."""

    def change(path: Path, lair: Lair) -> None:
        with closing(sqlite3.connect(path)) as database:
            act(opened(database, lair.host_secret, lair.facts), lair)
            database.commit()

    return _backup(name, change, code)


def _header(name: str, change: Callable[[dict[str, Any]], object], code: int = INTEGRITY) -> Row:
    def act(keystore: Keystore, _: Lair) -> None:
        change(keystore.document)
        write_header(keystore, canonical(keystore.document))

    return _sealed(f"header, {name}", act, code)


def _members(name: str, code: int = INTEGRITY, /, **members: Any) -> Row:
    return _header(name, lambda document: document.update(members), code)


def _json(name: str, write: Callable[[bytes], bytes]) -> Row:
    return _sealed(f"header, {name}", lambda keystore, _: write_header(keystore, write(canonical(keystore.document))))


def _key(name: str, data: Callable[[dict[str, Any]], bytes]) -> Row:
    """The record of the managed key, sealed again."""

    def act(keystore: Keystore, lair: Lair) -> None:
        payload = keystore.record(1, lair.key.key_id)
        assert payload is not None
        seal_record(keystore, 1, lair.key.key_id, data(payload))

    return _sealed(f"record, {name}", act)


def _key_members(name: str, **members: Any) -> Row:
    return _key(f"model's key, {name}", lambda payload: packed(payload | members))


def _state(name: str, statement: str) -> Row:
    def act(keystore: Keystore, _: Lair) -> None:
        keystore.database.execute(statement)
        fit_root(keystore)

    return _sealed(f"state, {name}", act)


def _file(name: str, change: Callable[[Path], object], code: int = INTEGRITY) -> Row:
    return _backup(f"file, {name}", lambda path, _: change(path), code)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


_FILES = [
    _backup("a good one", lambda *_: None, OK, *_DRY_RUN),
    _file("missing", lambda path: path.unlink(), NOT_FOUND),
    _file("a FIFO", _fifo, NOT_FOUND),
    _file("empty", lambda path: os.truncate(path, 0)),
    _file("not a database", lambda path: path.write_bytes(b"hello" * 1000)),
    _file("cut in its first page", lambda path: os.truncate(path, 1000)),
    _file("cut in the middle", lambda path: os.truncate(path, path.stat().st_size // 2)),
    _backup("1 TiB of nothing after its pages", lambda path, _: os.truncate(path, 1 << 40), OK, *_DRY_RUN),
    _file("a journal beside it", lambda path: Path(f"{path}-journal").write_bytes(b"\xd9\xd5\x05\xf9"), REFUSED),
]

_TABLES = [
    _sql("another application", "PRAGMA application_id = 1"),
    _sql("schema version 0", "PRAGMA user_version = 0"),
    _sql("schema version 1", "PRAGMA user_version = 1"),
    _sql("schema version 9", "PRAGMA user_version = 9"),
    _sql("one table more", "CREATE TABLE more (a)"),
    _sql("a view", "CREATE VIEW more AS SELECT 1"),
    _sql("a trigger", "CREATE TRIGGER more AFTER INSERT ON audit BEGIN DELETE FROM audit; END"),
    _sql("an index missing", "DROP INDEX record_owner"),
    _sql("a table missing", "DROP TABLE audit_hash"),
    _sql("a view in place of a table", "DROP TABLE record", "CREATE VIEW record AS SELECT * FROM audit"),
    _sql("no header", "DELETE FROM header"),
    _sql("no state", "DELETE FROM state"),
    _sql("no buckets", "DELETE FROM bucket"),
    _sql("a page of buckets missing", "DELETE FROM bucket WHERE page = 63"),
    _sql("a page of buckets too short", "UPDATE bucket SET digests = x'00' WHERE page = 0"),
    _sql("a page of buckets a text", "UPDATE bucket SET digests = 'x' WHERE page = 0"),
    _sql("the header a text", "UPDATE header SET document = '{}'"),
    _sql("the header without its MAC", "UPDATE header SET mac = zeroblob(32)"),
    _sql("another root", "UPDATE state SET root = zeroblob(32)"),
    _sql("a root of 10 MB", "UPDATE state SET root = zeroblob(10000000)"),
    _sql("another size of the log", "UPDATE state SET audit_size = audit_size - 1"),
    _sql("a negative size of the log", "UPDATE state SET audit_size = -1"),
    _sql("a size of the log that is a text", "UPDATE state SET audit_size = 'x'"),
    _sql("another head of the log", "UPDATE state SET audit_head = zeroblob(32)"),
    _sql("another checkpoint", "UPDATE state SET checkpoint = 'x'"),
    _sql("a row taken out", "DELETE FROM record WHERE tag = (SELECT min(tag) FROM record)"),
    _sql("a row edited", "UPDATE record SET sealed = zeroblob(60) WHERE tag = (SELECT min(tag) FROM record)"),
    _sql("a row of another kind", "UPDATE record SET kind = 30 WHERE tag = (SELECT min(tag) FROM record)"),
    _sql(
        "a row of another revision",
        "UPDATE record SET revision = revision + 1 WHERE tag = (SELECT min(tag) FROM record)",
    ),
    _sql("a row of another owner", "UPDATE record SET owner = x'00' WHERE tag = (SELECT min(tag) FROM record)"),
    _sql("a row in another bucket", "UPDATE record SET bucket = 4095 WHERE tag = (SELECT min(tag) FROM record)"),
    _sql("a row more", "INSERT INTO record VALUES (1, zeroblob(16), 1, 1, NULL, zeroblob(60))"),
    _sql("a row of 10 MB", "INSERT INTO record VALUES (1, zeroblob(16), 1, 1, NULL, zeroblob(10000000))"),
    _sql("an audit record taken out", "DELETE FROM audit WHERE number = 1"),
    _sql("an audit record edited", "UPDATE audit SET sealed = zeroblob(99) WHERE number = 0"),
    _sql("every audit record taken out", "DELETE FROM audit"),
    _sql("an audit record more", "INSERT INTO audit VALUES (1000000, zeroblob(99))"),
    _sql("a hash of the log's tree edited", "UPDATE audit_hash SET hash = zeroblob(32) WHERE level = 0"),
    _sql("a hash of the log's tree more", "INSERT INTO audit_hash VALUES (9, 9, zeroblob(32))"),
]

_HEADERS = [
    _json("white space", lambda data: data + b" "),
    _json("a member twice", lambda data: b'{"epoch":1,' + data[1:]),
    _json("empty", lambda _: b""),
    _json("nested 30,000 deep", lambda _: b"[" * 30_000),
    _json("70,000 bytes", lambda _: b'{"a":"' + b"a" * 70_000 + b'"}'),
    _members("one member more", note=""),
    _header("one member less", lambda document: document.pop("costs")),
    _members("another format", format="tiktrue-keystore/9"),
    _members("format of version 1", format="tiktrue-keystore/1"),
    _members("epoch 0", epoch=0),
    _members("no costs", costs=[]),
    _members("9 costs", costs=[{"rounds": 100_000, "salt": "00" * 32}] * 9),
    _members("too few rounds", costs=[{"rounds": 99_999, "salt": "00" * 32}]),
    _members("too many rounds", costs=[{"rounds": 100_000_001, "salt": "00" * 32}]),
    _members("a salt too short", costs=[{"rounds": 100_000, "salt": "00"}]),
    _members("no slots", slots=[]),
    _header("17 slots", lambda document: document.update(slots=document["slots"][:1] * 17)),
    _header("a slot of an unknown type", lambda document: document["slots"][0].update(type="tpm9")),
    _header("a slot of an unknown fact", lambda document: document["slots"][0].update(facts=["moon"])),
    _header("a slot with a fact twice", lambda document: document["slots"][0].update(facts=["nic", "nic"])),
    _header("a slot sealed too short", lambda document: document["slots"][0].update(sealed="AAAA")),
    _members("keystore id too short", keystore_id="00"),
    _members("identity key too short", identity_key="00"),
    _members("X-Wing key too short", identity_hpke="AAAA"),
    _members("a relative path of the marks", marks="marks"),
    _members("a path of 4,097 characters", marks="/" + "m" * 4096),
    _members("a path with NUL", marks="/m\0"),
    _members("an unknown volatile place", volatile=["moon"]),
    _members("rehearsal a number", rehearsal=1),
]

_RECORDS = [
    _key("an unknown flag", lambda payload: b"\2" + canonical(payload)),
    _key("nothing", lambda _: b""),
    _key("a flag alone", lambda _: b"\0"),
    _key("not JSON", lambda _: b"\0{"),
    _key("an array", lambda _: b"\0[]"),
    _key("nested 10,000 deep", lambda _: b"\0" + b"[" * 10_000),
    _key("20,000 bytes", lambda payload: packed(payload | {"labels": {"a": "b" * 20_000}})),
    _key_members("generation 0", generation=0),
    _key_members("an instant that is a text", expires_at="never"),
    _key_members("a model of another key", model_id="other"),
    _key_members("a member more", note=""),
    _key("16 MB once it is inflated", lambda _: deflated(bytes(1 << 24))),
    _key("bytes after the deflated ones", lambda payload: deflated(canonical(payload)) + b"x"),
    _key("a deflated stream that is cut", lambda payload: deflated(canonical(payload))[:-3]),
    _state("another head under a root that fits", "UPDATE state SET audit_head = zeroblob(32)"),
    _state("another size under a root that fits", "UPDATE state SET audit_size = audit_size - 1"),
]

BACKUPS = [*_FILES, *_TABLES, *_HEADERS, *_RECORDS]
