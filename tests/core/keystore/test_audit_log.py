"""The log inside a keystore: appended with each operation, proven by its tree, every edit found by its number."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest

from tests.core.audit.trees import literal_path, literal_root
from tests.keystores import LICENSE, Desk, desk_in_memory, error_of
from tiktrue_keys.core.audit import merkle
from tiktrue_keys.core.audit.checkpoint import open_note
from tiktrue_keys.core.keystore.audit_log import AuditLog, origin_of
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.errors import IntegrityError, NotFoundError

OPERATIONS = 12


@pytest.fixture
def desk() -> Iterator[Desk]:
    with desk_in_memory() as made:
        yield made


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    """A log of OPERATIONS + 2 records, so that the tree has complete and incomplete parts."""
    made = desk.manager()
    for number in range(OPERATIONS):
        made.generate(f"model-{number:02d}", no_license=True)
    return made


def test_records_stand_in_their_order_with_number_and_epoch(manager: KeyManager) -> None:
    records = list(manager.audit_records())
    assert [record.number for record in records] == list(range(OPERATIONS + 1))
    assert {record.epoch for record in records} == {1}
    assert [record.model_id for record in records][1:] == [f"model-{number:02d}" for number in range(OPERATIONS)]
    assert list(manager.audit_records(backwards=True)) == records[::-1]
    assert list(manager.audit_records(start=10)) == records[10:]
    assert list(manager.audit_records(start=10, backwards=True)) == records[:9:-1]
    assert list(manager.audit_records(start=99)) == []


def test_records_that_come_while_they_are_read_are_left_out(manager: KeyManager) -> None:
    reading = manager.audit_records()
    next(reading)
    manager.generate("meanwhile", no_license=True)
    assert len(list(reading)) == OPERATIONS
    assert manager.audit_size() == OPERATIONS + 2


def test_reading_holds_nothing_up_however_long_it_takes(manager: KeyManager, desk: Desk) -> None:
    reading = manager.audit_records()
    next(reading)
    with desk.manager(lock_timeout=0.2) as other:
        other.generate("meanwhile", no_license=True)
    del reading
    assert manager.audit_size() == OPERATIONS + 2


def statements_of(manager: KeyManager, work: Callable[[], object]) -> int:
    """How many SQL statements `work` runs."""
    manager.audit_size()  # what opening costs is counted once, before
    connection = manager._session.keystore._writer.sqlite
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    work()
    connection.set_trace_callback(None)
    return len(seen)


def test_verifying_and_reading_cost_statements_by_the_level_not_by_the_record(manager: KeyManager) -> None:
    few = statements_of(manager, manager.audit_verify)
    few_read = statements_of(manager, lambda: list(manager.audit_records()))
    for _ in range(20):
        manager.generate(f"more-{manager.audit_size()}", no_license=True)
    levels = manager.audit_size().bit_length() - (OPERATIONS + 1).bit_length()
    assert statements_of(manager, manager.audit_verify) <= few + 2 * levels
    assert statements_of(manager, lambda: list(manager.audit_records())) == few_read


def test_the_tree_is_that_of_the_stored_bytes(manager: KeyManager) -> None:
    leaves = list(manager.audit_leaves())
    hashes: dict[tuple[int, int], bytes] = {}
    for number, leaf in enumerate(leaves):
        for level, position, digest in merkle.appended(number, leaf, lambda *at: hashes[at]):
            hashes[level, position] = digest
    root = merkle.root_hash(len(leaves), lambda *at: hashes[at])
    document = manager.document()
    note = open_note(
        manager.audit_checkpoint(), origin=origin_of(document.keystore_id, 1), public_key=document.audit_key
    )
    assert (note.size, note.root) == (len(leaves), root)


def test_every_record_proves_itself_under_the_head(manager: KeyManager) -> None:
    document = manager.document()
    note = open_note(
        manager.audit_checkpoint(), origin=origin_of(document.keystore_id, 1), public_key=document.audit_key
    )
    leaves = list(manager.audit_leaves())
    assert literal_root(leaves) == note.root
    for number in range(note.size):
        proof = manager.audit_proof(number)
        assert (proof.leaf, list(proof.path)) == (leaves[number], literal_path(number, leaves))
    for number in (-1, note.size, 10**9):
        assert isinstance(error_of(lambda number=number: manager.audit_proof(number)), NotFoundError)  # type: ignore[misc]


def test_every_earlier_head_is_a_beginning_of_this_one(desk: Desk) -> None:
    manager = desk.manager()
    heads: list[tuple[int, bytes]] = []
    for number in range(OPERATIONS):
        manager.generate(f"model-{number}", no_license=True)
        with manager._session.read() as (view, _):
            heads.append((view.audit.size, view.audit.head()))
    size, root = heads[-1]
    for old_size, old_root in heads:
        merkle.verify_consistency(old_size, size, old_root, root, manager.audit_consistency(old_size))
        with manager._session.read() as (view, _):
            assert view.audit.head_at(old_size) == old_root


def test_each_checkpoint_is_signed_over_its_own_head(desk: Desk) -> None:
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE)
    first = manager.audit_checkpoint()
    manager.rotate(["llama"], license_key=LICENSE)
    assert manager.audit_checkpoint() != first
    assert manager.audit_checkpoint().splitlines()[1] == "4"
    assert manager.audit_verify() == 4


EDITS = {
    "edited": "UPDATE audit SET sealed = CAST(sealed || x'00' AS BLOB) WHERE number = 5",
    "gone": "DELETE FROM audit WHERE number = 5",
    "another's": "UPDATE audit SET sealed = (SELECT sealed FROM audit WHERE number = 6) WHERE number = 5",
    "its hash edited": "UPDATE audit_hash SET hash = zeroblob(32) WHERE level = 0 AND position = 5",
    "its hash gone": "DELETE FROM audit_hash WHERE level = 0 AND position = 5",
    "a hash above it": "UPDATE audit_hash SET hash = zeroblob(32) WHERE level = 1 AND position = 2",
}


@pytest.mark.parametrize("statement", EDITS.values(), ids=EDITS.keys())
def test_the_first_bad_record_is_named(manager: KeyManager, desk: Desk, statement: str) -> None:
    desk.edit(statement)
    error = error_of(manager.audit_verify)
    assert isinstance(error, IntegrityError)
    assert " 5 " in f"{error.message} ".replace(")", " ").replace(",", " "), error.message


def test_a_record_that_fits_its_place_but_not_the_tree_is_found(manager: KeyManager, desk: Desk) -> None:
    # Sealed by the keystore for this very number, as somebody could who can open it.
    session = manager._session
    with session.read() as (view, _):
        record = view.audit.get(5)
    forged = session.keystore.keys.sealer.seal(record.encode(), view.audit._context(5))
    desk.edit(f"UPDATE audit SET sealed = x'{forged.hex()}' WHERE number = 5")
    error = error_of(manager.audit_verify)
    assert isinstance(error, IntegrityError)
    assert "record 5 is not the one that the tree holds" in error.message


def test_it_costs_no_more_to_append_and_to_prove_at_the_end_of_a_long_log(manager: KeyManager) -> None:
    asked: list[tuple[int, int]] = []

    class Counting(AuditLog):
        def _hash(self, level: int, position: int) -> bytes:
            asked.append((level, position))
            return super()._hash(level, position)

    session = manager._session
    with session.read() as (view, _):
        log = Counting(view.audit._connection, view.audit._keys, size=view.audit.size, epoch=1)
        log.head()
        log.inclusion_proof(3)
    assert len(asked) <= 3 * log.size.bit_length()


def test_nothing_is_appended_without_a_transaction_that_ends_well(manager: KeyManager, desk: Desk) -> None:
    session = manager._session
    size = manager.audit_size()

    def broken_off() -> None:
        with session.write(new_operation_id()) as transaction:
            transaction.record("first")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_off()
    assert manager.audit_size() == size
    desk.close()
    counts = "SELECT (SELECT count(*) FROM audit), (SELECT count(*) FROM audit_hash WHERE level = 0)"
    assert desk.rows(counts) == [(size, size)]


def test_bytes_of_records_are_sealed(manager: KeyManager, desk: Desk) -> None:
    desk.close()
    data = desk.file.read_bytes()
    for word in (b"generate", b"node-7", b"model-05", b"keystore-create"):
        assert word not in data


def test_a_leaf_is_hashed_as_rfc_6962_says(manager: KeyManager, desk: Desk) -> None:
    leaf = next(iter(manager.audit_leaves()))
    desk.close()
    connection = sqlite3.connect(desk.file)
    try:
        (stored,) = connection.execute("SELECT hash FROM audit_hash WHERE level = 0 AND position = 0").fetchone()
    finally:
        connection.close()
    assert stored == sha256(b"\0" + leaf).digest()
