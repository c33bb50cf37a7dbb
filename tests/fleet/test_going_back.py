"""Nodes whose machines were put back to an older state or restored: what the issuer sees and sends."""

from __future__ import annotations

import shutil

import pytest

from tests.fleet.fleet import Fleet
from tests.keystores import LICENSE, events
from tiktrue_keys.core.dispatch import peers
from tiktrue_keys.core.dispatch.node_progress import PeerProgress
from tiktrue_keys.core.dispatch.outbox import all_dispatches
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import NotFoundError, PartialError
from tiktrue_keys.fleet.epochs import accept_epoch
from tiktrue_keys.fleet.status import FleetStatus, fleet_status
from tiktrue_keys.fleet.sync import distribute


@pytest.fixture
def shared(fleet: Fleet) -> Fleet:
    """Every node has the first keys of two models; a snapshot of n1 is of that time."""
    fleet.admin.generate("qwen", license_key=LICENSE)
    distribute(fleet.admin, ["llama", "qwen"], every_node=True)
    fleet.deliver()
    fleet.deliver()  # nothing lies in the spool any more
    snapshot(fleet, "n1")
    return fleet


def snapshot(fleet: Fleet, *names: str) -> None:
    for name in names:
        _manager(fleet, name).close()
        for folder in ("keys", "host"):
            shutil.rmtree(fleet.folder / f"snapshot-{name}-{folder}", ignore_errors=True)
            shutil.copytree(fleet.folder / name / folder, fleet.folder / f"snapshot-{name}-{folder}")


def put_back(fleet: Fleet, *names: str) -> None:
    """The machine is put back: the keystore, and the mark that would tell of it, are those of the snapshot."""
    for name in names:
        _manager(fleet, name).close()
        for folder in ("keys", "host"):
            shutil.rmtree(fleet.folder / name / folder)
            shutil.copytree(fleet.folder / f"snapshot-{name}-{folder}", fleet.folder / name / folder)


def _manager(fleet: Fleet, name: str) -> KeyManager:
    return fleet.admin if name == "admin" else fleet.nodes[name]


def progress(fleet: Fleet, name: str = "n1") -> PeerProgress:
    with fleet.admin.session.read() as (view, _):
        return peers.progress_of(view.rows, peers.find_peer(view.rows, name))


def status(fleet: Fleet) -> FleetStatus:
    return fleet_status(fleet.admin)


def words(fleet: Fleet) -> str:
    """What `fleet status` ends with."""
    error = status(fleet).error()
    assert error is None or isinstance(error, PartialError)
    return error.message if error else "ok"


def change_everything(fleet: Fleet) -> tuple[str, str]:
    """Revoke a key and rotate another one, everywhere. Return the ids of the revoked and of the new key."""
    revoked = fleet.admin.find("qwen").key_id
    fleet.admin.revoke([revoked], reason="leaked")
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    fleet.deliver()
    fleet.deliver()
    assert words(fleet) == "ok"
    return revoked, fleet.key.key_id


@pytest.mark.parametrize("way", ["put back", "restored"])
def test_what_a_node_lacks_comes_by_itself(shared: Fleet, way: str) -> None:
    node = shared.nodes["n1"]
    node.backup(shared.folder / "n1.backup")
    revoked, new = change_everything(shared)
    if way == "put back":
        put_back(shared, "n1")
        assert node.find(revoked).status is Status.ACTIVE, "until it receives"
    else:
        node.restore(shared.folder / "n1.backup")
    assert new not in {key.key_id for key in list(node.keys())}
    shared.receive("n1")
    done = shared.sync()

    assert [each.code for each in done.warnings] == ["went-back"]
    assert [each.name for each in status(shared).gone_back] == ["n1"]
    assert "went back to an older state: n1; without a revocation: n1; behind: n1" in words(shared)
    came = shared.receive("n1")
    assert (came.refusals, came.blocked) == ((), ())
    assert (node.find(revoked).status, node.find(new).status) == (Status.REVOKED, Status.ACTIVE)
    assert shared.sync().status.error() is None
    assert (progress(shared).stream, progress(shared).went_back_at) == (2, 0)
    assert events(shared.admin).count(("node-went-back", "refused")) == 1
    assert progress(shared, "n2").stream == 1


def test_later_envelopes_arrive_in_the_new_stream(shared: Fleet) -> None:
    change_everything(shared)
    put_back(shared, "n1")
    shared.deliver()
    shared.deliver()
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.deliver()
    assert shared.nodes["n1"].find("llama").key_id == shared.key.key_id
    assert words(shared) == "ok"


def test_a_node_that_goes_further_back_before_its_stream_has_begun_lacks_nothing_after_it(shared: Fleet) -> None:
    """The stream that was opened for its first answer begins behind what it has lost since."""
    node, early = shared.nodes["n1"], shared.folder / "early"
    for folder in ("keys", "host"):
        (shared.folder / f"snapshot-n1-{folder}").rename(early.with_name(f"early-{folder}"))
    revoked = shared.admin.find("qwen").key_id
    shared.admin.revoke([revoked], reason="leaked")
    shared.deliver()
    shared.deliver()
    snapshot(shared, "n1")
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.deliver()
    shared.deliver()
    put_back(shared, "n1")
    shared.receive("n1")
    shared.sync()  # a stream with the new key, behind the revocation

    for folder in ("keys", "host"):
        shutil.rmtree(shared.folder / f"snapshot-n1-{folder}")
        (early.with_name(f"early-{folder}")).rename(shared.folder / f"snapshot-n1-{folder}")
    put_back(shared, "n1")
    for _ in range(4):
        shared.receive("n1")
        shared.sync()
    assert words(shared) == "ok"
    assert node.find(revoked).status is Status.REVOKED


def test_an_answer_to_a_round_that_was_sent_twice_counts_by_its_time(shared: Fleet) -> None:
    """The issuer's keystore was copied back too, and numbers a round again that the node had answered."""
    shared.admin.revoke([shared.admin.find("qwen").key_id], reason="leaked")
    snapshot(shared, "admin")
    shared.sync()
    shared.receive("n1")
    issuer, node_id = shared.node_id(shared.admin), shared.node_id(shared.nodes["n1"])
    first = shared.acknowledgement("n1")
    put_back(shared, "n1", "admin")
    shared.clock.forward(days=2)
    shared.sync()
    for path in (shared.folder / "spool" / issuer).glob(f"*/{node_id}"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if b'"tiktrue-challenge/' in line))
    shared.receive("n1")
    second = shared.acknowledgement("n1")
    for line in (first, second):
        shared.transport.acknowledge(issuer, node_id, line)
        shared.sync()

    assert "n1" in words(shared)
    assert progress(shared).stream == 2


def test_revocations_come_first_and_need_no_license(shared: Fleet) -> None:
    revoked, _ = change_everything(shared)
    put_back(shared, "n1")
    shared.receive("n1")
    unlicensed = shared.sync(license_key=None)
    assert [each.code for each in unlicensed.warnings] == ["went-back", "needs-license"]
    shared.receive("n1", license_key=None)
    assert shared.nodes["n1"].find(revoked).status is Status.REVOKED


def test_what_still_lies_in_the_transport_needs_no_new_stream(shared: Fleet) -> None:
    """n2 is silent, so that the rounds stay: n1 takes them once more by itself."""
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.deliver(["n1", "n3"])
    put_back(shared, "n1")
    shared.receive("n1")
    assert shared.sync().status.gone_back == ()
    assert shared.nodes["n1"].find("llama").key_id == shared.key.key_id


def test_a_node_that_moved_on_meanwhile_is_proven_to_from_there(shared: Fleet) -> None:
    """The stream begins from a head that the node no longer holds: it says so, and the next copy fits."""
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.sync()
    (first,) = (line for line in shared.lines("n1") if b'"number":4' in line)
    shared.deliver()
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    shared.deliver()
    shared.lose_lines()
    shared.sync()
    put_back(shared, "n1")
    shared.receive("n1")
    shared.sync()
    post_again(shared, first)
    shared.clock.forward(seconds=60)
    assert [each.error.code for each in shared.receive("n1").blocked] == ["refused"]
    shared.sync()
    assert shared.receive("n1").blocked == ()
    shared.sync()
    assert shared.nodes["n1"].find("llama").key_id == shared.key.key_id
    assert words(shared) == "ok"


def post_again(fleet: Fleet, *lines: bytes) -> None:
    """A line of an ended stream turns up beside the others."""
    spool = next((fleet.folder / "spool" / fleet.node_id(fleet.admin)).glob("0*"))
    path = spool / fleet.node_id(fleet.nodes["n1"])
    path.write_bytes(path.read_bytes() + b"".join(line + b"\n" for line in lines))


def test_it_may_go_back_again_and_again(shared: Fleet) -> None:
    revoked, new = change_everything(shared)
    for times in (1, 2, 3):
        put_back(shared, "n1")
        shared.deliver(["n1"])
        if times == 2:
            put_back(shared, "n1")  # before it has taken anything of the new stream
        shared.deliver(["n1"])
        assert (shared.nodes["n1"].find(revoked).status, words(shared)) == (Status.REVOKED, "ok")
        assert shared.nodes["n1"].find("llama").key_id == new
        assert progress(shared).stream == times + 1


def test_a_fleet_that_is_put_back_at_once_is_sent_it_together(shared: Fleet) -> None:
    snapshot(shared, *shared.nodes)
    revoked, _ = change_everything(shared)
    put_back(shared, *shared.nodes)
    for name in shared.nodes:
        shared.receive(name)
    shared.sync()
    with shared.admin.session.read() as (view, _):
        again = [len(nodes) for dispatch, nodes in all_dispatches(view.rows) if nodes[0][1][0] == 2]
    assert again == [3, 3], "one list and one key, for all three"
    shared.deliver()
    assert words(shared) == "ok"
    assert {node.find(revoked).status for node in shared.nodes.values()} == {Status.REVOKED}


def test_a_promotion_that_was_forgotten_comes_again(shared: Fleet) -> None:
    shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True, prepublish=DAY)
    shared.deliver()
    shared.deliver()
    snapshot(shared, "n1")
    shared.clock.forward(days=1, seconds=1)
    shared.deliver()
    shared.deliver()
    promoted = shared.key.key_id
    put_back(shared, "n1")
    assert shared.nodes["n1"].find(promoted).status is Status.PENDING
    shared.deliver()
    shared.deliver()
    assert shared.nodes["n1"].find(promoted).status is Status.ACTIVE
    assert words(shared) == "ok"


def test_a_node_that_goes_back_before_it_follows_a_new_epoch_gets_every_revocation_in_it(shared: Fleet) -> None:
    """It accepts the epoch before its issuer reads where it is: no answer of the epoch before tells of it."""
    revoked, _ = change_everything(shared)
    backup = shared.folder / "issuer.backup"
    shared.admin.backup(backup)
    shared.admin.restore(backup)
    distribute(shared.admin, ["llama"], every_node=True)
    shared.sync()
    put_back(shared, "n1")
    shared.receive("n1")
    accept_epoch(shared.nodes["n1"], "head-office", expect=status(shared).base.root.hex())
    assert shared.nodes["n1"].find(revoked).status is Status.ACTIVE
    assert shared.receive("n1").refusals == ()
    shared.sync()
    assert not progress(shared).is_behind
    assert shared.nodes["n1"].find(revoked).status is Status.REVOKED


def test_the_first_envelope_of_a_stream_is_waited_for(shared: Fleet) -> None:
    change_everything(shared)
    put_back(shared, "n1")
    shared.receive("n1")
    shared.sync()
    first, second = (line for line in shared.lines("n1") if b'"stream":2' in line)
    shared.lose_lines()
    shared.post("n1", second)
    shared.clock.forward(seconds=60)
    came = shared.receive("n1")
    assert (came.consumed, came.waits_for) == (0, (("head-office", 1),))
    shared.post("n1", first)
    assert shared.receive("n1").consumed == 2


def test_an_old_answer_put_back_by_the_transport_is_no_going_back(shared: Fleet) -> None:
    """Nor does it hide one: what counts is the answer to the newest challenge."""
    issuer, n1 = shared.node_id(shared.admin), shared.node_id(shared.nodes["n1"])
    old = shared.acknowledgement("n1")
    change_everything(shared)
    shared.transport.acknowledge(issuer, n1, old)
    assert not shared.sync().changed
    assert (progress(shared).stream, words(shared)) == (1, "ok")

    shared.receive("n1")
    newest = shared.acknowledgement("n1")
    shared.sync()
    put_back(shared, "n1")
    shared.receive("n1")
    shared.transport.acknowledge(issuer, n1, newest)
    shared.sync()
    assert progress(shared).stream == 1
    shared.clock.forward(days=1, seconds=1)
    assert "not heard for a day: n1, n2, n3" in words(shared), "it is not ok for longer than a day"


def test_ok_holds_for_a_day(shared: Fleet) -> None:
    shared.deliver()
    shared.clock.forward(days=1)
    assert words(shared) == "ok"
    shared.clock.forward(seconds=1)
    assert words(shared) == "[0/3] nodes are up to date; not heard for a day: n1, n2, n3"
    shared.sync()
    shared.receive("n2")
    shared.sync()
    assert words(shared) == "[1/3] nodes are up to date; not heard for a day: n1, n3"


def test_resend_sends_everything_once_more(shared: Fleet) -> None:
    revoked, new = change_everything(shared)
    done = shared.sync(resend=["n1"])
    assert done.changed
    came = shared.receive("n1")
    assert (came.refusals, came.blocked) == ((), ())
    assert came.consumed == 4, "the revocations, and every key that it was ever sent"
    node = shared.nodes["n1"]
    assert (node.find(revoked).status, node.find("llama").key_id) == (Status.REVOKED, new)
    assert shared.sync().status.error() is None
    assert (progress(shared).stream, progress(shared, "n2").stream) == (2, 1)
    with pytest.raises(NotFoundError):
        shared.sync(resend=["nobody"])


def test_a_node_that_forgot_an_accepted_epoch_is_sent_everything_of_it(shared: Fleet) -> None:
    backup = shared.folder / "issuer.backup"
    shared.admin.backup(backup)
    shared.admin.restore(backup)
    new = shared.admin.rotate(["llama"], license_key=LICENSE, notify_all=True).rotations[0].new
    assert new is not None
    shared.sync()

    def accept() -> None:
        accept_epoch(shared.nodes["n1"], "head-office", expect=status(shared).base.root.hex())

    shared.receive("n1")
    accept()
    shared.receive("n1")
    shared.sync()
    assert progress(shared).acked == progress(shared).issued
    put_back(shared, "n1")
    shared.receive("n1")
    shared.sync()
    assert progress(shared).went_back_at > 0
    shared.receive("n1")
    accept()
    for _ in range(2):  # of the two streams of the epoch, the first is taken first
        shared.receive("n1")
        shared.sync()
    shared.receive("n1")
    shared.sync()
    assert shared.nodes["n1"].find("llama").key_id == new.key_id
    assert progress(shared).went_back_at == 0
