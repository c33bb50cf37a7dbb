"""Every operation that a policy can name, and every other way to the same end: refused without an approval, done with
one. The rule is the package's, so that Python is no way round it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.core.approvals.approvers import ADA, approve, approved, needs_ssh_keygen, policy_of
from tests.fleet.fleet import Fleet, fleet_in_memory
from tests.keystores import FILE_ID, LICENSE, Desk, container, error_of, events
from tests.models.workshop import MODEL, Workshop, folder_request, pattern
from tests.recovery.escrows import Holders, escrow_of
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.machine.facts import Fact, FactKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.approvals import approval_policy, approvals, set_policy
from tiktrue_keys.core.read_only import SystemLogManager
from tiktrue_keys.errors import IntegrityError, NeedsApprovalError, RefusedError
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.own_identity import init_node, own_card
from tiktrue_keys.fleet.pin import pin
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.unpin import unpin
from tiktrue_keys.models.encryption import ModelEncryption
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.open import open_model
from tiktrue_keys.models.file.reencrypt import reencrypt_model
from tiktrue_keys.models.folder.decrypt import decrypt_folder
from tiktrue_keys.models.folder.encrypt import encrypt_folder
from tiktrue_keys.models.folder.reencrypt import reencrypt_folder
from tiktrue_keys.models.serving.execute import held_models
from tiktrue_keys.recovery.escrow import create_escrow
from tiktrue_keys.recovery.recover import recover

pytestmark = needs_ssh_keygen


def plan_of(operation: Callable[[], object]) -> int:
    """The number of the plan that the operation leaves behind."""
    error = error_of(operation)
    assert isinstance(error, NeedsApprovalError), error
    return int(error.about["approval"])


def needs_approval(manager: KeyManager, operation: Callable[[], object]) -> None:
    """The operation is refused without an approval, and runs once with one."""
    number = plan_of(operation)
    approved(manager.session, number, operation)
    (standing,) = (each for each in approvals(manager.session) if each.plan.number == number)
    assert standing.state == "used"


class TestDestroy:
    @pytest.fixture
    def manager(self, desk: Desk) -> KeyManager:
        """A revoked key that is marked and whose time has come, and one that was revoked just now."""
        manager = desk.manager()
        manager.generate("old", no_license=True)
        manager.generate("new", no_license=True)
        policy_of(manager.session, destroy=2)
        manager.revoke(model="old", reason="test")
        assert [key.model_id for key in manager.cleanup(after=0).marked] == ["old"]
        return manager

    def test_cleanup(self, manager: KeyManager) -> None:
        needs_approval(manager, manager.cleanup)

        assert {key.model_id: key.status for key in list(manager.keys())} == {
            "old": Status.DESTROYED,
            "new": Status.ACTIVE,
        }

    @pytest.mark.parametrize("run", ["named", "short form", "operation id"])
    def test_other_ways_to_it(self, manager: KeyManager, run: str) -> None:
        (key,) = (key for key in list(manager.keys()) if key.model_id == "old")
        ways: dict[str, Callable[[], object]] = {
            "named": lambda: manager.cleanup([key.key_id]),
            "short form": manager.cleanup_expired_keys,
            "operation id": lambda: manager.cleanup(operation_id="nightly"),
        }

        assert plan_of(ways[run]) == 1
        assert manager.find(key.key_id).status is Status.REVOKED

    def test_marks_need_none_and_do_not_wait(self, manager: KeyManager) -> None:
        manager.revoke(model="new", reason="test")

        plan_of(manager.cleanup)

        marked = {key.model_id: key.destroy_at is not None for key in list(manager.keys())}
        assert marked == {"old": True, "new": True}
        assert ("cleanup-destroy", "ok") not in events(manager)

    def test_a_dry_run_and_an_unmarking_need_none(self, manager: KeyManager) -> None:
        assert [key.model_id for key in manager.cleanup(dry_run=True).destroyed] == ["old"]
        (key,) = (key for key in list(manager.keys()) if key.model_id == "old")
        manager.cleanup(cancel=[key.key_id])

    def test_more_keys_than_were_approved_are_not_destroyed(self, manager: KeyManager) -> None:
        number = plan_of(manager.cleanup)
        approve(manager.session, number)
        (new,) = manager.revoke(model="new", reason="test").keys
        assert manager.cleanup([new.key_id], after=0).marked
        manager.session.approval = number

        with pytest.raises(RefusedError, match="changed since"):
            manager.cleanup()

    def test_forgetting_its_container_does_not_help(self, manager: KeyManager) -> None:
        (key,) = (key for key in list(manager.keys()) if key.model_id == "old")
        manager.register(container(key))
        manager.forget(FILE_ID)

        plan_of(manager.cleanup)

    def test_the_result_of_an_operation_id_is_returned_without_doing_it_again(self, manager: KeyManager) -> None:
        number = plan_of(lambda: manager.cleanup(operation_id="nightly"))
        approved(manager.session, number, lambda: manager.cleanup(operation_id="nightly"))

        assert [key.model_id for key in manager.cleanup(operation_id="nightly").destroyed] == ["old"]
        assert [event for event, _ in events(manager)].count("approval-use") == 1


class TestDecryptOut:
    @pytest.fixture(autouse=True)
    def policy(self, shop: Workshop) -> None:
        policy_of(shop.manager.session, decrypt_out=2)

    def test_a_key_whose_secret_is_known(self, shop: Workshop) -> None:
        """Its containers open without this keystore: a rewrap to it would be a decryption."""
        material = bytes(range(32))
        needs_approval(
            shop.manager,
            lambda: shop.manager.generate(MODEL, license_key=LICENSE, material=material, new_chain=True),
        )
        shop.manager.generate("other", license_key=LICENSE)

    def test_a_file(self, shop: Workshop) -> None:
        path = shop.sealed()
        out = shop.folder / "out.bin"

        needs_approval(shop.manager, lambda: decrypt_model(shop.manager, path, out, license_key=LICENSE))

        assert out.read_bytes() == pattern(5000)

    def test_nothing_is_written_before(self, shop: Workshop) -> None:
        path = shop.sealed()

        plan_of(lambda: decrypt_model(shop.manager, path, license_key=LICENSE))

        assert [each.name for each in shop.folder.iterdir()] == [path.name]

    def test_a_pipe(self, shop: Workshop) -> None:
        path = shop.sealed()
        reading, writing = os.pipe()
        with open(reading, "rb") as read, open(writing, "wb") as write:
            needs_approval(shop.manager, lambda: decrypt_model(shop.manager, path, write, license_key=LICENSE))
            write.close()
            assert read.read() == pattern(5000)

    def test_a_folder(self, shop: Workshop) -> None:
        source = shop.folder / "model"
        source.mkdir()
        (source / "a.bin").write_bytes(b"a")
        encrypt_folder(shop.manager, folder_request(source))

        def decrypt() -> object:
            return decrypt_folder(shop.manager, shop.folder / "model.ttm", shop.folder / "out", license_key=LICENSE)

        needs_approval(shop.manager, decrypt)
        assert (shop.folder / "out" / "a.bin").read_bytes() == b"a"

    def test_a_program_that_copies(self, shop: Workshop) -> None:
        paths = [shop.sealed(name="a.bin"), shop.sealed(name="b.bin")]

        def hold() -> None:
            with held_models(
                shop.manager, paths, program="cp", words=["cp", "{}", "{}", "/tmp"], license_key=LICENSE
            ) as held:
                assert len(held) == 2

        needs_approval(shop.manager, hold)
        (standing,) = approvals(shop.manager.session)
        assert standing.plan.arguments["program"] == ["cp", "{}", "{}", "/tmp"]
        assert events(shop.manager)[-3:] == [("approval-use", "ok"), ("exec", "ok"), ("exec", "ok")]

    def test_an_operation_id_holds_a_model_once(self, shop: Workshop) -> None:
        path = shop.sealed()

        def hold() -> None:
            options: dict[str, Any] = {"program": "cp", "license_key": LICENSE, "operation_id": "nightly"}
            with held_models(shop.manager, [path], **options):
                pass

        number = plan_of(hold)
        approved(shop.manager.session, number, hold)
        plan_of(hold)

    def test_models_and_blocks_in_memory(self, shop: Workshop) -> None:
        path, encryption = shop.sealed(), ModelEncryption(shop.manager)
        block = encryption.encrypt_block(b"x", model_id=MODEL, license_key=LICENSE)

        plan_of(lambda: open_model(path, shop.manager, LICENSE))
        plan_of(lambda: encryption.decrypt_block(block, model_id=MODEL, license_key=LICENSE))

    def test_a_keystore_that_cannot_be_written_to(self, shop: Workshop) -> None:
        path, reader = shop.sealed(), SystemLogManager(shop.manager)
        for out in (shop.folder / "out.bin", None):
            with open(os.devnull, "wb") as null, pytest.raises(RefusedError, match="a read-only keystore cannot store"):
                decrypt_model(reader, path, out or null, license_key=LICENSE)

    def test_the_rotation_of_its_key_voids_it(self, shop: Workshop) -> None:
        path = shop.sealed()
        number = plan_of(lambda: decrypt_model(shop.manager, path, license_key=LICENSE))
        approve(shop.manager.session, number)
        shop.manager.rotate([MODEL], license_key=LICENSE)
        shop.manager.session.approval = number

        with pytest.raises(RefusedError, match=r"does not hold any more: key .* changed since"):
            decrypt_model(shop.manager, path, license_key=LICENSE)


class TestRecoverRevoked:
    def test_a_file(self, shop: Workshop) -> None:
        path = shop.sealed()
        policy_of(shop.manager.session, recover_revoked=2)
        shop.manager.revoke(model=MODEL, reason="test", rotate=True, license_key=LICENSE)

        def save() -> object:
            return reencrypt_model(shop.manager, path, license_key=LICENSE, to=MODEL, recover_revoked=True)

        needs_approval(shop.manager, save)

    def test_a_folder(self, shop: Workshop) -> None:
        source = shop.folder / "model"
        source.mkdir()
        (source / "a.bin").write_bytes(b"a")
        encrypt_folder(shop.manager, folder_request(source))
        policy_of(shop.manager.session, recover_revoked=2)
        shop.manager.revoke(model=MODEL, reason="test", rotate=True, license_key=LICENSE)

        def save() -> object:
            folder = shop.folder / "model.ttm"
            return reencrypt_folder(shop.manager, folder, license_key=LICENSE, to=MODEL, recover_revoked=True)

        needs_approval(shop.manager, save)

    def test_the_key_of_another_model_takes_it_to_new_holders(self, shop: Workshop) -> None:
        """A node that has had a key of `other` only opens it then, as if it had been sent one of MODEL."""
        path, source = shop.sealed(), shop.folder / "model"
        source.mkdir()
        (source / "a.bin").write_bytes(b"a")
        folder = Path(str(encrypt_folder(shop.manager, folder_request(source)).destination))
        shop.manager.generate("other", license_key=LICENSE)
        policy_of(shop.manager.session, distribute_new=2)

        reencrypt_model(shop.manager, path, license_key=LICENSE)
        reencrypt_folder(shop.manager, folder, license_key=LICENSE)
        needs_approval(shop.manager, lambda: reencrypt_model(shop.manager, path, license_key=LICENSE, to="other"))
        needs_approval(shop.manager, lambda: reencrypt_folder(shop.manager, folder, license_key=LICENSE, to="other"))

    def test_an_ordinary_one_needs_none(self, shop: Workshop) -> None:
        path = shop.sealed()
        policy_of(shop.manager.session, recover_revoked=2)

        reencrypt_model(shop.manager, path, license_key=LICENSE, recover_revoked=True)


class TestFleet:
    @pytest.fixture
    def fleet(self) -> Iterator[Fleet]:
        with fleet_in_memory("n1") as made:
            yield made

    def test_a_node_is_added(self, fleet: Fleet, desk: Desk) -> None:
        policy_of(fleet.admin.session, node_add=2)
        other = desk.manager()
        node_id = init_node(other, "n2", role="node").node_id
        card = parse_card(own_card(other)[1])

        needs_approval(fleet.admin, lambda: pin(fleet.admin, card, expect=node_id))

    def test_an_issuer_is_added(self, fleet: Fleet, desk: Desk) -> None:
        node = fleet.nodes["n1"]
        policy_of(node.session, node_add=2)
        other = desk.manager()
        other.generate("x", no_license=True)
        issuer = init_node(other, "evil").node_id
        card = parse_card(own_card(other)[1])

        keeps = {fleet.node_id(fleet.admin): ["llama*"]}
        options: dict[str, Any] = {"expect": issuer, "role": "issuer", "keeps": keeps}
        needs_approval(node, lambda: pin(node, card, models=["x*"], **options))
        plan_of(lambda: pin(node, card, models=["y*"], **options))  # another scope

    def test_a_model_goes_to_a_new_node(self, fleet: Fleet) -> None:
        policy_of(fleet.admin.session, distribute_new=2)
        fleet.admin.generate("second", license_key=LICENSE)

        needs_approval(fleet.admin, lambda: distribute(fleet.admin, ["llama", "second"], to=["n1"]))

        (standing,) = approvals(fleet.admin.session)
        assert standing.plan.arguments["models"] == ["llama", "second"]
        assert standing.plan.subject == "llama, second to n1"

    def test_it_goes_there_by_a_rotation(self, fleet: Fleet) -> None:
        policy_of(fleet.admin.session, distribute_new=2)
        before = fleet.key.key_id

        plan_of(lambda: fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"]))
        plan_of(lambda: fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True))
        plan_of(lambda: asyncio.run(fleet.admin.rotate_key(before, LICENSE, ["n1"])))
        assert fleet.key.key_id == before
        needs_approval(fleet.admin, lambda: fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"]))

    def test_a_node_that_has_the_model_gets_the_next_keys_without(self, fleet: Fleet) -> None:
        distribute(fleet.admin, ["llama"], to=["n1"])
        policy_of(fleet.admin.session, distribute_new=2)

        fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"])
        distribute(fleet.admin, ["llama"], to=["n1"])

    def test_another_node_under_the_same_name_voids_it(self, fleet: Fleet, desk: Desk) -> None:
        policy_of(fleet.admin.session, distribute_new=2)
        number = plan_of(lambda: distribute(fleet.admin, ["llama"], to=["n1"]))
        approve(fleet.admin.session, number)
        unpin(fleet.admin, "n1")
        other = desk.manager()
        node_id = init_node(other, "n1", role="node").node_id
        pin(fleet.admin, parse_card(own_card(other)[1]), expect=node_id)
        fleet.admin.session.approval = number

        with pytest.raises(RefusedError, match="changed since"):
            distribute(fleet.admin, ["llama"], to=["n1"])


class TestTheRest:
    @pytest.fixture
    def manager(self, desk: Desk) -> KeyManager:
        manager = desk.manager()
        manager.generate("llama", no_license=True)
        return manager

    def test_forget(self, manager: KeyManager) -> None:
        policy_of(manager.session, forget=2)
        manager.register(container(manager.find("llama")))

        needs_approval(manager, lambda: manager.forget(FILE_ID))
        assert manager.containers() == ()

    def test_accept_clock(self, manager: KeyManager, desk: Desk) -> None:
        policy_of(manager.session, accept_clock=2)
        desk.clock.forward(days=500)  # nothing but this may be written now

        number = plan_of(manager.accept_clock)
        desk.clock.forward(days=-500)
        approve(manager.session, number)
        desk.clock.forward(days=500)
        manager.session.approval = number
        manager.accept_clock()
        assert manager.now() == desk.clock.now

    def test_an_escrow(self, manager: KeyManager) -> None:
        policy_of(manager.session, escrow=2)
        holders = Holders()

        def create() -> object:
            return create_escrow(manager, holders, shares=3, threshold=2)

        number = plan_of(create)
        assert holders.shares == []
        approved(manager.session, number, create)
        assert len(holders.shares) == 3

    def test_an_escrow_under_any_policy(self, manager: KeyManager) -> None:
        policy_of(manager.session, forget=2)

        plan_of(lambda: create_escrow(manager, Holders(), shares=3, threshold=2))

    def test_a_new_binding(self, manager: KeyManager) -> None:
        policy_of(manager.session, binding=2)
        facts = manager.session.facts()
        added = Fact(FactKind.SYSTEM_UUID, "4c4c4544-0042-3510-8051-b4c04f4d3332", "a test")
        manager.session._facts = replace(facts, facts=(*facts.facts, added))

        needs_approval(manager, manager.rebind)

    def test_the_policy_changes_under_itself(self, manager: KeyManager) -> None:
        policy_of(manager.session, forget=2)

        needs_approval(manager, lambda: set_policy(manager.session, require={"forget": 0}, operation_id=None))
        assert approval_policy(manager.session).needed(("forget",)) == 0

    def test_a_policy_that_says_so_already_needs_none(self, manager: KeyManager) -> None:
        policy_of(manager.session, forget=2)

        assert not set_policy(manager.session, require={"forget": 2}, operation_id=None).changed

    def test_a_policy_of_fewer_approvals_is_warned_of(self, manager: KeyManager) -> None:
        policy_of(manager.session, forget=2)

        def lower() -> list[str]:
            done = set_policy(manager.session, require={"policy": 1}, operation_id=None)
            return [notice.code for notice in done.warnings]

        number = plan_of(lower)
        approve(manager.session, number)
        manager.session.approval = number
        assert lower() == ["weak-policy"]


def test_a_python_program_asks_signs_and_runs_it(desk: Desk) -> None:
    with desk.manager() as manager:
        manager.generate("llama", no_license=True)
        manager.set_approval_policy({"forget": 1}, approvers={"ada": ADA.line})
        manager.register(container(manager.find("llama")))
        number = plan_of(lambda: manager.forget(FILE_ID))
        assert manager.approval_policy().needed(("forget",)) == 1
        added = manager.add_approval(ADA.sign(manager.approval_text(number)))
        assert added.standing == manager.approvals()[0]
    with desk.manager(approval=number) as manager:
        before = manager.approval_is_idle
        assert manager.forget(FILE_ID).changed
        assert before != manager.approval_is_idle
    for given, is_idle in ((number, False), (99, True), (None, False)):
        with desk.manager(approval=given) as manager:
            manager.cleanup()
            assert manager.approval_is_idle == is_idle, given


class TestRestore:
    @pytest.fixture
    def early(self, desk: Desk) -> Path:
        """A backup from before the policy."""
        manager = desk.manager()
        manager.generate("llama", no_license=True)
        early = desk.folder.parent / "early.db"
        manager.backup(early)
        return early

    def test_an_older_backup_brings_no_older_policy_back(self, desk: Desk, early: Path) -> None:
        manager = desk.manager()
        policy_of(manager.session, forget=2)

        manager.restore(early)

        assert approval_policy(manager.session).needed(("forget",)) == 2
        manager.register(container(manager.find("llama")))
        plan_of(lambda: manager.forget(FILE_ID))

    def test_it_needs_approval_itself(self, desk: Desk, early: Path) -> None:
        manager = desk.manager()
        policy_of(manager.session, restore_over=2)
        epoch = manager.document().epoch

        number = plan_of(lambda: manager.restore(early))
        assert manager.document().epoch == epoch
        approve(manager.session, number)
        manager.session.approval = number
        manager.restore(early)

        assert manager.document().epoch == epoch + 1
        assert events(manager)[-2:] == [("restore", "ok"), ("approval-use", "ok")]
        assert approvals(manager.session) == ()

    def test_the_approval_of_one_backup_is_for_no_other(self, desk: Desk, early: Path) -> None:
        manager = desk.manager()
        policy_of(manager.session, restore_over=2)
        number = plan_of(lambda: manager.restore(early))
        approve(manager.session, number)
        manager.backup(early, force=True)
        manager.session.approval = number

        with pytest.raises(RefusedError, match="approval 1 is for restore-over"):
            manager.restore(early)

    def test_a_plan_does_not_outlive_a_restore(self, desk: Desk, early: Path) -> None:
        manager = desk.manager()
        policy_of(manager.session, forget=2)
        manager.register(container(manager.find("llama")))
        number = plan_of(lambda: manager.forget(FILE_ID))
        approve(manager.session, number)
        manager.restore(early)

        manager.session.approval = number
        assert manager.containers() != ()
        error = error_of(lambda: manager.forget(FILE_ID))
        assert error is not None
        assert error.message == f"there is no approval {number}"
        manager.session.approval = None
        assert plan_of(lambda: manager.forget(FILE_ID)) == number + 1

    def test_with_a_clock_to_confirm_it_needs_the_stricter_of_both(self, desk: Desk, early: Path) -> None:
        manager = desk.manager()
        policy_of(manager.session, accept_clock=2)
        manager.restore(early)

        plan_of(lambda: manager.restore(early, accept_clock=True))

    def test_shares_of_an_escrow_reset_the_policy(self, desk: Desk) -> None:
        manager = desk.manager()
        manager.generate("llama", no_license=True)
        shares = escrow_of(manager)
        backup = desk.folder.parent / "late.db"
        manager.backup(backup)
        policy_of(manager.session, restore_over=2, forget=2)

        plan_of(lambda: recover(manager, backup, shares[:3]))
        recover(manager, backup, shares[:3], reset_policy=True)

        assert approval_policy(manager.session).require == {}
        record = next(each for each in manager.audit_records() if each.event == "approval-reset")
        assert record.detail["require"] == ["forget=2", "restore-over=2"]

    def test_shares_reset_it_where_it_lies(self, desk: Desk) -> None:
        manager = desk.manager()
        manager.generate("llama", no_license=True)
        shares = escrow_of(manager)
        policy_of(manager.session, restore_over=2)

        recover(manager, None, shares[:3])
        assert approval_policy(manager.session).require == {"restore-over": 2}
        recover(manager, None, shares[:3], reset_policy=True)
        assert approval_policy(manager.session).require == {}

    @pytest.mark.parametrize("way", ["another folder", "the keystore is deleted"])
    def test_what_this_machine_knows_of_a_policy_counts_elsewhere(self, desk: Desk, early: Path, way: str) -> None:
        manager = desk.manager()
        policy_of(manager.session, forget=2)
        later = desk.folder.parent / "later.db"
        manager.backup(later)
        if way == "another folder":
            desk.clock.forward(days=2)
            manager.cleanup()  # writes a heartbeat into the mark
        place = desk.folder if way != "another folder" else desk.folder.parent / "other"
        if way != "another folder":
            desk.close()
            desk.file.unlink()
        with KeyManager(place, host_secret_file=desk.secret, clock=desk.clock) as other:
            with pytest.raises(RefusedError, match="under an approval policy that the backup does not have"):
                other.restore(early)
            assert not other.exists()
            other.restore(later)
            assert approval_policy(other.session).needed(("forget",)) == 2

    def test_a_mark_without_a_policy_lets_every_backup_in(self, desk: Desk, early: Path) -> None:
        manager = desk.manager()
        policy_of(manager.session, forget=1)

        def away() -> None:
            set_policy(manager.session, require={"forget": 0}, removed=["ada", "bob"], operation_id=None)

        approved(manager.session, plan_of(away), away)
        desk.close()
        desk.file.unlink()

        desk.manager().restore(early)


class TestADamagedPolicy:
    """The row of the policy is damaged: what it cannot be needed for goes on, what it is needed for is refused."""

    @pytest.fixture
    def manager(self, desk: Desk) -> KeyManager:
        manager = desk.manager()
        manager.generate("old", no_license=True)
        manager.generate("new", no_license=True)
        manager.revoke(model="old", reason="test")
        manager.cleanup(after=0)
        policy_of(manager.session, destroy=2)
        manager.close()
        with contextlib.closing(sqlite3.connect(desk.folder / "keystore.db", isolation_level=None)) as connection:
            done = connection.execute(f"UPDATE record SET sealed = zeroblob(60) WHERE kind = {RecordKind.APPROVAL:d}")
            assert done.rowcount == 1
        return manager

    def test_rotations_and_revocations_go_on(self, manager: KeyManager) -> None:
        before = manager.session.keystore.mark_or_none()
        assert len(manager.rotate(["new"]).rotations) == 1
        manager.revoke(model="new", reason="test")
        after = manager.session.keystore.mark_or_none()
        assert before is not None
        assert after is not None
        assert after.size > before.size
        assert after.policy == before.policy != ""

    def test_what_may_need_an_approval_is_refused(self, manager: KeyManager) -> None:
        assert isinstance(error_of(manager.cleanup), IntegrityError)
        (old,) = manager.chain("old")
        assert old.status is Status.REVOKED
