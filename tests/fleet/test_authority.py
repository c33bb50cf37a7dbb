"""A model has one authority on a machine: what another issuer says of it changes nothing, and both sides are told."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.fleet.test_releases import release
from tests.fleet.two_issuers import SECRET, TwoIssuers, two_issuers
from tests.keystores import LICENSE, error_of
from tiktrue_keys.core.keys.lifecycle import Status, Use
from tiktrue_keys.errors import RefusedError, RevokedError
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.issuer_scopes import SCOPE_EVENT
from tiktrue_keys.fleet.own_identity import own_card
from tiktrue_keys.fleet.pin import describe, pin
from tiktrue_keys.fleet.unpin import unpin


@pytest.fixture
def fleet() -> Iterator[TwoIssuers]:
    with two_issuers() as made:
        yield made


def refused_here(fleet: TwoIssuers) -> list[str]:
    """The reasons of the node's records of refused envelopes."""
    records = [record for record in fleet.nodes["n1"].audit_records() if record.event == "receive"]
    return [str(record.detail["reason"]) for record in records if record.outcome == "refused"]


def test_a_key_of_another_issuers_model_is_refused_whatever_it_names(fleet: TwoIssuers) -> None:
    node, theirs = fleet.nodes["n1"], fleet.key.key_id
    before = node.find("llama")
    fleet.plant("llama_00000000000000bb", predecessor=theirs, generation=9)
    fleet.send_from_other(["llama_00000000000000bb", "vision/clip"])
    came = fleet.receive("n1")
    assert [key.model_id for key in came.keys] == ["vision/clip"]
    assert came.superseded == ()
    assert node.find("llama") == before
    reason = "scope: model llama is not in the scope of 'branch'"
    assert [refusal.error.message for refusal in came.refusals] == [reason]
    assert refused_here(fleet) == [reason]
    assert fleet.refused_at_other() == [reason]


def test_a_predecessor_of_another_keystore_is_refused(fleet: TwoIssuers) -> None:
    """llama goes over to the second issuer, which cannot go on with the first one's key."""
    node, card = fleet.nodes["n1"], parse_card(own_card(fleet.other)[1])
    keeps: dict[str, list[str]] = {fleet.node_id(fleet.admin): []}
    pin(node, card, expect=card.node_id, role="issuer", models=["vision/*", "llama"], keeps=keeps)
    fleet.plant("llama_00000000000000bb", predecessor=fleet.key.key_id, generation=9)
    fleet.send_from_other(["llama_00000000000000bb"])
    came = fleet.receive("n1")
    assert (came.keys, came.superseded) == ((), ())
    assert node.find("llama").successor is None
    assert fleet.refused_at_other() == [f"scope: key {fleet.key.key_id} did not come from 'branch'"]


def test_another_issuers_release_is_refused_on_both_sides(fleet: TwoIssuers) -> None:
    node = fleet.nodes["n1"]
    fleet.plant("llama_00000000000000bb")
    release(fleet.other, 1)
    release(fleet.other, 2, model="vision/clip")
    fleet.send_from_other()
    came = fleet.receive("n1")
    reason = "scope: not in the scope of 'branch': the release of llama"
    assert [refusal.error.message for refusal in came.refusals] == [reason]
    assert refused_here(fleet) == fleet.refused_at_other() == [reason]
    assert node.release_of("llama") is None
    assert node.release_of("vision/clip") is not None
    records = {(record.outcome, record.model_id) for record in node.audit_records() if record.event == "release"}
    assert records == {("refused", "llama"), ("ok", "vision/clip")}


def test_another_issuers_secret_does_not_take_a_keys_place(fleet: TwoIssuers) -> None:
    new = fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"]).rotations[0].new
    assert new is not None
    fleet.plant(new.key_id)
    fleet.send_from_other([new.key_id])
    assert len(fleet.receive("n1").refusals) == 1
    fleet.sync()
    fleet.receive("n1")
    assert fleet.secret(fleet.nodes["n1"], new.key_id) == fleet.secret(fleet.admin, new.key_id) != SECRET


def test_a_list_revokes_only_keys_of_its_issuer_and_counts_the_others(fleet: TwoIssuers) -> None:
    node = fleet.nodes["n1"]
    fleet.plant(fleet.key.key_id)
    fleet.send_from_other(["vision/clip"])
    fleet.receive("n1")
    theirs = fleet.other.find("vision/clip").key_id
    fleet.other.revoke([fleet.key.key_id, theirs], reason="a plot")
    fleet.send_from_other()
    came = fleet.receive("n1")
    assert (came.foreign, [key.key_id for key in came.keys]) == (1, [theirs])
    assert node.find("llama").status is Status.ACTIVE
    (record,) = [each for each in node.audit_records() if each.detail.get("foreign")]
    assert (record.event, record.detail["foreign"]) == ("receive", 1)


def test_a_promotion_of_another_issuers_key_is_refused(fleet: TwoIssuers) -> None:
    new = fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"], prepublish=86_400).rotations[0].new
    assert new is not None
    fleet.deliver()
    assert fleet.nodes["n1"].find(new.key_id).status is Status.PENDING
    fleet.plant(new.key_id)
    fleet.promote_from_other(new.key_id)
    assert len(fleet.receive("n1").refusals) == 1
    assert fleet.nodes["n1"].find(new.key_id).status is Status.PENDING


def test_a_compromised_issuer_loses_its_keys_for_good(fleet: TwoIssuers) -> None:
    node = fleet.nodes["n1"]
    fleet.send_from_other(["vision/clip"])
    fleet.receive("n1")
    planned = unpin(node, "branch", compromised=True, dry_run=True)
    assert node.find("vision/clip").status is Status.ACTIVE
    removed = unpin(node, "branch", compromised=True)
    assert removed.keys == planned.keys == (fleet.other.find("vision/clip").key_id,)
    assert node.find(removed.keys[0]).status is Status.REVOKED
    with pytest.raises(RevokedError):
        node.open_key(removed.keys[0], None, use=Use.DECRYPT)
    peer = describe(node, "branch")[0]
    assert peer.compromised_at
    card = parse_card(own_card(fleet.other)[1])
    error = error_of(lambda: pin(node, card, expect=card.node_id, role="issuer", models=["vision/*"]))
    assert isinstance(error, RefusedError)
    assert "compromised" in error.message
    assert node.find("llama").status is Status.ACTIVE
    assert node.generate("vision/clip", no_license=True).keys[0].origin is None


def test_a_retired_issuers_keys_decrypt_and_its_lists_do_not_age(fleet: TwoIssuers) -> None:
    node = fleet.nodes["n1"]
    fleet.send_from_other(["vision/clip"])
    fleet.receive("n1")
    (key_id,) = unpin(node, "branch").keys
    fleet.clock.now += 31 * 86_400
    node.require_fresh_lists()
    assert node.find(key_id).status is Status.DEPRECATED
    with node.open_key(key_id, None, use=Use.DECRYPT) as opened:
        assert [notice.code for notice in opened.notices] == ["deprecated"]
    with pytest.raises(RefusedError):
        node.open_key(key_id, None, use=Use.ENCRYPT)
    own = node.generate("vision/clip", no_license=True).keys[0]
    assert node.find("vision/clip").key_id == own.key_id
    unpin(node, "branch", compromised=True)
    assert node.find(key_id).status is Status.REVOKED


def test_a_model_of_an_issuer_is_generated_there(fleet: TwoIssuers) -> None:
    node = fleet.nodes["n1"]
    for model in ("llama", "llama-13b", "vision/new"):
        assert isinstance(error_of(partial(node.generate, model, no_license=True)), RefusedError), model
    own = node.generate("mistral", no_license=True).keys[0]
    assert node.rotate(["mistral"]).rotations[0].old.key_id == own.key_id


def test_what_was_made_here_stays_so_in_any_scope(fleet: TwoIssuers) -> None:
    node, card = fleet.nodes["n1"], parse_card(own_card(fleet.other)[1])
    own = node.generate("mistral", no_license=True).keys[0]
    pin(node, card, expect=card.node_id, role="issuer", models=["vision/*", "mistral"])
    fleet.plant("mistral_00000000000000bb")
    fleet.send_from_other(["mistral_00000000000000bb"])
    assert fleet.receive("n1").keys == ()
    fleet.plant(own.key_id)
    fleet.other.revoke([own.key_id], reason="a plot")
    fleet.send_from_other()
    assert fleet.receive("n1").foreign == 1
    assert node.find("mistral") == node.find(own.key_id)
    assert node.find("mistral").status is Status.ACTIVE


def test_narrowing_an_issuer_ends_its_keys_outside_and_is_recorded(fleet: TwoIssuers) -> None:
    node, card = fleet.nodes["n1"], parse_card(own_card(fleet.admin)[1])
    pin(node, card, expect=card.node_id, role="issuer", models=["qwen"])
    assert node.find("llama").status is Status.DEPRECATED
    record = [each for each in node.audit_records() if each.event == SCOPE_EVENT][-1]
    assert (record.before, record.after, record.detail["keys"]) == ("llama*", "qwen", 1)
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify=["n1"])
    fleet.sync()
    assert [each.error.message for each in fleet.receive("n1").refusals] == [
        "scope: model llama is not in the scope of 'head-office'"
    ]


def test_two_scopes_never_overlap(fleet: TwoIssuers) -> None:
    node, card = fleet.nodes["n1"], parse_card(own_card(fleet.other)[1])
    for models in (["*"], ["l*"], ["llama"], ["vision/*", "llama-7b"]):
        error = error_of(partial(pin, node, card, expect=card.node_id, role="issuer", models=models))
        assert isinstance(error, RefusedError), models
    assert describe(node, "branch")[0].scope == ("vision/*",)
    admin = fleet.node_id(fleet.admin)
    for kept in (["llama*", "qwen"], ["*"]):
        change = partial(pin, node, card, expect=card.node_id, role="issuer", models=["m"], keeps={admin: kept})
        error = error_of(change)
        assert isinstance(error, RefusedError), kept


def test_a_received_key_gets_no_successor_here(fleet: TwoIssuers) -> None:
    node = fleet.nodes["n1"]
    with pytest.raises(RefusedError, match="came from issuer"):
        node.revoke([fleet.key.key_id], reason="a test", rotate=True, license_key=LICENSE)
    assert node.find("llama").status is Status.ACTIVE
