"""What is not as it should be with the care of a keystore: backups, escrow, what is left over, and who is told."""

from __future__ import annotations

from collections.abc import Iterator

from tiktrue_keys.core.findings.finding import NAMED, Finding, Severity
from tiktrue_keys.core.findings.standing import Standing
from tiktrue_keys.core.instants import Instant, rfc3339
from tiktrue_keys.core.notices import plural


def backups(standing: Standing) -> Iterator[Finding]:
    """Yield what no backup and no escrow would bring back."""
    why = "a dead mainboard makes every key unreadable"
    if standing.escrow_created_at is None:
        yield Finding("no-escrow", Severity.WARNING, f"no escrow exists: {why}", remedy="create-escrow")
    elif standing.escrow_verified_at is None:
        words = f"the escrow's shares were never verified: if they are wrong, {why}"
        since = standing.escrow_created_at
        yield Finding("no-escrow", Severity.WARNING, words, since=since, remedy="verify-escrow")
    severity = Severity.LAG if standing.needed else Severity.WARNING
    backups = standing.backups
    if backups.newest_at is None:
        yield Finding("no-backup", severity, "no backup was taken: a dead disk loses every key", remedy="take-backup")
        return
    missing = [key for key in standing.needed if key.audit_number >= backups.size]
    if missing:
        words = f"{plural(len(missing), 'key')} that containers need in no backup, first {missing[0].key_id}"
        since = min(key.created_at for key in missing)
        yield Finding("key-not-in-backup", severity, words, missing[0].key_id, since, remedy="take-backup")
    if not backups.holds_escrow and standing.escrow_created_at is not None:
        words = "no backup holds the present escrow: its shares do not open the backups"
        yield Finding(
            "escrow-not-in-backup", Severity.WARNING, words, since=standing.escrow_created_at, remedy="take-backup"
        )
    if standing.now - backups.newest_at > standing.limits.backup_age:
        words = f"the newest backup is of {rfc3339(backups.newest_at)}"
        stale_since = Instant(backups.newest_at + standing.limits.backup_age)
        yield Finding("backup-stale", Severity.WARNING, words, since=stale_since, remedy="take-backup")


def rehearsal(standing: Standing) -> Iterator[Finding]:
    """Yield the finding of a keystore that is a rehearsal."""
    if standing.rehearsal:
        words = "this keystore is a rehearsal: it lists, verifies and decrypts, and signs, sends and changes nothing"
        yield Finding(
            "rehearsal", Severity.WARNING, words, remedy="end-rehearsal", about={"folder": standing.rehearsal}
        )


def leftovers(standing: Standing) -> Iterator[Finding]:
    """Yield what was begun and not finished, and copies of an older schema."""
    for what in standing.unfinished[:NAMED]:
        yield Finding("open-intent", Severity.WARNING, f"{what} was begun but not finished", remedy="settle")
    if standing.older_copy:
        words = f"{standing.older_copy} is a copy of the keystore from before its schema was upgraded"
        yield Finding("schema-copy", Severity.WARNING, words, remedy="schema-copy")


def receivers(standing: Standing) -> Iterator[Finding]:
    """Yield the sinks and event programs that do not take what they are told."""
    for name, cursor in standing.receivers.items():
        if cursor.failed_since is not None:
            words = f"audit records or events do not reach {name!r}: {cursor.reason}"
            since = Instant(cursor.failed_since)
            yield Finding("receiver-failing", Severity.WARNING, words, name, since, remedy="check-receiver")
        if name in standing.misplaced:
            words = f"the cursor of {name!r} is beyond the audit log; the next change sends it all records again"
            yield Finding("receiver-failing", Severity.WARNING, words, name, remedy="check-receiver")
        if cursor.lost:
            words = f"{plural(cursor.lost, 'event')} that {name!r} did not take in time became one"
            yield Finding("events-merged", Severity.WARNING, words, name, remedy="read-log")
