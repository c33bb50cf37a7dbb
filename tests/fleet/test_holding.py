"""Cleanup keeps a key that was distributed until the nodes that hold it know what takes its place."""

from __future__ import annotations

import pytest

from tests.fleet.fleet import Fleet
from tests.keystores import LICENSE
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.unpin import unpin


@pytest.fixture
def shared(fleet: Fleet) -> Fleet:
    """Everybody holds the first key."""
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.deliver()
    return fleet


def reasons(fleet: Fleet, **more: object) -> list[str]:
    """Why cleanup keeps what it keeps."""
    return [kept.reason for kept in fleet.admin.cleanup(dry_run=True, **more).kept]  # type: ignore[arg-type]


def pass_time(fleet: Fleet, days: int) -> None:
    """Let time go by as in a keystore that is used, so that no silence makes the clock doubtful."""
    for _ in range(0, days, 20):
        fleet.clock.forward(days=20)
        fleet.admin.record_use("alive", key=fleet.admin.find("alive"), detail={})


def outdate(fleet: Fleet) -> None:
    """Until the first key decrypts no more."""
    pass_time(fleet, 140)


@pytest.fixture
def rotated(shared: Fleet) -> Fleet:
    """The first key has a successor that no node was told of, and its time is over."""
    shared.admin.generate("alive", license_key=LICENSE, lifetime=900 * DAY)
    shared.admin.rotate(["llama"], license_key=LICENSE, lifetime=900 * DAY)
    outdate(shared)
    return shared


def test_a_holder_that_has_no_successor_keeps_it(rotated: Fleet) -> None:
    (reason,) = reasons(rotated)
    assert "nodes 'n1', 'n2', 'n3' may need it: a later generation" in reason


def test_each_holder_counts_until_it_has_the_successor(rotated: Fleet) -> None:
    distribute(rotated.admin, ["llama"], to=["n1", "n3"])
    rotated.deliver()
    (reason,) = reasons(rotated)
    assert "node 'n2' may need it" in reason
    distribute(rotated.admin, ["llama"], to=["n2"])
    rotated.sync()
    rotated.receive("n2")
    assert reasons(rotated), "it was received, but who made it does not know yet"
    rotated.sync()

    assert reasons(rotated) == []


def test_any_later_generation_will_do(rotated: Fleet) -> None:
    rotated.admin.rotate(["llama"], license_key=LICENSE)
    distribute(rotated.admin, ["llama"], every_node=True)
    rotated.deliver()
    assert reasons(rotated) == []


def test_a_confirmation_goes_on(rotated: Fleet) -> None:
    first = rotated.admin.chain("llama")[0]
    with pytest.raises(RefusedError, match="may need it"):
        rotated.admin.cleanup([first.key_id])
    (marked,) = rotated.admin.cleanup([first.key_id], confirm=[first.key_id]).marked
    assert marked.key_id == first.key_id


def test_a_node_that_was_removed_holds_nothing_up(rotated: Fleet) -> None:
    unpin(rotated.admin, "n2")
    (reason,) = reasons(rotated)
    assert "nodes 'n1', 'n3' may need it" in reason
    for name in ("n1", "n3"):
        unpin(rotated.admin, name)
    assert reasons(rotated) == []


def test_a_revoked_key_waits_for_word_of_the_revocation(shared: Fleet) -> None:
    key = shared.key
    shared.admin.revoke([key.key_id], reason="lost")
    (reason,) = reasons(shared)
    assert "nodes 'n1', 'n2', 'n3' may need it: its revocation" in reason
    shared.deliver(["n1", "n2"])
    (reason,) = reasons(shared)
    assert "node 'n3'" in reason
    shared.deliver(["n3"])

    assert reasons(shared) == []


def test_what_was_revoked_on_its_way_may_have_arrived(fleet: Fleet) -> None:
    key = fleet.key
    distribute(fleet.admin, ["llama"], to=["n1"])
    fleet.sync()
    fleet.admin.revoke([key.key_id], reason="lost")
    (reason,) = reasons(fleet)
    assert "node 'n1' may need it" in reason


def test_what_is_on_its_way_is_not_destroyed_and_arrives(rotated: Fleet) -> None:
    rotated.join("n4")
    first, successor = rotated.admin.chain("llama")
    distribute(rotated.admin, ["llama"], every_node=True)
    rotated.admin.generate("late", license_key=LICENSE)
    distribute(rotated.admin, ["late"], to=["n4"])
    late = rotated.admin.find("late")
    pass_time(rotated, 140)
    kept = {kept.key.key_id: kept.reason for kept in rotated.admin.cleanup(dry_run=True, confirm=[late.key_id]).kept}
    assert "on its way to node 'n4'" in kept[late.key_id]
    assert "may need it" in kept[first.key_id]
    rotated.deliver()

    assert rotated.nodes["n4"].find(late.key_id).key_id == late.key_id
    assert rotated.nodes["n4"].find("llama").key_id == successor.key_id


def test_a_mark_does_not_outrun_a_holder(rotated: Fleet) -> None:
    """Marked while nobody held it; then it is shipped once more before the second run."""
    first = rotated.admin.chain("llama")[0]
    assert rotated.admin.cleanup([first.key_id], after=DAY, confirm=[first.key_id]).marked
    pass_time(rotated, 20)
    (reason,) = reasons(rotated)
    assert "may need it" in reason
    assert rotated.admin.cleanup(confirm=[first.key_id]).destroyed


def test_after_a_restore_the_holders_are_still_known(rotated: Fleet) -> None:
    backup = rotated.folder / "backup.db"
    rotated.admin.backup(backup)
    rotated.admin.restore(backup)
    assert "nodes 'n1', 'n2', 'n3' may need it" in reasons(rotated)[0]
    distribute(rotated.admin, ["llama"], to=["n1"])
    assert "nodes 'n1', 'n2', 'n3' may need it" in reasons(rotated)[0]
