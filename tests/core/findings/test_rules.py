"""Each rule: the standing that it finds something in, and one that it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.dispatch.peers import ISSUER, Peer
from tiktrue_keys.core.findings.finding import Finding, Severity, strict_error
from tiktrue_keys.core.findings.rules import findings
from tiktrue_keys.core.findings.standing import Backups, NodeBehind, Standing
from tiktrue_keys.core.fingerprint import Anchor, Binding, DriftReport
from tiktrue_keys.core.instants import DAY, Instant, Seconds
from tiktrue_keys.core.keys.deadlines import KeyCounts
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keys.promotion import Waiting
from tiktrue_keys.core.keystore.clock import ClockReading
from tiktrue_keys.core.limits import Limits
from tiktrue_keys.core.machine import FactKind
from tiktrue_keys.core.names import KeyId, ModelId

NOW = Instant(1_800_000_000)
BORN = Instant(NOW - 10 * DAY)
EXPIRES = Instant(BORN + 30 * DAY)
KEY = ManagedKey(
    KeyId("m_0123456789abcdef"), ModelId("m"), 1, BORN, EXPIRES, Instant(EXPIRES + 90 * DAY), audit_number=5
)
OLD = replace(KEY, successor=KeyId("m_fedcba9876543210"), rotated_at=Instant(NOW - DAY), overlap_ends_at=NOW).at(NOW)
RECORD = ContainerRecord(bytes(16), "/models/m.ttm", "m", "m", frozenset({KEY.key_id}), NOW)
BINDING = Binding(tuple(Anchor(kind, "x") for kind in (FactKind.DISK, FactKind.NIC, FactKind.SYSTEM_UUID)))
WEAK = Binding((Anchor(FactKind.MACHINE_ID, "x"),))
NO_DRIFT = DriftReport((), (), (), ())
SOUND = Standing(
    clock=ClockReading(NOW, Instant(NOW - DAY), Instant(NOW - DAY)),
    binding=BINDING,
    drift=NO_DRIFT,
    counts=KeyCounts({Status.ACTIVE: 1}, 0, EXPIRES),
    backups=Backups(Instant(NOW - DAY), 9, holds_escrow=True),
    escrow_created_at=BORN,
    escrow_verified_at=BORN,
    needed=(KEY,),
)
WAITING = Waiting(KEY, replace(KEY, key_id=KeyId("m_fedcba9876543210")), Instant(NOW - 1), 1, (), ("gpu-3",))


def test_a_sound_keystore_has_none() -> None:
    assert findings(SOUND) == ()


ISSUER_PEER = Peer("a" * 32, "office", ISSUER, "0" * 32, 1, b"", b"", b"", NOW, scope=("llama",), scope_assumed=True)

CASES: dict[str, tuple[dict[str, Any], str, Severity, int]] = {
    "the clock is behind": (
        {"clock": ClockReading(Instant(NOW - DAY), NOW, NOW)},
        "clock-behind",
        Severity.WARNING,
        5,
    ),
    "no scheduled run": (
        {"clock": ClockReading(NOW, NOW, Instant(NOW - 4 * DAY))},
        "rotation-not-running",
        Severity.WARNING,
        5,
    ),
    "a clock that leapt": (
        {"clock": ClockReading(NOW, Instant(NOW - 500 * DAY)), "backups": replace(SOUND.backups, newest_at=NOW)},
        "clock-leapt",
        Severity.WARNING,
        5,
    ),
    "storage that vanishes": (
        {"volatile": "this keystore will not outlive this container"},
        "volatile-storage",
        Severity.WARNING,
        5,
    ),
    "a key is older than its limit": (
        {"limits": Limits(key_age=Seconds(9 * DAY))},
        "key-too-old",
        Severity.WARNING,
        5,
    ),
    "a key that the keystore does not hold": (
        {"orphaned": ((RECORD, "m_fedcba9876543210"),), "replaced": "/k/keystore-1.replaced.db"},
        "key-missing",
        Severity.LAG,
        7,
    ),
    "no hardware fact": (
        {"binding": Binding((Anchor(FactKind.MACHINE_ID, "x"),))},
        "weak-binding",
        Severity.WARNING,
        5,
    ),
    "no part may change": (
        {"binding": Binding(BINDING.anchors[:2]), "unreadable": ("/sys/class/dmi/id/product_uuid",)},
        "no-spare",
        Severity.WARNING,
        5,
    ),
    "a fact left out": ({"dropped": ("nic",)}, "fact-dropped", Severity.WARNING, 5),
    "a license that can be guessed": ({"licenses": {"ab12cd34": 40}}, "weak-license", Severity.WARNING, 5),
    "a fact of many machines": ({"shared": {"disk": "it spells the model"}}, "shared-fact", Severity.WARNING, 5),
    "a changed part": ({"drift": replace(NO_DRIFT, changed=(FactKind.NIC,))}, "drift", Severity.WARNING, 5),
    "a needed key expired": ({"needed": (replace(KEY, expires_at=Instant(NOW - 1)),)}, "expired", Severity.ERROR, 11),
    "keys are due": ({"counts": KeyCounts({}, 3, None)}, "rotation-due", Severity.WARNING, 5),
    "a container on an older key": ({"lagging": ((RECORD, OLD),)}, "container-lagging", Severity.LAG, 7),
    "a container under a revoked key": (
        {"exposed": ((RECORD, replace(KEY, revoked_at=Instant(NOW - 5))),)},
        "needs-reencryption",
        Severity.LAG,
        7,
    ),
    "a container past its key's decryption period": (
        {"lagging": ((RECORD, replace(OLD, decrypt_until=Instant(NOW - 1))),)},
        "container-out-of-reach",
        Severity.ERROR,
        11,
    ),
    "no escrow": (
        {"escrow_created_at": None, "escrow_verified_at": None},
        "no-escrow",
        Severity.WARNING,
        5,
    ),
    "shares that were never verified": ({"escrow_verified_at": None}, "no-escrow", Severity.WARNING, 5),
    "no backup, and a container": ({"backups": Backups()}, "no-backup", Severity.LAG, 7),
    "no backup, and nothing that needs one": ({"backups": Backups(), "needed": ()}, "no-backup", Severity.WARNING, 5),
    "a needed key in no backup": (
        {"backups": replace(SOUND.backups, size=KEY.audit_number)},
        "key-not-in-backup",
        Severity.LAG,
        7,
    ),
    "an escrow in no backup": (
        {"backups": replace(SOUND.backups, holds_escrow=False)},
        "escrow-not-in-backup",
        Severity.WARNING,
        5,
    ),
    "an old backup": (
        {"backups": replace(SOUND.backups, newest_at=Instant(NOW - 7 * DAY - 1))},
        "backup-stale",
        Severity.WARNING,
        5,
    ),
    "a node behind": ({"behind": (NodeBehind("gpu-3", False),)}, "node-behind", Severity.WARNING, 5),
    "a node without a revocation": (
        {"behind": (NodeBehind("gpu-3", True),)},
        "node-without-revocation",
        Severity.LAG,
        7,
    ),
    "a node with another past": (
        {"behind": (NodeBehind("gpu-3", True, "a fork"),)},
        "node-conflict",
        Severity.ERROR,
        4,
    ),
    "a node that went back": (
        {"behind": (NodeBehind("gpu-3", True, went_back_at=Instant(NOW - 9)),)},
        "went-back",
        Severity.LAG,
        7,
    ),
    "a node that is not heard": (
        {"behind": (NodeBehind("gpu-3", False, unheard_since=Instant(NOW - 9), is_behind=False),)},
        "unheard",
        Severity.LAG,
        7,
    ),
    "a node that refused a key": (
        {"behind": (NodeBehind("gpu-3", False, is_behind=False, refused=("scope: x",)),)},
        "node-refused",
        Severity.LAG,
        7,
    ),
    "a promotion that waits": ({"waiting": (WAITING,)}, "promotion-overdue", Severity.LAG, 7),
    "an issuer that fell silent": ({"ended": (("office", Instant(NOW - DAY)),)}, "list-ended", Severity.WARNING, 5),
    "an issuer whose scope was derived": ({"assumed": (ISSUER_PEER,)}, "scope-assumed", Severity.WARNING, 5),
    "an unfinished operation": ({"unfinished": ("rewrap of /m",)}, "open-intent", Severity.WARNING, 5),
    "a copy of an older schema": ({"older_copy": "/k/keystore.schema-1.db"}, "schema-copy", Severity.WARNING, 5),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_each_rule_finds(case: tuple[dict[str, Any], str, Severity, int]) -> None:
    changes, name, severity, code = case
    (found,) = findings(replace(SOUND, **changes))
    assert (found.id, found.severity) == (name, severity)
    assert exit_code(found) == code


def exit_code(found: Finding) -> int:
    error = strict_error([found]) or found.as_error()
    return error.exit_code


FINE: dict[str, dict[str, Any]] = {
    "a key that expired and has a successor": {"needed": (replace(OLD, expires_at=Instant(NOW - 1)),)},
    "a revoked key that expired": {"needed": (replace(KEY, expires_at=Instant(NOW - 1), revoked_at=Instant(NOW - 2)),)},
    "a backup that holds the key by one record": {"backups": replace(SOUND.backups, size=KEY.audit_number + 1)},
    "a backup of seven days to the second": {"backups": replace(SOUND.backups, newest_at=Instant(NOW - 7 * DAY))},
    "a promotion whose day has not come": {"waiting": (replace(WAITING, promote_at=Instant(NOW + 1)),)},
}


@pytest.mark.parametrize("changes", FINE.values(), ids=FINE.keys())
def test_what_no_rule_finds(changes: dict[str, Any]) -> None:
    assert findings(replace(SOUND, **changes)) == ()


def test_a_silent_node_is_behind_and_unheard() -> None:
    node = NodeBehind("gpu-3", True, unheard_since=Instant(NOW - 9))
    assert [found.id for found in findings(replace(SOUND, behind=(node,)))] == ["node-without-revocation", "unheard"]


@pytest.mark.parametrize(
    ("last", "severity"),
    [
        (NodeBehind("z", False), Severity.WARNING),
        (NodeBehind("z", True), Severity.LAG),
        (NodeBehind("z", False, refused=("scope: x",)), Severity.LAG),
    ],
)
def test_nodes_past_the_eighth_are_counted(last: NodeBehind, severity: Severity) -> None:
    behind = [NodeBehind(f"gpu-{number}", False) for number in range(9)]
    found = findings(replace(SOUND, behind=(*behind, last)))
    assert [each.severity for each in found if each.message == "2 more nodes like these"] == [severity]
    assert len(found) == 9


def test_errors_come_first_then_what_lags() -> None:
    behind = (NodeBehind("a", False), NodeBehind("b", True), NodeBehind("c", False, "a fork"))
    assert [found.id for found in findings(replace(SOUND, behind=behind))] == [
        "node-conflict",
        "node-without-revocation",
        "node-behind",
    ]


def test_many_containers_are_counted_and_not_listed() -> None:
    found = findings(replace(SOUND, lagging=((RECORD, OLD),) * 100))
    assert len(found) == 9
    assert found[-1].message.startswith("92 more containers")
