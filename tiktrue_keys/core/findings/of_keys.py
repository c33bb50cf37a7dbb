"""What is not as it should be with keys: expired, due, too old, or older than the root that protects them."""

from __future__ import annotations

from collections.abc import Iterator

from tiktrue_keys.core.findings.finding import NAMED, Finding, Severity, container_name
from tiktrue_keys.core.findings.standing import Standing
from tiktrue_keys.core.instants import Instant, duration_text, rfc3339
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.notices import plural
from tiktrue_keys.errors import ExpiredError


def expired(standing: Standing) -> Iterator[Finding]:
    """Yield the keys that expired without a successor."""
    expired = [key for key in standing.needed if key.successor is None and key.expires_at <= standing.now]
    for key in [key for key in expired if key.revoked_at is None and not key.pending][:NAMED]:
        words = f"key {key.key_id} expired at {rfc3339(key.expires_at)} without a successor"
        yield Finding(
            "expired",
            Severity.ERROR,
            words,
            key.key_id,
            key.expires_at,
            remedy="rotate-this-key",
            about={"key": key.key_id},
            error=ExpiredError,
        )


def due(standing: Standing) -> Iterator[Finding]:
    """Yield how many keys are due for rotation."""
    if standing.counts.due:
        words = f"{plural(standing.counts.due, 'key')} due for rotation"
        yield Finding("rotation-due", Severity.WARNING, words, remedy="rotate-due")


def old_keys(standing: Standing) -> Iterator[Finding]:
    """Yield the active keys that are older than the configured limit."""
    limit = standing.limits.key_age
    if limit is None:
        return
    for key in [
        key for key in standing.needed if key.status is Status.ACTIVE and standing.now - key.created_at > limit
    ][:NAMED]:
        words = f"key {key.key_id} is older than the limit of {duration_text(limit)}"
        since = Instant(key.created_at + limit)
        yield Finding(
            "key-too-old",
            Severity.WARNING,
            words,
            key.key_id,
            since,
            remedy="rotate-this-key",
            about={"key": key.key_id},
        )


def rekeyed(standing: Standing) -> Iterator[Finding]:
    """Yield what the old root still opens: the key first, because the containers are to be under a new one."""
    older = standing.older
    if older is None:
        return
    severity = Severity.LAG if older.compromised else Severity.WARNING
    renewed = f"the rekey of {rfc3339(older.at)}"
    if older.key is not None:
        words = f"key {older.key.key_id} is older than {renewed}, and encrypts"
        yield Finding("rekeyed", severity, words, older.key.key_id, older.at, remedy="rotate-older")
    for record in older.containers[:NAMED]:
        words = f"{container_name(record)} was encrypted before {renewed}"
        yield Finding(
            "rekeyed",
            severity,
            words,
            record.file_id.hex(),
            older.at,
            remedy="reencrypt-older",
            about={"path": record.path},
        )
    if len(older.containers) > NAMED:
        words = f"{plural(len(older.containers) - NAMED, 'more container')} like these"
        yield Finding("rekeyed", severity, words, since=older.at, remedy="list-containers")
