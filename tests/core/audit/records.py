"""Audit records for tests."""

from __future__ import annotations

from typing import Any

from tiktrue_keys.core.audit.record import Actor, AuditRecord
from tiktrue_keys.core.instants import Instant

NOON = Instant(1_795_608_000)  # 2026-11-25T12:00:00Z
ACTOR = Actor("root", "node-7", "tiktrue-keys rotate llama-7b", uid=0, login_uid=1000, claimed_sudo_user="ada")
KEY_ID = "llama-7b_0123456789abcdef"


def record(**changes: Any) -> AuditRecord:
    """A record of a rotation, with `changes` in place of its members."""
    members: dict[str, Any] = {
        "time": NOON,
        "actor": ACTOR,
        "event": "rotate",
        "outcome": "ok",
        "operation_id": "op-1",
        "key_id": KEY_ID,
        "model_id": "llama-7b",
        "before": "active",
        "after": "rotating",
        "detail": {"successor": "llama-7b_fedcba9876543210"},
        "epoch": 1,
        "number": 41,
    }
    return AuditRecord(**(members | changes))
