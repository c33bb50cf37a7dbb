"""What a node refuses is shown at the issuer until it no longer matters, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fleet.test_releases import release
from tests.fleet.two_issuers import SECRET, TwoIssuers, two_issuers
from tests.keystores import error_of
from tiktrue_keys.core.dispatch.node_progress import Refused
from tiktrue_keys.core.instants import Seconds
from tiktrue_keys.core.keys.keyring import get_key, put_key
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.keys.wrapping import wrap_managed_key
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.operations.keystore_status import keystore_status
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import NotFoundError
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.own_identity import own_card
from tiktrue_keys.fleet.pin import describe, pin
from tiktrue_keys.fleet.refusals import ACCEPT_EVENT
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.sync import distribute, sync

FOREIGN = "llama_00000000000000bb"
REASON = "scope: model llama is not in the scope of 'branch'"


@pytest.fixture
def fleet() -> Iterator[TwoIssuers]:
    with two_issuers() as made:
        yield made


def round_trip(fleet: TwoIssuers, *keys: str) -> None:
    """The second issuer sends, the node answers, the issuer reads the answer."""
    fleet.send_from_other(keys)
    fleet.receive("n1")
    sync(fleet.other, fleet.transport)


def shown(fleet: TwoIssuers) -> list[str]:
    """What status and fleet status of the second issuer say of refusals: the same, or this fails."""
    found = keystore_status(fleet.other.session, Seconds(0)).findings
    reasons = [each.message for each in found if each.id == "node-refused"]
    error = fleet_status(fleet.other).error()
    assert bool(reasons) == (error is not None and "refused an envelope: n1" in error.message)
    return reasons


def test_a_refused_key_is_a_finding_until_it_is_accepted(fleet: TwoIssuers) -> None:
    fleet.plant(FOREIGN)
    round_trip(fleet, FOREIGN)
    assert shown(fleet) == [f"node 'n1' refused 1 envelope; the last: {REASON}"]
    assert isinstance(error_of(lambda: sync(fleet.other, fleet.transport, accept_refusals=["n2"])), NotFoundError)
    assert sync(fleet.other, fleet.transport, accept_refusals=["n1"]).changed
    assert shown(fleet) == []
    (record,) = [each for each in fleet.other.audit_records() if each.event == ACCEPT_EVENT]
    assert record.detail == {"node": "n1", "refused": [f"2 {REASON}"]}
    assert not sync(fleet.other, fleet.transport, accept_refusals=["n1"]).changed
    round_trip(fleet, FOREIGN)
    assert len(shown(fleet)) == 1, "one that comes after it was accepted is not accepted with it"


def test_a_refused_key_that_is_no_longer_in_use_does_not_matter(fleet: TwoIssuers) -> None:
    fleet.plant(FOREIGN)
    round_trip(fleet, FOREIGN)
    fleet.other.revoke([FOREIGN], reason="a mistake")
    round_trip(fleet)
    assert shown(fleet) == []
    assert [each.reason for each in describe(fleet.other, "n1")[1].refusals] == [REASON]


def test_a_key_that_the_node_takes_later_is_not_refused_any_more(fleet: TwoIssuers) -> None:
    card = parse_card(own_card(fleet.other)[1])
    fleet.plant("mistral_00000000000000bb")
    round_trip(fleet, "mistral_00000000000000bb")
    assert len(shown(fleet)) == 1
    pin(fleet.nodes["n1"], card, expect=card.node_id, role="issuer", models=["vision/*", "mistral"])
    round_trip(fleet, "mistral_00000000000000bb")
    assert shown(fleet) == []
    assert describe(fleet.other, "n1")[1].refusals == ()


def test_all_that_is_sent_again_is_answered_again(fleet: TwoIssuers) -> None:
    card = parse_card(own_card(fleet.other)[1])
    fleet.plant("mistral_00000000000000bb")
    round_trip(fleet, "mistral_00000000000000bb")
    pin(fleet.nodes["n1"], card, expect=card.node_id, role="issuer", models=["vision/*", "mistral"])
    sync(fleet.other, fleet.transport, resend=["n1"])
    round_trip(fleet)
    assert shown(fleet) == []
    assert fleet.nodes["n1"].find("mistral").status is Status.ACTIVE


def test_only_the_newest_release_of_a_model_matters(fleet: TwoIssuers) -> None:
    fleet.plant(FOREIGN)
    for number in (1, 2):
        release(fleet.other, number)
        round_trip(fleet)
    last = "scope: not in the scope of 'branch': the release of llama"
    assert len(describe(fleet.other, "n1")[1].refusals) == 2
    assert shown(fleet) == [f"node 'n1' refused 1 envelope; the last: {last}"]


def test_another_secret_under_the_id_of_a_held_key_is_refused(fleet: TwoIssuers) -> None:
    node, key_id = fleet.nodes["n1"], fleet.other.find("vision/clip").key_id
    round_trip(fleet, key_id)
    round_trip(fleet, key_id)
    assert shown(fleet) == [], "the same key, sent twice"
    before = fleet.secret(node, key_id)
    for reason, generation in (("another secret", 1), ("another generation or license", 2)):
        with fleet.other.session.write(new_operation_id()) as transaction:
            held = get_key(transaction.rows, key_id, transaction.now)
            assert held is not None
            key = replace(held.key, generation=generation)
            with SecretBuffer.copy_of(SECRET) as secret:
                put_key(transaction.rows, key, wrap_managed_key(fleet.other.session.root_keys, key, secret, None))
            transaction.record("mischief", key_id=key_id)
        round_trip(fleet, key_id)
        assert shown(fleet)[0].endswith(f"refused: key {key_id} is held with {reason}")
    assert fleet.secret(node, key_id) == before != SECRET
    refused = [each for each in node.audit_records() if each.event == "receive" and each.outcome == "refused"]
    assert [each.key_id for each in refused] == [key_id, key_id]


def test_a_refused_key_is_still_lacking_in_a_new_epoch_and_a_new_stream(fleet: TwoIssuers) -> None:
    fleet.plant(FOREIGN)
    round_trip(fleet, FOREIGN)
    before = shown(fleet)
    fleet.other.restore(fleet.other.backup(fleet.folder / "copy.db").path)
    distribute(fleet.other, ["vision/clip"], to=["n1"])
    progress = describe(fleet.other, "n1")[1]
    assert (progress.stream, [each.number for each in progress.refusals]) == (2, [0])
    assert shown(fleet) == before

    told = replace(progress, refusals=(*progress.refusals, Refused(3, "a"), Refused(7, "b")))
    assert [each.reason for each in told.next_stream(9, (2, 5)).refusals] == [REASON, "a"]
    assert told.next_stream(9, (0, 0)).refusals == (), "all of it is sent again"


def test_what_a_new_epoch_tells_again_is_not_carried_over(fleet: TwoIssuers) -> None:
    fleet.plant(FOREIGN)
    release(fleet.other, 1)
    round_trip(fleet)
    assert len(shown(fleet)) == 1
    fleet.other.restore(fleet.other.backup(fleet.folder / "copy.db").path)
    distribute(fleet.other, ["vision/clip"], to=["n1"])
    assert describe(fleet.other, "n1")[1].refusals == ()
