"""Which audit records are events, and their form as CloudEvents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.audit.records import record
from tiktrue_keys.core.audit.events import EVENTS
from tiktrue_keys.core.audit.keystore_event import (
    BY_FINDING,
    RAISED,
    TYPES,
    cloud_event,
    event_of,
    merged_event,
    parse_event_id,
)
from tiktrue_keys.errors import UsageError


@pytest.mark.parametrize(
    ("members", "kind", "subject"),
    [
        ({"event": "rotate"}, "rotated", "a_1111111100000000"),
        ({"event": "promote"}, "promoted", "a_1111111100000000"),
        ({"event": "revoke"}, "revoked", "a_1111111100000000"),
        ({"event": "release", "key_id": None}, "released", "a"),
        ({"event": "receive", "key_id": None, "model_id": None}, "received", ""),
        ({"event": "node-went-back", "outcome": "refused", "detail": {"node": "n1"}}, "node-went-back", "n1"),
        ({"event": RAISED, "detail": {"finding": "backup-stale", "subject": ""}}, "backup-stale", ""),
        ({"event": RAISED, "detail": {"finding": "unheard", "subject": "n1"}}, "node-behind", "n1"),
        ({"event": "rotate", "outcome": "refused"}, None, ""),
        ({"event": "decrypt"}, None, ""),
        ({"event": RAISED, "detail": {"finding": "weak-license"}}, None, ""),
        ({"event": "finding-cleared", "detail": {"finding": "backup-stale"}}, None, ""),
    ],
)
def test_the_event_of_a_record(members: dict[str, Any], kind: str | None, subject: str) -> None:
    of_nothing = members["event"] in (RAISED, "node-went-back")
    named = {"key_id": None, "model_id": None} if of_nothing else {"key_id": "a_1111111100000000", "model_id": "a"}
    found = event_of(record(**{"number": 7, **named, **members}))
    assert (found.type, found.subject, found.id) == (kind, subject, "1-7") if found else kind is None


def test_every_promised_type_is_told() -> None:
    promised = (
        "key-due rotated promoted revoked expired container-lagging backup-stale node-behind node-went-back drift"
    )
    assert set(TYPES) == {*promised.split(), "released", "received", "merged"}
    assert {RAISED, "finding-cleared"} <= set(EVENTS)
    assert BY_FINDING["rotation-due"] == "key-due"


def test_a_cloud_event_has_what_its_specification_requires() -> None:
    found = event_of(
        record(number=7, event="rotate", key_id="a_1111111100000000", model_id="a", detail={"generation": 2})
    )
    assert found is not None
    made = cloud_event(found, bytes(16))
    assert {name: made[name] for name in ("specversion", "id", "source", "type", "subject")} == {
        "specversion": "1.0",
        "id": "1-7",
        "source": f"/tiktrue-keys/{'0' * 32}",
        "type": "tiktrue-keys.rotated",
        "subject": "a_1111111100000000",
    }
    assert made["data"]["generation"] == 2
    assert made["data"]["model_id"] == "a"
    assert "subject" not in cloud_event(merged_event(found, 3), bytes(16))


@pytest.mark.parametrize("text", ["", "7", "1-", "0-1", "1-01", "1-7 ", "-1-7"])
def test_a_malformed_id_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is not the id of an event"):
        parse_event_id(text)
    assert parse_event_id("2-0") == (2, 0)
