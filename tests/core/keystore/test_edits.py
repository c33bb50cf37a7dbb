"""What somebody with an SQLite shell can do to a keystore at rest: nothing that is accepted with another meaning.

Each edit is made on a copy with keys, licenses, a container, an open intent and a rotation. Afterwards everything that
the manager tells is either refused as `integrity` or exactly what it was; and the full check finds every edit.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE, Desk, container, error_of, file_operation
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError

ROW_EDITS = {
    "a row deleted": "DELETE FROM record WHERE tag = (SELECT min(tag) FROM record)",
    "every row deleted": "DELETE FROM record",
    "the rows of one kind deleted": "DELETE FROM record WHERE kind = 6",
    "all but the keys deleted": "DELETE FROM record WHERE kind != 1",
    "a seal swapped with another key's": (
        "UPDATE record SET sealed = (SELECT sealed FROM record WHERE kind = 1 ORDER BY tag DESC LIMIT 1) "
        "WHERE tag = (SELECT tag FROM record WHERE kind = 1 ORDER BY tag LIMIT 1)"
    ),
    "a row under another's tag": "UPDATE record SET tag = zeroblob(16) WHERE tag = (SELECT min(tag) FROM record)",
    "a row in another bucket": "UPDATE record SET bucket = bucket + 1 WHERE tag = (SELECT min(tag) FROM record)",
    "a row in an impossible bucket": "UPDATE record SET bucket = 4096 WHERE tag = (SELECT min(tag) FROM record)",
    "a row in a bucket that is no number": "UPDATE record SET bucket = 'x' WHERE tag = (SELECT min(tag) FROM record)",
    "a row twice": (
        "INSERT INTO record SELECT (bucket + 1) % 4096, tag, kind, revision, owner, sealed FROM record LIMIT 1"
    ),
    "a row of nobody's": "INSERT INTO record VALUES (0, zeroblob(16), 1, 1, NULL, zeroblob(80))",
    "another kind": "UPDATE record SET kind = kind + 1",
    "an impossible kind": "UPDATE record SET kind = 100000",
    "a kind that is text": "UPDATE record SET kind = 'key'",
    "another revision": "UPDATE record SET revision = revision + 1",
    "an impossible revision": "UPDATE record SET revision = -1",
    "a revision that is text": "UPDATE record SET revision = 'x'",
    "another owner": "UPDATE record SET owner = zeroblob(16) WHERE owner IS NOT NULL",
    "no owner": "UPDATE record SET owner = NULL",
    "an owner that is a number": "UPDATE record SET owner = 7 WHERE owner IS NOT NULL",
    "owners where none were": "UPDATE record SET owner = tag WHERE owner IS NULL",
    "seals that are numbers": "UPDATE record SET sealed = 5",
    "seals that are text": "UPDATE record SET sealed = 'text'",
    "empty seals": "UPDATE record SET sealed = x''",
    "huge seals": "UPDATE record SET sealed = zeroblob(1000000)",
    "tags that are text": "UPDATE record SET tag = hex(tag)",
    "tags of members that are text": "UPDATE record SET tag = 'a' || hex(tag) WHERE owner IS NOT NULL",
    "short tags": "UPDATE record SET tag = substr(tag, 1, 8)",
}

STATE_EDITS = {
    "the digests of a page": "UPDATE bucket SET digests = zeroblob(2048) WHERE digests != zeroblob(2048)",
    "a short digest page": "UPDATE bucket SET digests = x'00' WHERE page = 0",
    "a digest page that is a huge number": "UPDATE bucket SET digests = 1000000000000 WHERE page = 0",
    "a digest page that is text": "UPDATE bucket SET digests = 'x' WHERE page = 0",
    "a digest page less": "DELETE FROM bucket WHERE page = 63",
    "a digest page more": "INSERT INTO bucket VALUES (64, zeroblob(2048))",
    "all digest pages less": "DELETE FROM bucket",
    "no state": "DELETE FROM state",
    "fewer audit records": "UPDATE state SET audit_size = audit_size - 1",
    "more audit records": "UPDATE state SET audit_size = audit_size + 1",
    "a negative number of audit records": "UPDATE state SET audit_size = -1",
    "an enormous number of audit records": "UPDATE state SET audit_size = 9223372036854775807",
    "a number of audit records that is text": "UPDATE state SET audit_size = 'x'",
    "another audit head": "UPDATE state SET audit_head = zeroblob(32)",
    "another checkpoint": "UPDATE state SET checkpoint = checkpoint || 'x'",
    "a checkpoint that is no text": "UPDATE state SET checkpoint = CAST(x'ff' AS TEXT)",
    "another root": "UPDATE state SET root = zeroblob(32)",
    "no header": "DELETE FROM header",
    "another header": "UPDATE header SET document = CAST(replace(document, '\"epoch\":1', '\"epoch\":2') AS BLOB)",
    "a header that is a number": "UPDATE header SET document = 5",
    "a header that is no JSON": "UPDATE header SET document = x'00'",
    "another header MAC": "UPDATE header SET mac = zeroblob(32)",
    "more rounds": "UPDATE header SET document = CAST(replace(document, '100000', '100001') AS BLOB)",
    "another database's id": "PRAGMA application_id = 7",
    "a later version": "PRAGMA user_version = 9",
    "an impossible version": "PRAGMA user_version = -1",
    "no table of records": "DROP TABLE record",
    "no audit table": "DROP TABLE audit",
}

AUDIT_EDITS = {
    "the first record gone": "DELETE FROM audit WHERE number = 0",
    "a record in the middle gone": "DELETE FROM audit WHERE number = 2",
    "the last record gone": "DELETE FROM audit WHERE number = (SELECT max(number) FROM audit)",
    "a record more": "INSERT INTO audit SELECT max(number) + 1, sealed FROM audit",
    "a record far away": "INSERT INTO audit VALUES (99, x'00')",
    "two records swapped": (
        "UPDATE audit SET sealed = CASE number WHEN 1 THEN (SELECT sealed FROM audit WHERE number = 2) "
        "ELSE (SELECT sealed FROM audit WHERE number = 1) END WHERE number IN (1, 2)"
    ),
    "a record edited": "UPDATE audit SET sealed = zeroblob(100) WHERE number = 1",
    "a record that is text": "UPDATE audit SET sealed = 'x' WHERE number = 1",
    "a leaf hash": "UPDATE audit_hash SET hash = zeroblob(32) WHERE level = 0 AND position = 1",
    "an inner hash": "UPDATE audit_hash SET hash = zeroblob(32) WHERE level = 1 AND position = 0",
    "a hash that is text": "UPDATE audit_hash SET hash = 'x' WHERE level = 0 AND position = 1",
    "a hash gone": "DELETE FROM audit_hash WHERE level = 0 AND position = 1",
    "all hashes gone": "DELETE FROM audit_hash",
    "a hash ahead of its record": (
        "INSERT INTO audit_hash SELECT 0, max(position) + 1, zeroblob(32) FROM audit_hash WHERE level = 0"
    ),
}

EDITS = ROW_EDITS | STATE_EDITS | AUDIT_EDITS


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    """A keystore with something of everything, closed, and what it tells."""
    with Desk(tmp_path_factory.mktemp("original")) as desk:
        manager = desk.manager()
        llama = manager.generate("llama", license_key=LICENSE, labels={"team": "a"}).keys[0]
        manager.generate("mistral", license_key=OTHER_LICENSE, new_license=True)
        manager.generate("plain", no_license=True)
        manager.register(container(llama))
        manager.begin_file_operation(file_operation("rewrap", before=(llama,), after=(llama,), file_id=b"i" * 16))
        manager.rotate(["llama"], license_key=LICENSE, notify=["client1"])
        known = told(manager)
        assert set(known) == set(PARTS)
        desk.close()
        yield Original(desk, known)


@dataclass(frozen=True)
class Original:
    desk: Desk
    known: dict[str, object]


def opened(manager: KeyManager, key: str, license_key: str | None) -> bytes:
    with manager.open_key(key, license_key, use=Use.ENCRYPT) as found:
        return bytes(found.secret.view)


PARTS: dict[str, Callable[[KeyManager], object]] = {
    "keys": lambda manager: sorted(key.key_id for key in manager.keys()),  # noqa: SIM118  a method, not a mapping's
    "found": lambda manager: manager.find("llama"),
    "chain": lambda manager: manager.chain("llama"),
    "containers": lambda manager: manager.containers(),
    "of a key": lambda manager: [manager.containers(key.key_id) for key in manager.chain("llama")],
    "intents": lambda manager: manager.open_intents(),
    "rotations": lambda manager: [manager.rotation_event(key.key_id) for key in manager.chain("llama")],
    "records": lambda manager: list(manager.audit_records()),
    "checkpoint": lambda manager: manager.audit_checkpoint(),
    "licensed secret": lambda manager: opened(manager, "llama", LICENSE),
    "other license's secret": lambda manager: opened(manager, "mistral", OTHER_LICENSE),
    "secret without license": lambda manager: opened(manager, "plain", None),
}


def told(manager: KeyManager) -> dict[str, object]:
    """Everything that the manager answers; an IntegrityError in its place is no answer."""
    found: dict[str, object] = {}
    for name, ask in PARTS.items():
        with contextlib.suppress(IntegrityError):
            found[name] = ask(manager)
    return found


@pytest.mark.parametrize("statement", EDITS.values(), ids=EDITS.keys())
def test_an_edit_is_refused_or_changes_nothing_and_the_full_check_finds_it(
    original: Original, tmp_path: Path, statement: str
) -> None:
    with edited_copy(original.desk, tmp_path, statement).manager() as manager:
        after = told(manager)
        full_check = error_of(lambda: manager.validate(deep=True))
    assert {name: answer for name, answer in after.items() if answer != original.known[name]} == {}
    assert isinstance(full_check, IntegrityError)


def edited_copy(source: Desk, folder: Path, *statements: str) -> Desk:
    """The edit, on a copy of the database; host secret and mark stay the original's, as on the same machine."""
    copy = Desk(folder)
    copy.secret = source.secret
    copy.folder.mkdir(mode=0o700)
    shutil.copy(source.file, copy.file)
    changes = copy.edit(*statements)
    assert changes != 0 or statements[0].startswith(("PRAGMA", "DROP"))
    return copy


def test_an_edit_while_the_manager_is_open_is_seen_too(desk: Desk) -> None:
    with desk.manager() as manager, desk.manager() as other:
        manager.generate("llama", license_key=LICENSE)
        assert other.find("llama").generation == 1
        edited = edited_in_place(desk, "DELETE FROM record WHERE kind = 1")
        assert edited == 1
        assert isinstance(error_of(lambda: other.find("llama")), IntegrityError)
        assert isinstance(error_of(lambda: manager.rotate(["llama"], license_key=LICENSE)), IntegrityError)


def edited_in_place(desk: Desk, statement: str) -> int:
    connection = sqlite3.connect(desk.file)
    try:
        changed = connection.execute(statement).rowcount
        connection.commit()
        return changed
    finally:
        connection.close()


INDEX_EDITS = {
    "an index over nothing": [
        "DROP INDEX record_owner",
        "CREATE INDEX record_owner ON record (owner) WHERE owner IS NULL",
    ],
    "no index": ["DROP INDEX record_owner"],
    "an index that says less than it does": [
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, 'IS NOT NULL', 'IS NULL') WHERE name = 'record_owner'",
    ],
}


@pytest.mark.parametrize("statements", INDEX_EDITS.values(), ids=INDEX_EDITS.keys())
def test_no_index_can_hide_a_container_or_an_intent(original: Original, tmp_path: Path, statements: list[str]) -> None:
    with edited_copy(original.desk, tmp_path, *statements).manager() as manager:
        after = told(manager)
    assert {name: answer for name, answer in after.items() if answer != original.known[name]} == {}
