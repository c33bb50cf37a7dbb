"""A transport that replays, mixes up, holds back, edits and invents: nothing is believed, all of it is recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.fleet.fleet import Fleet
from tests.keystores import LICENSE, events
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import RefusedError, UnavailableError
from tiktrue_keys.fleet import arrivals, hpke
from tiktrue_keys.fleet.acknowledgements import parse_acknowledgement
from tiktrue_keys.fleet.envelopes import Address, Contents, Head, Vouched, seal_envelope
from tiktrue_keys.fleet.inbox import get_inbox
from tiktrue_keys.fleet.receive import receive
from tiktrue_keys.fleet.send import send_pending
from tiktrue_keys.fleet.signed import signed_line
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.transports.interface import Transport


def refused(fleet: Fleet, name: str = "n1") -> list[str]:
    """The reasons that a node recorded."""
    records = fleet.nodes[name].audit_records()
    return [each.detail["reason"] for each in records if each.event == "receive" and each.outcome == "refused"]


@pytest.fixture
def delivered(fleet: Fleet) -> Fleet:
    """Everybody has the first key."""
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.sync()
    return fleet


def test_a_replay_changes_nothing(delivered: Fleet) -> None:
    lines = delivered.lines("n1")
    delivered.deliver()
    delivered.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    delivered.deliver()
    before = delivered.nodes["n1"].find("llama")
    delivered.post("n1", *lines)
    came = delivered.receive("n1")

    assert (came.consumed, came.blocked) == (0, ())
    assert delivered.nodes["n1"].find("llama") == before


def test_what_was_consumed_long_ago_and_lies_there_still_is_no_news(delivered: Fleet) -> None:
    """A spool keeps its rounds until the last of the nodes has come; the others read them again and again."""
    for _ in range(40):
        distribute(delivered.admin, ["llama"], to=["n1"])
    delivered.sync()
    assert delivered.receive("n1").consumed == 42
    size = delivered.nodes["n1"].audit_size()
    again = delivered.receive("n1")

    assert (again.consumed, again.refusals, again.blocked) == (0, (), ())
    assert delivered.nodes["n1"].audit_size() == size


def test_sealed_again_is_skipped(delivered: Fleet) -> None:
    delivered.receive("n1")
    size = len(delivered.lines("n1"))
    delivered.clock.forward(days=31)  # not acknowledged for so long: sent again
    send_pending(delivered.admin, delivered.transport, license_key=LICENSE)
    assert len(delivered.lines("n1")) > size
    for _ in range(2):
        came = delivered.receive("n1")
        assert (came.consumed, came.blocked, came.refusals) == (0, (), ())
    assert refused(delivered) == []


def test_another_nodes_envelope(delivered: Fleet) -> None:
    delivered.post("n1", *delivered.lines("n2"))
    delivered.receive("n1")
    delivered.receive("n1")

    assert ["2 x envelope of another issuer or node" in each for each in refused(delivered)] == [True]
    assert delivered.nodes["n1"].find("llama").key_id == delivered.key.key_id


def test_edited_and_foreign_lines_block_nothing(delivered: Fleet) -> None:
    line = delivered.lines("n1")[-1]
    forged = [canonical_json(json.loads(line) | change) for change in ({"from": "z" * 32}, {"issued_at": 0})]
    delivered.post("n1", b"rubbish", line[:-9] + b"AAAAAAA" + line[-2:], *forged)
    came = delivered.receive("n1")

    assert came.consumed == 2
    (reason,) = refused(delivered)
    assert "2 x line that is not an envelope" in reason
    assert "1 x envelope that was forged or changed" in reason
    assert "1 x envelope of another issuer or node" in reason


def test_a_transport_full_of_rubbish_does_not_fill_the_audit_log(delivered: Fleet) -> None:
    delivered.post("n1", *(b"rubbish %d" % number for number in range(5000)))
    came = delivered.receive("n1")
    assert (came.consumed, len(came.refusals)) == (2, 1)
    assert "5000 x line that is not an envelope" in came.refusals[0].error.message
    assert len(delivered.receive("n1").refusals) == 1, "while it lies there"
    assert len(refused(delivered)) == 1, "recorded once"

    delivered.post("n1", b"something new")
    delivered.receive("n1")
    assert ["5001 x" in each for each in refused(delivered)] == [False, True]


def test_a_line_of_another_version_names_the_side_to_upgrade(delivered: Fleet) -> None:
    of_version_1 = json.loads(delivered.lines("n1")[0]) | {"type": "tiktrue-envelope/1"}
    of_version_2 = json.loads(delivered.challenges("n1")[0]) | {"type": "tiktrue-envelope/3"}
    delivered.post("n1", canonical_json(of_version_1), canonical_json(of_version_2))
    (refusal,) = delivered.receive("n1").refusals
    assert "1 x line of another version (upgrade tiktrue-keys where it comes from)" in refusal.error.message
    assert "1 x line of another version (upgrade tiktrue-keys here)" in refusal.error.message


@pytest.mark.parametrize("change", [{"round": 99}, {"from": "z" * 32}])
def test_a_challenge_that_is_not_the_issuers_is_not_answered(delivered: Fleet, change: dict[str, Any]) -> None:
    (genuine,) = (json.loads(line) for line in delivered.challenges("n1"))
    signer = delivered.admin if "round" not in change else delivered.nodes["n2"]
    with signer.session.read() as (view, _):
        sign = signer.session.keystore.signers.identity(view.rows)
    del genuine["signature"]
    delivered.post("n1", signed_line(genuine | {"round": genuine["round"] + 1} | change, "challenge", sign))
    (refusal,) = delivered.receive("n1").refusals
    kind = "that was forged or changed" if "round" in change else "of another issuer"
    assert f"1 x challenge {kind}" in refusal.error.message
    assert json.loads(delivered.acknowledgement("n1"))["challenge"]["round"] == genuine["round"]
    delivered.sync()
    assert [each.name for each in fleet_status(delivered.admin).nodes if each.heard_at] == ["n1"]


def test_a_challenge_that_was_not_sent_is_not_believed(delivered: Fleet) -> None:
    delivered.receive("n1")
    manager = delivered.nodes["n1"]
    genuine = parse_acknowledgement(delivered.acknowledgement("n1"), manager.issuer)
    assert genuine.challenge is not None
    later = replace(genuine.challenge, at=Instant(genuine.challenge.at + 86_400))
    with manager.session.read() as (view, _):
        sign = manager.session.keystore.signers.identity(view.rows)
    issuer, node_id = delivered.node_id(delivered.admin), delivered.node_id(manager)
    delivered.transport.acknowledge(issuer, node_id, replace(genuine, challenge=later).sign(sign))
    assert [notice.code for notice in delivered.sync().warnings] == ["bad-acknowledgement"]


def test_what_waits_behind_more_than_fits_into_memory_is_consumed(
    delivered: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "MAX_PARCELS", 3)
    for _ in range(8):
        distribute(delivered.admin, ["llama"], to=["n1"])
    delivered.sync()
    assert delivered.receive("n1").consumed == 10


def test_a_gap_keeps_its_place(delivered: Fleet) -> None:
    first, second = delivered.lines("n1")
    delivered.lose_lines()
    delivered.post("n1", second)
    came = delivered.receive("n1")
    assert (came.consumed, came.waits_for) == (0, (("head-office", 1),))
    delivered.post("n1", first)

    assert delivered.receive("n1").consumed == 2


def test_what_was_lost_is_sent_again_once_the_node_tells_of_the_gap(delivered: Fleet) -> None:
    delivered.deliver()
    distribute(delivered.admin, ["llama"], to=["n1"])
    delivered.sync()
    delivered.lose_lines()
    distribute(delivered.admin, ["llama"], to=["n1"])
    delivered.sync()
    delivered.clock.forward(seconds=60)
    assert delivered.receive("n1").waits_for == (("head-office", 3),)
    (behind,) = fleet_status(delivered.admin).laggards
    assert (behind.sent, delivered.sync().envelopes) == (4, 2)
    assert delivered.sync().envelopes == 0, "it was told once"

    assert delivered.receive("n1").consumed == 2
    delivered.sync()
    assert fleet_status(delivered.admin).error() is None


def test_out_of_order_is_put_in_order(delivered: Fleet) -> None:
    lines = delivered.lines("n1")
    delivered.lose_lines()
    delivered.post("n1", *reversed(lines))

    assert delivered.receive("n1").consumed == 2


def test_a_forged_acknowledgement_is_not_believed(delivered: Fleet) -> None:
    delivered.receive("n2")
    issuer, n1 = (delivered.node_id(each) for each in (delivered.admin, *list(delivered.nodes.values())[:1]))
    genuine = delivered.acknowledgement("n2")
    delivered.transport.acknowledge(issuer, n1, genuine)
    done = delivered.sync()

    assert done.collected == ("n2",)
    assert [notice.code for notice in done.warnings] == ["bad-acknowledgement"]
    assert {each.name for each in fleet_status(delivered.admin).laggards} == {"n1", "n3"}


@pytest.mark.parametrize("change", [{"issuer": "z" * 32}, {"number": 2, "results": ()}, {"receipt": bytes(16)}])
def test_a_node_cannot_acknowledge_what_it_did_not_open(delivered: Fleet, change: dict[str, Any]) -> None:
    delivered.receive("n1")
    manager, issuer = delivered.nodes["n1"], delivered.node_id(delivered.admin)
    node_id = delivered.node_id(manager)
    line = delivered.acknowledgement("n1")
    genuine = parse_acknowledgement(line, manager.issuer)
    if "receipt" in change:
        change = {"results": tuple(replace(each, receipt=bytes(16)) for each in genuine.results)}
    with manager.session.read() as (view, _):
        sign = manager.session.keystore.signers.identity(view.rows)
    delivered.transport.acknowledge(issuer, node_id, replace(genuine, **change).sign(sign))
    done = delivered.sync()

    assert done.collected == ()
    assert [notice.code for notice in done.warnings] == ["bad-acknowledgement"]


def test_an_old_acknowledgement_put_back_takes_nothing_away(delivered: Fleet) -> None:
    delivered.deliver()
    issuer, n1 = delivered.node_id(delivered.admin), delivered.node_id(delivered.nodes["n1"])
    old = delivered.acknowledgement("n1")
    delivered.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    delivered.deliver()
    delivered.transport.acknowledge(issuer, n1, old)
    delivered.sync()

    assert fleet_status(delivered.admin).error() is None


def test_what_expired_on_its_way_is_sealed_again(delivered: Fleet) -> None:
    delivered.clock.forward(days=91)
    came = delivered.receive("n1")
    assert [each.error.code for each in came.blocked] == ["expired"]
    delivered.sync()
    assert [outcome for event, outcome in events(delivered.admin) if event == "sent"] == ["ok", "ok"]

    assert delivered.receive("n1").consumed == 3  # and the list that was renewed meanwhile


def test_parts_that_do_not_fit_the_kind_of_an_envelope_block_the_queue(delivered: Fleet) -> None:
    """Signed by the issuer, and still not applied: the kind decides which parts there are."""
    delivered.deliver()
    secret = SecretBuffer.copy_of(bytes(32))
    for kind, key_id, generation, payload, key in (
        ("void", "", 0, {"more": 1}, None),
        ("void", "", 0, {}, secret),
        ("void", delivered.key.key_id, 0, {}, None),
        ("void", "", 1, {}, None),
        ("promote", delivered.key.key_id, 1, {}, secret),
    ):
        delivered.lose_lines()
        delivered.post("n1", sealed_by_issuer(delivered, kind, key_id, generation, payload, key))
        (blocked,) = delivered.receive("n1").blocked
        assert blocked.error.message == f"the envelope has parts that one of kind {kind} does not have"
    delivered.lose_lines()
    delivered.post("n1", sealed_by_issuer(delivered, "void", "", 0, {}, None))
    assert (delivered.receive("n1").consumed, delivered.receive("n1").blocked) == (1, ())


def sealed_by_issuer(
    fleet: Fleet, kind: str, key_id: str, generation: int, payload: dict[str, Any], secret: SecretBuffer | None
) -> bytes:
    """The third envelope for n1, with any contents."""
    node, now = fleet.nodes["n1"], Instant(fleet.clock.now)
    issuer, node_id = fleet.node_id(fleet.admin), fleet.node_id(node)
    with fleet.admin.session.read() as (view, _), node.session.read() as (there, _):
        sign = fleet.admin.session.keystore.signers.identity(view.rows)
        inbox = get_inbox(there.rows, issuer)
        public = hpke.public_key(there.document.identity_hpke)
        assert inbox is not None
        assert inbox.head is not None
        size = view.audit.size
        proof = tuple(view.audit.consistency_proof(inbox.head.size, size))
        vouched = Vouched(Head(size, view.audit.head()), inbox.head.size, proof, inbox.head)
    address = Address(issuer, node_id, 1, 1, 3, kind, key_id, generation, now, Instant(now + 9))
    return seal_envelope(address, Contents(vouched, bytes(16), payload, secret), public, sign)


def test_a_keystore_without_issuers_receives_nothing(fleet: Fleet) -> None:
    with pytest.raises(RefusedError, match="no issuer"):
        receive(fleet.admin, fleet.transport)


class DeafTransport:
    """The transport of a fleet, but for acknowledgements, to which there is no answer."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        raise UnavailableError("no answer")


def test_what_came_before_an_outage_is_told(delivered: Fleet) -> None:
    """The acknowledgement fails, not what the envelopes say; the next round acknowledges and has nothing to tell."""
    delivered.deliver()
    old = delivered.key
    delivered.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    delivered.sync()

    deaf: Any = DeafTransport(delivered.transport)
    came = receive(delivered.nodes["n1"], deaf, license_key=LICENSE)
    with pytest.raises(UnavailableError, match="no answer"):
        receive(delivered.nodes["n1"], deaf, license_key=LICENSE)

    assert came.outage is not None
    assert [key.generation for key in came.keys] == [2]
    assert came.superseded == (old.key_id,)
    assert fleet_status(delivered.admin).error() is not None
    assert delivered.deliver().status.error() is None
