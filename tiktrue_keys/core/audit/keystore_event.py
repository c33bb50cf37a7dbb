"""What a keystore tells programs outside: events, each read off an audit record, and their form as CloudEvents 1.0.

Come here to add a type of event. The audit log is their queue: what happened and its event are one record, written in
one transaction, and an event's id is the record's epoch and number. https://github.com/cloudevents/spec (v1.0.2)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.errors import UsageError

RAISED = "finding-raised"
"""The audit event of a finding that `rotate --due` meets for the first time."""
CLEARED = "finding-cleared"
"""The audit event of a finding that is gone."""

_BY_RECORD: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("rotate", "ok"): "rotated",
        ("promote", "ok"): "promoted",
        ("revoke", "ok"): "revoked",
        ("release", "ok"): "released",
        ("receive", "ok"): "received",
        ("node-went-back", "refused"): "node-went-back",
        ("node-went-back", "failed"): "node-went-back",
    }
)
BY_FINDING: Mapping[str, str] = MappingProxyType(
    {
        "rotation-due": "key-due",
        "expired": "expired",
        "container-lagging": "container-lagging",
        "container-out-of-reach": "container-lagging",
        "needs-reencryption": "container-lagging",
        "no-backup": "backup-stale",
        "backup-stale": "backup-stale",
        "key-not-in-backup": "backup-stale",
        "node-behind": "node-behind",
        "node-without-revocation": "node-behind",
        "unheard": "node-behind",
        "drift": "drift",
    }
)
"""The type of event that a finding raises, by its id."""
MERGED = "merged"
"""The type that stands for events that were too many, or too old, to be told one by one."""

TYPES = (*dict.fromkeys((*_BY_RECORD.values(), *BY_FINDING.values())), MERGED)
"""Every type of event."""

_ID = re.compile(r"([1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})")


@dataclass(frozen=True)
class KeystoreEvent:
    """Something that happened to a keystore: its type, time, subject (a key, model, container or node) and members.

    `id` is `EPOCH-NUMBER` of its audit record: later events have a higher pair.
    """

    epoch: int
    number: int
    type: str
    time: Instant
    subject: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def id(self) -> str:
        """The event's id, unique in the keystore."""
        return f"{self.epoch}-{self.number}"


def event_of(record: AuditRecord) -> KeystoreEvent | None:
    """Return the event that an audit record tells, None for one that tells none."""
    detail = record.detail
    finding = BY_FINDING.get(str(detail.get("finding"))) if record.event == RAISED else None
    kind = finding or _BY_RECORD.get((record.event, record.outcome))
    if kind is None:
        return None
    named = detail.get("subject") if finding else detail.get("node")
    subject = record.key_id or record.model_id or (named if isinstance(named, str) else "")
    members = {"key_id": record.key_id, "model_id": record.model_id, "before": record.before, "after": record.after}
    data = {name: value for name, value in members.items() if value is not None} | dict(detail)
    return KeystoreEvent(record.epoch, record.number, kind, record.time, subject, data | {"host": record.actor.host})


def merged_event(last: KeystoreEvent, count: int) -> KeystoreEvent:
    """Return the event that stands for `count` events up to `last`, which are not told one by one."""
    return KeystoreEvent(last.epoch, last.number, MERGED, last.time, "", {"count": count})


def cloud_event(event: KeystoreEvent, keystore_id: bytes) -> dict[str, Any]:
    """Return the event in the JSON form of CloudEvents 1.0."""
    envelope = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/tiktrue-keys/{keystore_id.hex()}",
        "type": f"tiktrue-keys.{event.type}",
        "time": rfc3339(event.time),
        "datacontenttype": "application/json",
        "data": dict(event.data),
    }
    return envelope | {"subject": event.subject} if event.subject else envelope


def parse_event_id(text: str) -> tuple[int, int]:
    """Return epoch and number of an event's id. Raises UsageError."""
    found = _ID.fullmatch(text)
    if found is None:
        raise UsageError(f"'{text[:40]}' is not the id of an event", "use the id of an event that was read")
    return int(found[1]), int(found[2])
