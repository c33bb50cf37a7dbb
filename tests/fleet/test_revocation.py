"""Revocation reaches every node, stays, and goes stale when the issuer falls silent."""

from __future__ import annotations

import pytest

from tests.counting import HMAC, OPEN, SQL, calls_of
from tests.fleet.fleet import Fleet
from tests.keystores import LICENSE
from tiktrue_keys.core.dispatch import outbox
from tiktrue_keys.core.dispatch.revocation_lists import VALID_FOR, Revocation, RevocationList, known_list
from tiktrue_keys.core.keys.lifecycle import Status, Use
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.errors import ExpiredError, IntegrityError, RevokedError
from tiktrue_keys.fleet.payloads import list_payload, read_list
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.unpin import unpin


@pytest.fixture
def shared(fleet: Fleet) -> Fleet:
    """Everybody has the first key."""
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.deliver()
    return fleet


def test_a_revocation_reaches_every_node(shared: Fleet) -> None:
    key = shared.key
    shared.admin.revoke([key.key_id], reason="a laptop was lost")
    shared.deliver()

    for manager in shared.nodes.values():
        there = manager.find(key.key_id)
        assert (there.status, there.revoke_reason) == (Status.REVOKED, "a laptop was lost")
        with pytest.raises(RevokedError, match="a laptop was lost"):
            manager.open_key(key.key_id, LICENSE, use=Use.DECRYPT)
        (record,) = [each for each in manager.audit_records() if each.event == "revoke"]
        assert (record.key_id, record.before, record.after) == (key.key_id, "active", "revoked")


def test_a_successor_follows_in_the_same_operation(shared: Fleet) -> None:
    old = shared.key
    revoked = shared.admin.revoke([old.key_id], reason="leaked", rotate=True, license_key=LICENSE)
    shared.deliver()

    new = revoked.successors[0].new
    assert new is not None
    for manager in shared.nodes.values():
        assert manager.find(old.key_id).status is Status.REVOKED
        assert manager.find(new.key_id).status is Status.ACTIVE


def test_a_key_that_is_revoked_on_its_way_is_never_sent(fleet: Fleet) -> None:
    key = fleet.key
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.admin.revoke([key.key_id], reason="leaked")
    fleet.deliver()

    assert all(not list(manager.keys()) for manager in fleet.nodes.values())


def test_a_key_that_comes_after_its_revocation_is_refused(fleet: Fleet) -> None:
    key = fleet.key
    distribute(fleet.admin, ["llama"], to=["n1"])
    fleet.sync()
    withheld = fleet.lines("n1")
    fleet.admin.revoke([key.key_id], reason="leaked")
    fleet.sync()
    came = fleet.receive("n1")

    assert len(withheld) == 2
    assert came.consumed == 3
    assert fleet.nodes["n1"].find(key.key_id).status is Status.REVOKED


def test_an_older_list_is_refused_in_whatever_envelope_it_comes(shared: Fleet) -> None:
    shared.admin.revoke([shared.key.key_id], reason="leaked")
    shared.deliver()
    node = shared.nodes["n1"]
    with shared.admin.session.write(new_operation_id()) as transaction:
        transaction.record("mischief")
        outbox.queue(transaction, outbox.LIST, [shared.node_id(node)], list_number=1)
    shared.sync()
    with node.session.read() as (view, _):
        before = known_list(view.rows, shared.node_id(shared.admin))
    (refusal,) = shared.receive("n1").refusals

    assert refusal.error.message == "older: revocation list 1 is not newer than 4"
    with node.session.read() as (view, _):
        assert known_list(view.rows, shared.node_id(shared.admin)) == before


def test_lists_are_renewed_at_half_their_time(shared: Fleet) -> None:
    shared.clock.forward(days=14)
    assert not shared.sync().renewed
    shared.clock.forward(days=2)
    assert shared.sync().renewed
    shared.deliver()
    with shared.nodes["n1"].session.read() as (view, _):
        known = known_list(view.rows, shared.node_id(shared.admin))
    assert known is not None
    assert known.valid_until == shared.clock.now + VALID_FOR


def test_past_its_end_nothing_is_encrypted_and_opening_warns(fleet: Fleet) -> None:
    fleet.admin.generate("long", license_key=LICENSE, lifetime=400 * 86_400)
    distribute(fleet.admin, ["long"], every_node=True)
    fleet.deliver()
    node = fleet.nodes["n1"]
    with node.open_key("long", LICENSE, use=Use.ENCRYPT) as opened:
        assert opened.notices == ()
    fleet.clock.forward(days=31)

    with pytest.raises(ExpiredError, match="revocation list"):
        node.open_key("long", LICENSE, use=Use.ENCRYPT)
    with node.open_key("long", LICENSE, use=Use.DECRYPT) as opened:
        assert [notice.code for notice in opened.notices] == ["stale-revocation-list"]
    node.require_fresh_lists()
    with pytest.raises(ExpiredError, match="revocation list"):
        node.open_key("long", LICENSE, use=Use.DECRYPT)
    with fleet.admin.open_key("long", LICENSE, use=Use.ENCRYPT) as opened:
        assert opened.notices == ()


def test_a_fresh_list_takes_the_warning_away(fleet: Fleet) -> None:
    fleet.admin.generate("long", license_key=LICENSE, lifetime=400 * 86_400)
    distribute(fleet.admin, ["long"], every_node=True)
    fleet.deliver()
    fleet.clock.forward(days=31)
    fleet.deliver()

    with fleet.nodes["n1"].open_key("long", LICENSE, use=Use.ENCRYPT) as opened:
        assert opened.notices == ()


def test_the_check_in_memory_reads_nothing(shared: Fleet) -> None:
    node = shared.nodes["n1"]
    key, memory = node.find("llama"), node.session.revocations
    with node.session.read() as (view, now):
        memory.check(view, key, Use.DECRYPT, now)
        calls = calls_of(lambda: memory.check(view, key, Use.DECRYPT, now))
    assert (calls[OPEN], calls[HMAC], calls["open"]) == (0, 0, 0)
    assert calls[SQL] <= 1  # whether the file has changed
    assert calls.total() <= 60


def test_a_list_is_signed_by_its_issuer(fleet: Fleet) -> None:
    admin, other = fleet.admin, fleet.nodes["n1"]
    key_id = fleet.key.key_id
    issuer = fleet.node_id(admin)
    made = RevocationList(
        issuer,
        1,
        5,
        fleet.clock.forward(),
        fleet.clock.forward(days=1),
        (Revocation(key_id, fleet.clock.forward(), "x"),),
    )
    with admin.session.read() as (view, _):
        payload = list_payload(made, admin.session.keystore.signers.identity(view.rows))
    assert read_list(payload, issuer, admin.issuer) == made
    with pytest.raises(IntegrityError):
        read_list(payload, issuer, other.issuer)
    with pytest.raises(IntegrityError):
        read_list(payload, "z" * 32, admin.issuer)
    with pytest.raises(IntegrityError):
        read_list({"list": payload["list"].replace('"number":5', '"number":6')}, issuer, admin.issuer)


def test_many_revocations_travel_in_several_lists(fleet: Fleet) -> None:
    made = fleet.admin.generate("batch", license_key=LICENSE, count=70)
    distribute(fleet.admin, [key.key_id for key in made.keys], to=["n1"])
    fleet.deliver(["n1"])
    fleet.admin.revoke([key.key_id for key in made.keys], reason="a broken generator")
    fleet.deliver(["n1"])

    there = list(fleet.nodes["n1"].keys())
    assert len(there) == 70
    assert {key.status for key in there} == {Status.REVOKED}


def test_a_compromised_node_is_named_with_all_it_held(shared: Fleet) -> None:
    removed = unpin(shared.admin, "n2", compromised=True)

    assert removed.keys == (shared.key.key_id,)
    assert [notice.code for notice in removed.warnings] == ["compromised-keys"]
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.deliver(["n1", "n3"])
    assert not shared.receive("n2").consumed
