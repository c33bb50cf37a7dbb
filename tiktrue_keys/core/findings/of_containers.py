"""What is not as it should be with containers: behind their newest key, on a revoked one, or on one not held here."""

from __future__ import annotations

from collections.abc import Iterator

from tiktrue_keys.core.findings.finding import NAMED, Finding, Severity, container_name
from tiktrue_keys.core.findings.standing import Standing
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.notices import plural
from tiktrue_keys.errors import ExpiredError


def orphaned(standing: Standing) -> Iterator[Finding]:
    """Yield the containers whose key the keystore does not hold."""
    for record, key_id in standing.orphaned[:NAMED]:
        words = f"{container_name(record)} is encrypted under key {key_id}, which this keystore does not hold"
        subject = record.file_id.hex()
        if standing.replaced:
            yield Finding(
                "key-missing",
                Severity.LAG,
                words,
                subject,
                remedy="restore-replaced",
                about={"replaced": standing.replaced},
            )
        else:
            yield Finding("key-missing", Severity.LAG, words, subject, remedy="restore-newer")
    if len(standing.orphaned) > NAMED:
        words = f"{plural(len(standing.orphaned) - NAMED, 'more container')} like these"
        yield Finding("key-missing", Severity.LAG, words, remedy="list-containers")


def containers(standing: Standing) -> Iterator[Finding]:
    """Yield the containers that wait for a rewrap or a re-encryption."""
    for record, key in standing.exposed[:NAMED]:
        yield Finding(
            "needs-reencryption",
            Severity.LAG,
            f"{container_name(record)} is still encrypted under revoked key {key.key_id}",
            record.file_id.hex(),
            key.revoked_at,
            remedy="recover-this",
            about={"path": record.path},
        )
    past = [(record, key) for record, key in standing.lagging if key.decrypt_until <= standing.now]
    for record, key in past[:NAMED]:
        yield Finding(
            "container-out-of-reach",
            Severity.ERROR,
            f"{container_name(record)} is only on key {key.key_id}, which decrypted until {rfc3339(key.decrypt_until)}",
            record.file_id.hex(),
            key.decrypt_until,
            remedy="rotate-and-rewrap",
            about={"path": record.path, "model": key.model_id},
            error=ExpiredError,
        )
    lagging = [pair for pair in standing.lagging if pair not in past]
    for record, key in lagging[:NAMED]:
        yield Finding(
            "container-lagging",
            Severity.LAG,
            f"{container_name(record)} is still on key {key.key_id}, which decrypts until {rfc3339(key.decrypt_until)}",
            record.file_id.hex(),
            key.rotated_at,
            remedy="rewrap-this",
            about={"path": record.path},
        )
    for name, listed in (("needs-reencryption", standing.exposed), ("container-lagging", lagging)):
        if len(listed) > NAMED:
            words = f"{plural(len(listed) - NAMED, 'more container')} like these"
            yield Finding(name, Severity.LAG, words, remedy="list-containers")
