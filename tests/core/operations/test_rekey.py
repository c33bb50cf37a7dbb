"""A new root secret: everything stays readable, nothing that was known before opens what is written after."""

from __future__ import annotations

import base64
import os
import sqlite3
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.core.approvals.approvers import approved, needs_ssh_keygen, policy_of
from tests.core.first_version import in_the_first_version
from tests.keystores import (
    FILE_ID,
    LICENSE,
    OTHER_LICENSE,
    Desk,
    container,
    error_of,
    events,
    file_operation,
    folder_in_memory,
    in_a_child,
    models,
)
from tests.recovery.escrows import escrow_of
from tiktrue_keys.core import derivation
from tiktrue_keys.core.audit.checkpoint import Checkpoint, signed_note
from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.keystore import schema
from tiktrue_keys.core.keystore.audit_log import origin_of
from tiktrue_keys.core.keystore.document import Document, parse_document
from tiktrue_keys.core.keystore.identity import open_seed
from tiktrue_keys.core.keystore.retired import retired_roots
from tiktrue_keys.core.keystore.rows import RootKeys, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.slots import open_on_machine, open_with_escrow
from tiktrue_keys.core.machine import read_facts
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.approvals import approvals
from tiktrue_keys.core.sealing import unwrap_key
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import (
    BusyError,
    InsecureError,
    IntegrityError,
    NeedsApprovalError,
    NotFoundError,
    RefusedError,
    WrongMachineError,
)
from tiktrue_keys.recovery.shares import combine


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    """A keystore with licensed, rotated and revoked keys, a container and an open intent."""
    manager = desk.manager()
    licensed = manager.generate("llama", license_key=LICENSE, labels={"a": "b"}).keys[0]
    manager.generate("mistral", no_license=True)
    manager.rotate("mistral")
    lost = manager.generate("lost", no_license=True).keys[0]
    manager.revoke(lost.key_id, reason="a test")
    manager.register(container(licensed))
    manager.begin_file_operation(file_operation("rewrap-model", before=(licensed,), after=(licensed,)))
    return manager


def told(manager: KeyManager) -> dict[str, Any]:
    """What a rekey leaves as it is."""
    keys = sorted(manager.keys(), key=lambda key: key.key_id)
    return {
        "keys": keys,
        "found": [manager.find(key.key_id) for key in keys],
        "short": [manager.find(key.key_id.rpartition("_")[2][:8]) for key in keys],
        "chains": [manager.chain(key) for key in keys],
        "containers": manager.containers(),
        "of a key": [manager.containers(key.key_id) for key in keys],
        "intents": manager.open_intents(),
        "rotations": [manager.rotation_event(key.key_id) for key in keys],
        "checks": [(check.key.key_id, check.ok) for check in manager.validate(deep=True).checks],
        "deadlines": manager.status().deadlines,
        "secrets": [secret_of(manager, key.key_id) for key in keys if key.model_id != "lost"],
    }


def secret_of(manager: KeyManager, key_id: str) -> bytes:
    with manager.open_key(key_id, LICENSE, use=Use.DECRYPT) as opened:
        return bytes(opened.secret.view)


def rows_of(manager: KeyManager) -> Rows:
    with manager.session.read() as (view, _):
        return view.rows


def header_of(desk: Desk) -> Document:
    ((encoded,),) = desk.rows("SELECT document FROM header")
    return parse_document(encoded)


class TestWhatStays:
    def test_everything_that_was_in_it_and_another_process_goes_on(self, manager: KeyManager, desk: Desk) -> None:
        other = desk.manager()
        before, records = told(other), list(other.audit_records())

        result = manager.rekey()

        assert (result.changed, result.epoch, result.keys, result.machine_keys) == (True, 2, 4, 3)
        for each in (manager, other, desk.manager()):
            assert told(each) == before
            assert list(each.audit_records())[: len(records)] == records
        manager.rotate("mistral", license_key=LICENSE)
        assert other.find("mistral").generation == 3

    def test_the_audit_log_over_several_rekeys(self, manager: KeyManager, desk: Desk) -> None:
        leaves = list(manager.audit_leaves())
        for number in range(3):
            manager.rekey()
            manager.generate(f"model-{number}", no_license=True)

        assert list(manager.audit_leaves())[: len(leaves)] == leaves
        assert manager.audit_verify() == manager.audit_size() == len(leaves) + 6
        assert [record.event for record in manager.audit_records()][-6:] == ["rekey", "generate"] * 3
        assert manager.audit_proof(1).leaf == leaves[1]
        with manager.session.read() as (view, _):
            assert view.audit.get(len(leaves) - 1).event == "intent"
            assert [each.size for each in view.document.former] == [len(leaves), len(leaves) + 2, len(leaves) + 4]

    def test_a_checkpoint_from_before_still_counts_and_its_key_signs_no_later_one(self, manager: KeyManager) -> None:
        size, notes = manager.audit_size(), [manager.audit_checkpoint().encode()]
        before = manager.document().audit_key
        with open_seed(manager.session.root_keys, rows_of(manager), "audit") as seed:
            stolen = Ed25519PrivateKey.from_private_bytes(seed.view)
        manager.rekey()
        notes.append(manager.audit_checkpoint().encode())
        manager.rekey()

        assert [manager.audit_must_extend(note).size for note in notes] == [size, size + 1]
        assert manager.document().audit_key != before
        with manager.session.read() as (view, _):
            now = Checkpoint(origin_of(view.document.keystore_id, 3), view.audit.size, view.audit.head())
            then = Checkpoint(origin_of(view.document.keystore_id, 1), view.audit.size, view.audit.head())
        for forged in (now, then):
            note = signed_note(forged, public_key=before, sign=stolen.sign).encode()
            assert isinstance(error_of(lambda note=note: manager.audit_must_extend(note)), IntegrityError)  # type: ignore[misc]

    def test_the_record_says_what_was_renewed(self, manager: KeyManager, desk: Desk) -> None:
        with manager.session.read() as (view, _):
            last = {"epoch": 1, "size": view.audit.size, "head": view.audit.head().hex()}

        result = manager.rekey(compromised=True)

        (record,) = list(manager.audit_records())[-1:]
        assert (record.event, record.epoch) == ("rekey", 2)
        assert record.detail == {
            "new_epoch": 2,
            "last_known": last,
            "compromised": True,
            "keys": 4,
            "machine_keys": 3,
            "escrow_ended": False,
            "host_secret": str(result.host_secret),
        }

    def test_a_repetition_is_told_the_first_result_and_a_dry_run_changes_nothing(
        self, manager: KeyManager, desk: Desk
    ) -> None:
        before = desk.file.read_bytes()
        planned = manager.rekey(dry_run=True)
        assert desk.file.read_bytes() == before
        assert sorted(path.suffix for path in desk.secret.parent.iterdir()) == ["", ".mark", ".reserve"]

        first = manager.rekey(operation_id="0123456789abcdef01234567")
        again = manager.rekey(operation_id="0123456789abcdef01234567")

        assert (planned.epoch, planned.host_secret, planned.keys) == (first.epoch, first.host_secret, first.keys)
        assert (again.changed, again.epoch, again.host_secret) == (False, 2, first.host_secret)
        assert header_of(desk).epoch == 2

    def test_another_keystore_with_the_same_host_secret(self, manager: KeyManager, desk: Desk) -> None:
        second = Desk(desk.folder.parent)
        second.folder = desk.folder.parent / "second"
        other = second.manager()
        other.generate("phi", no_license=True)
        shared = desk.secret.read_bytes()

        manager.rekey()

        assert desk.secret.read_bytes() == shared
        assert models(second.manager()) == ["phi"]
        other.close()


class TestOfTheFirstSchema:
    def test_it_is_upgraded_first_and_its_license_goes_on_opening(self, desk: Desk) -> None:
        def fill() -> None:
            older = desk.manager()
            older.generate("llama", license_key=LICENSE)
            older.rotate(["llama"], license_key=LICENSE)

        in_the_first_version(desk, fill)
        manager = desk.manager()

        result = manager.rekey()

        assert [path.name for path in result.old_copies] == ["keystore.schema-1.db"]
        assert len({secret_of(manager, key.key_id) for key in list(manager.keys())}) == 2
        manager.relicense(LICENSE, OTHER_LICENSE)
        manager.rotate(["llama"], license_key=OTHER_LICENSE)
        assert manager.find("llama").generation == 3


class TestWhatNothingOldOpens:
    def test_neither_rows_nor_keys_nor_slots(self, manager: KeyManager, desk: Desk) -> None:
        old = RootKeys(SecretBuffer.copy_of(manager.session.root), header_of(desk).keystore_id)
        shares = escrow_of(manager)
        old_secret = SecretBuffer.copy_of(desk.secret.read_bytes())
        old_tags = {tag for (tag,) in desk.rows("SELECT tag FROM record")}

        result = manager.rekey()
        fresh = manager.generate("fresh", no_license=True).keys[0]

        document = header_of(desk)
        assert isinstance(error_of(lambda: open_on_machine(document, read_facts(), old_secret.view)), WrongMachineError)
        with combine(shares[:3]) as escrow:
            assert isinstance(error_of(lambda: open_with_escrow(document, escrow.view)), NotFoundError)
        assert result.had_escrow
        rows = desk.rows("SELECT tag, kind, revision, owner, sealed FROM record")
        assert len(rows) > 20
        assert not old_tags & {tag for tag, *_ in rows}
        for tag, kind, revision, owner, sealed in rows:
            context = old.context_of(tag, kind, revision, owner)
            with pytest.raises(IntegrityError):
                old.sealer.open(sealed, context, limit=schema.MAX_RECORD)
        with manager.session.read() as (view, _), derivation.subkey(old.root.view, derivation.MACHINE_KEK) as kek:
            payload = view.rows.get(RecordKind.KEY, fresh.key_id)
            assert payload is not None
            wrapped = base64.b64decode(payload["wrapped"])
            context = derivation.wrap_context(
                "keystore", file_id=old.keystore_id, model_id="fresh", key_id=fresh.key_id, generation=1
            )
            with pytest.raises(IntegrityError):
                unwrap_key(kek.view, wrapped, context)
        ((newest,),) = desk.rows("SELECT sealed FROM audit ORDER BY number DESC LIMIT 1")
        number = manager.audit_size() - 1
        audit_context = joined(derivation.AUDIT, old.keystore_id, number.to_bytes(8, "big"))
        with pytest.raises(IntegrityError):
            old.sealer.open(newest, audit_context, limit=schema.MAX_AUDIT_RECORD)

    def test_the_copy_from_before_put_back_does_not_open(self, manager: KeyManager, desk: Desk) -> None:
        before = desk.file.read_bytes()
        manager.rekey()
        manager.close()
        desk.file.write_bytes(before)

        error = error_of(desk.manager().audit_size)

        assert isinstance(error, IntegrityError)

    def test_nor_with_the_marks_from_before_beside_a_newer_one_elsewhere(self, manager: KeyManager, desk: Desk) -> None:
        manager.close()
        marks = desk.folder.parent / "marks"
        marks.mkdir(mode=0o700)
        keystore, mark, old = desk.file.read_bytes(), desk.mark, desk.mark.read_bytes()
        with desk.manager(marks_dir=marks) as renewed:
            renewed.rekey()
        newer = (marks / mark.name).read_bytes()
        (left,) = mark.parent.glob("*.renewed")
        left.unlink()
        desk.file.write_bytes(keystore)
        mark.write_bytes(old)

        with desk.manager(marks_dir=marks) as before:
            errors = [
                error_of(before.audit_size),
                error_of(lambda: before.rotate("mistral")),
                error_of(lambda: before.rebind(LICENSE)),
            ]

        assert [getattr(error, "remedy", "") for error in errors] == ["rolled-back"] * 3
        assert (marks / mark.name).read_bytes() == newer

    def test_the_host_secret_of_a_second_rekey_is_another_file(self, manager: KeyManager, desk: Desk) -> None:
        first, second = manager.rekey().host_secret, manager.rekey().host_secret
        assert first is not None
        assert second is not None

        own = f"{header_of(desk).keystore_id.hex()}"
        assert (first.name, second.name) == (f"{own}.secret", f"{own}-2.secret")
        assert len({path.read_bytes() for path in (desk.secret, first, second)}) == 3
        assert header_of(desk).host_secret_id == derivation.host_secret_id(memoryview(second.read_bytes()))

    def test_the_copies_that_still_open_with_the_old_root_are_named(self, manager: KeyManager, desk: Desk) -> None:
        backup = desk.folder.parent / "backup.db"
        manager.backup(backup)
        (kept := backup.with_name(f"keystore-{header_of(desk).keystore_id.hex()[:8]}-20260101T000000Z.db")).touch()
        upgraded = desk.folder / "keystore.schema-1.db"
        upgraded.write_bytes(b"")

        result = manager.rekey()

        assert result.old_copies == (backup, upgraded, kept)
        (notice,) = (each for each in result.warnings if each.code == "old-copies")
        assert str(backup) in notice.message
        assert [finding.id for finding in manager.status().findings if "backup" in finding.id] == ["no-backup"]


class TestWhatIsLeftToDo:
    def test_it_is_a_finding_until_keys_and_containers_are_new(self, manager: KeyManager) -> None:
        def found() -> list[tuple[str, str, str]]:
            listed = (each for each in manager.status().findings if each.id == "rekeyed")
            return [(each.severity.value, each.remedy, each.about.get("path", "")) for each in listed]

        assert found() == []
        manager.rekey()
        assert found() == [("warning", "rotate-older", ""), ("warning", "reencrypt-older", "/models/llama.ttm")]
        manager.rekey(compromised=True)
        assert found() == [("lag", "rotate-older", ""), ("lag", "reencrypt-older", "/models/llama.ttm")]
        manager.rotate(every=True)
        assert found()[0] == ("lag", "rotate-older", ""), "the key whose license was not given"
        manager.rotate(every=True, license_key=LICENSE)
        assert found() == [("lag", "reencrypt-older", "/models/llama.ttm")]
        with manager.session.read() as (view, _):
            assert [root.settled for root in retired_roots(view)] == [False, True]
        manager.register(container(manager.find("mistral"), file_id=bytes(16), path="/models/new.ttm"))
        manager.forget(FILE_ID)
        assert found() == []

    def test_a_backup_from_before_it_undoes_it_and_says_so(self, manager: KeyManager, desk: Desk) -> None:
        backup = desk.folder.parent / "backup.db"
        manager.backup(backup)
        manager.rekey()
        escrow_of(manager)

        restored = manager.restore(backup)

        assert "rekey-undone" in [each.code for each in restored.warnings]
        assert "carried-escrow" not in [each.code for each in restored.warnings]
        assert manager.rekey().epoch > 3
        assert sorted(key.status.value for key in list(manager.keys())) == ["active", "active", "revoked", "rotating"]


class TestTheNewHostSecret:
    def test_in_a_file_that_was_named(self, manager: KeyManager, desk: Desk) -> None:
        path = desk.folder.parent / "elsewhere" / "secret"

        assert manager.rekey(new_host_secret=path).host_secret == path

        assert manager.find("mistral").generation == 2
        moved = Desk(desk.folder.parent)
        moved.secret = path
        assert moved.manager().find("mistral").generation == 2

    @pytest.mark.parametrize(
        ("name", "error"), [("host/secret", RefusedError), ("keys/secret", InsecureError)], ids=["exists", "inside"]
    )
    def test_where_it_must_not_be(self, manager: KeyManager, desk: Desk, name: str, error: type[Exception]) -> None:
        path = desk.folder.parent / name
        found = error_of(lambda: manager.rekey(new_host_secret=path))

        assert isinstance(found, error)
        assert header_of(desk).epoch == 1

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not write")
    def test_in_a_folder_that_cannot_be_written(self) -> None:
        def as_another_user() -> bytes:
            os.setgid(65534)
            os.setuid(65534)
            os.environ["HOME"] = str(place)  # for the marks
            desk = Desk(place)
            desk.secret.parent.mkdir()
            desk.secret.touch(0o600)
            desk.secret.write_bytes(bytes(32))
            desk.secret.parent.chmod(0o500)  # as the folder of a credential is
            manager = desk.manager()
            manager.generate("llama", no_license=True)
            error = error_of(manager.rekey)
            named = manager.rekey(new_host_secret=place / "new" / "secret")
            return f"{type(error).__name__} {error and error.remedy} {named.epoch}".encode()

        with folder_in_memory() as folder:
            folder.chmod(0o711)
            place = folder / "theirs"
            place.mkdir()
            os.chown(place, 65534, 65534)
            assert in_a_child(as_another_user) == b"RefusedError name-new-host-secret 2"


class TestWhatStopsIt:
    @pytest.mark.parametrize(
        "damage",
        [
            "UPDATE record SET revision = revision + 1 WHERE kind = 1",
            "DELETE FROM record WHERE kind = 22",
            "UPDATE bucket SET digests = zeroblob(2048)",
        ],
    )
    def test_a_damaged_keystore_stays_as_it_is(self, manager: KeyManager, desk: Desk, damage: str) -> None:
        manager.close()
        with sqlite3.connect(desk.file) as connection:
            connection.execute(damage)
        connection.close()
        files = sorted(path.name for path in (*desk.folder.iterdir(), *desk.secret.parent.iterdir()))
        before = desk.file.read_bytes()

        error = error_of(desk.manager().rekey)

        assert isinstance(error, IntegrityError)
        assert sorted(path.name for path in (*desk.folder.iterdir(), *desk.secret.parent.iterdir())) == files
        assert desk.file.read_bytes() == before or header_of(desk).epoch == 1

    def test_a_writer_that_waited_for_it_is_told_to_run_again(self, manager: KeyManager, desk: Desk) -> None:
        stale = desk.manager().session.keystore
        manager.rekey()

        assert isinstance(error_of(stale.must_be_in_place), BusyError)

    def test_a_reader_that_looked_at_the_file_just_before_opens_the_new_one(
        self, manager: KeyManager, desk: Desk
    ) -> None:
        reader = desk.manager()
        keystore = reader.session.keystore
        manager.rekey()
        seen = iter((False,))
        replaced = keystore.is_replaced
        keystore.is_replaced = lambda: next(seen, True) and replaced()  # type: ignore[method-assign]

        assert reader.document().epoch == 2
        assert next(seen, None) is None, "it was asked before the file was read"

    @needs_ssh_keygen
    def test_a_policy_that_asks_for_approval(self, manager: KeyManager, desk: Desk) -> None:
        policy_of(manager.session, rekey=2)
        error = error_of(manager.rekey)
        assert isinstance(error, NeedsApprovalError)
        number = int(error.about["approval"])

        approved(manager.session, number, manager.rekey)

        assert header_of(desk).epoch == 2
        (standing,) = (each for each in approvals(manager.session) if each.plan.number == number)
        assert standing.state == "used"
        assert ("approval-use", "ok") in events(manager)
