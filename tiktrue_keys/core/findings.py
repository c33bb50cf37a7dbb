"""Findings: what is not as it should be with a keystore, from rules over what it holds and the time.

Come here to add a finding: one function of RULES yields it, and status, doctor and metrics show it until its cause is
gone. The rules are pure. An ERROR has the exit code of its error, a LAG that of a partial result, a WARNING none: it
counts only where the caller is strict. core/operations/keystore_status.py gathers the Standing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypedDict

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.dispatch.peers import Peer
from tiktrue_keys.core.dispatch.scopes import scope_text
from tiktrue_keys.core.fingerprint import Binding, DriftReport, strength
from tiktrue_keys.core.instants import Instant, duration_text, rfc3339
from tiktrue_keys.core.keys.deadlines import KeyCounts
from tiktrue_keys.core.keys.license_entries import STRENGTH_STEP
from tiktrue_keys.core.keys.license_text import STRONG
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.keys.promotion import Waiting
from tiktrue_keys.core.keys.renewed import OlderThanRoot
from tiktrue_keys.core.keystore.clock import ClockReading, doubt, lag, late_heartbeat
from tiktrue_keys.core.keystore.cursors import Cursor
from tiktrue_keys.core.keystore.former_ways import FormerWay, named_way
from tiktrue_keys.core.limits import DEFAULT_LIMITS, Limits
from tiktrue_keys.core.notices import plural
from tiktrue_keys.errors import ExpiredError, IntegrityError, PartialError, RefusedError, TikTrueKeysError

OF_BACKUPS = frozenset({"no-backup", "key-not-in-backup", "escrow-not-in-backup", "backup-stale"})
"""The findings that a new backup mends."""
_NAMED = 8
"""Findings of one kind that are named one by one; the rest are counted."""


class Severity(StrEnum):
    """What a finding does to an exit code."""

    ERROR = "error"
    LAG = "lag"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: a stable id, what it is, since when (None: unknown), and what mends it.

    `subject` is the key, container or node concerned, empty for the keystore itself. `error` is the class of an ERROR.
    """

    id: str
    severity: Severity
    message: str
    subject: str = ""
    since: Instant | None = None
    remedy: str = ""
    about: Mapping[str, str] = field(default_factory=dict, hash=False)
    error: type[TikTrueKeysError] = PartialError

    def as_error(self) -> TikTrueKeysError:
        """Return the error that the finding is for the caller of a command."""
        return self.error(self.message, remedy=self.remedy, about=self.about)


@dataclass(frozen=True)
class Backups:
    """The kept backups: when the newest was finished (None: never), and how many audit records it holds."""

    newest_at: Instant | None = None
    size: int = 0
    holds_escrow: bool = False


@dataclass(frozen=True)
class NodeBehind:
    """A node that has not acknowledged everything, or of which it is not known whether it still has everything.

    `lacks_revocation` if a revocation is among what it lacks. `went_back_at` is when it showed an older state,
    `unheard_since` from when on its state is unknown. `refused` are the reasons of refusals that matter, oldest first.
    """

    name: str
    lacks_revocation: bool
    conflict: str = ""
    went_back_at: Instant | None = None
    unheard_since: Instant | None = None
    is_behind: bool = True
    refused: Sequence[str] = ()


@dataclass(frozen=True)
class Standing:
    """What the rules look at: one snapshot of a keystore, and the machine.

    `unreadable` are the files of facts that this user may not read, `licenses` the estimated strengths in bits.
    `dropped` are the facts that the operator left out before a repair, `replacing` those whose new part is awaited,
    `shared` those in the binding that do not name this machine alone, and why. `needed` are the keys that registered
    containers need; `lagging` and `exposed` are the containers whose best key no longer encrypts, and those whose best
    key is revoked. `assumed` are the issuers whose scope an upgrade has derived from the keys that had come from them;
    `ended` are issuers whose newest revocation list has ended, and when. `volatile` says which part of the keystore is
    on storage that vanishes; empty where none is. `receivers` are the sinks and event programs that were told of
    records, and how far. `ways` are those in which the keystore opens, and whether each is enabled here; `former` open
    only its older copies.
    """

    clock: ClockReading
    binding: Binding
    drift: DriftReport
    counts: KeyCounts
    backups: Backups
    escrow_created_at: Instant | None
    escrow_verified_at: Instant | None
    unreadable: Sequence[str] = ()
    licenses: Mapping[str, int] = field(default_factory=dict, hash=False)
    dropped: Sequence[str] = ()
    replacing: Sequence[str] = ()
    shared: Mapping[str, str] = field(default_factory=dict, hash=False)
    needed: Sequence[ManagedKey] = ()
    lagging: Sequence[tuple[ContainerRecord, ManagedKey]] = ()
    exposed: Sequence[tuple[ContainerRecord, ManagedKey]] = ()
    waiting: Sequence[Waiting] = ()
    behind: Sequence[NodeBehind] = ()
    assumed: Sequence[Peer] = ()
    ended: Sequence[tuple[str, Instant]] = ()
    older: OlderThanRoot | None = None
    unfinished: Sequence[str] = ()
    older_copy: str = ""
    rehearsal: str = ""
    volatile: str = ""
    limits: Limits = DEFAULT_LIMITS
    orphaned: Sequence[tuple[ContainerRecord, str]] = ()
    replaced: str = ""
    receivers: Mapping[str, Cursor] = field(default_factory=dict, hash=False)
    ways: Sequence[tuple[str, bool]] = ()
    former: Sequence[FormerWay] = ()

    @property
    def now(self) -> Instant:
        """The effective time."""
        return self.clock.effective


def findings(standing: Standing) -> tuple[Finding, ...]:
    """Return every finding: errors first, then what lags, then warnings."""
    order = list(Severity)
    rules = OF_REHEARSAL if standing.rehearsal else RULES
    found = [finding for rule in rules for finding in rule(standing)]
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def _clock(standing: Standing) -> Iterator[Finding]:
    for fault in (doubt(standing.clock), lag(standing.clock), late_heartbeat(standing.clock)):
        if fault is not None:
            yield Finding(fault.code, Severity.WARNING, fault.message, since=fault.since, remedy=fault.remedy)


def _binding(standing: Standing) -> Iterator[Finding]:
    if standing.binding.weak:
        words = "no hardware fact is in the binding: a copy of this disk with its host secret opens elsewhere"
        yield Finding("weak-binding", Severity.WARNING, words, **more_facts(standing.unreadable, weak=True))
    elif not standing.binding.has_spare:
        words = strength(standing.binding)
        yield Finding("no-spare", Severity.WARNING, words, **more_facts(standing.unreadable))
    for name in standing.dropped:
        words = f"the {name} was left out of the binding before a repair"
        yield Finding("fact-dropped", Severity.WARNING, words, subject=name, remedy="rebind")
    for name in standing.replacing:
        words = f"a new {name} is awaited: the keystore opens with the old one and with the new one"
        yield Finding("fact-replacing", Severity.WARNING, words, subject=name, remedy="end-replacement")
    for name in standing.drift.names():
        words = f"the {name} differs from the one that the keystore is sealed to"
        yield Finding("drift", Severity.WARNING, words, subject=name, remedy="rebind")
    for name, flaw in standing.shared.items():
        words = f"the {name} that the keystore is sealed to is not a fact of this machine alone: {flaw}"
        yield Finding("shared-fact", Severity.WARNING, words, subject=name, remedy="seal-again")


def _ways(standing: Standing) -> Iterator[Finding]:
    if len(standing.ways) > 1:
        ways = " or ".join(named_way(way) for way, _ in standing.ways)
        words = f"the keystore opens by {ways}: it is as strong as the weakest of them"
        yield Finding("weakest-binding", Severity.WARNING, words, remedy="remove-binding")
    for way, enabled in standing.ways:
        if not enabled:
            words = f"the keystore opens by {way} too, which is not enabled on this machine"
            yield Finding("way-not-enabled", Severity.WARNING, words, way, remedy="enable-way", about={"way": way})
    for former in standing.former:
        at = f" at {former.path}" if former.path else ""
        words = f"{named_way(former.way)}{at} no longer opens the keystore, but it opens copies from before"
        yield Finding("older-secret", Severity.WARNING, words, former.way, former.left_at, remedy="rekey-after-binding")


class Mending(TypedDict):
    """What mends a finding: the remedy, and what it is about."""

    remedy: str
    about: Mapping[str, str]


def more_facts(unreadable: Sequence[str], *, weak: bool = False) -> Mending:
    """Return what makes a binding stronger: a file that this user may not read. Without one, what else helps."""
    if unreadable:
        return {"remedy": "read-fact", "about": {"file": unreadable[0]}}
    if weak:
        return {"remedy": "show-binding", "about": {}}
    return {"remedy": "before-a-repair", "about": {}}


def _storage(standing: Standing) -> Iterator[Finding]:
    if standing.volatile:
        yield Finding("volatile-storage", Severity.WARNING, standing.volatile, remedy="move-to-a-volume")


def _licenses(standing: Standing) -> Iterator[Finding]:
    for tag, bits in standing.licenses.items():
        if bits < STRONG:
            words = (
                f"license {tag} has fewer than {bits + STRENGTH_STEP} bits, of {STRONG} that it needs: "
                "a thief of the machine can guess it"
            )
            yield Finding("weak-license", Severity.WARNING, words, tag, remedy="stronger-license")


def _expired(standing: Standing) -> Iterator[Finding]:
    expired = [key for key in standing.needed if key.successor is None and key.expires_at <= standing.now]
    for key in [key for key in expired if key.revoked_at is None and not key.pending][:_NAMED]:
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


def _due(standing: Standing) -> Iterator[Finding]:
    if standing.counts.due:
        words = f"{plural(standing.counts.due, 'key')} due for rotation"
        yield Finding("rotation-due", Severity.WARNING, words, remedy="rotate-due")


def _old_keys(standing: Standing) -> Iterator[Finding]:
    limit = standing.limits.key_age
    if limit is None:
        return
    for key in [
        key for key in standing.needed if key.status is Status.ACTIVE and standing.now - key.created_at > limit
    ][:_NAMED]:
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


def _orphaned(standing: Standing) -> Iterator[Finding]:
    for record, key_id in standing.orphaned[:_NAMED]:
        words = f"{_name(record)} is encrypted under key {key_id}, which this keystore does not hold"
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
    if len(standing.orphaned) > _NAMED:
        words = f"{plural(len(standing.orphaned) - _NAMED, 'more container')} like these"
        yield Finding("key-missing", Severity.LAG, words, remedy="list-containers")


def _containers(standing: Standing) -> Iterator[Finding]:
    for record, key in standing.exposed[:_NAMED]:
        yield Finding(
            "needs-reencryption",
            Severity.LAG,
            f"{_name(record)} is still encrypted under revoked key {key.key_id}",
            record.file_id.hex(),
            key.revoked_at,
            remedy="recover-this",
            about={"path": record.path},
        )
    past = [(record, key) for record, key in standing.lagging if key.decrypt_until <= standing.now]
    for record, key in past[:_NAMED]:
        yield Finding(
            "container-out-of-reach",
            Severity.ERROR,
            f"{_name(record)} is only on key {key.key_id}, which decrypted until {rfc3339(key.decrypt_until)}",
            record.file_id.hex(),
            key.decrypt_until,
            remedy="rotate-and-rewrap",
            about={"path": record.path, "model": key.model_id},
            error=ExpiredError,
        )
    lagging = [pair for pair in standing.lagging if pair not in past]
    for record, key in lagging[:_NAMED]:
        yield Finding(
            "container-lagging",
            Severity.LAG,
            f"{_name(record)} is still on key {key.key_id}, which decrypts until {rfc3339(key.decrypt_until)}",
            record.file_id.hex(),
            key.rotated_at,
            remedy="rewrap-this",
            about={"path": record.path},
        )
    for name, listed in (("needs-reencryption", standing.exposed), ("container-lagging", lagging)):
        if len(listed) > _NAMED:
            words = f"{plural(len(listed) - _NAMED, 'more container')} like these"
            yield Finding(name, Severity.LAG, words, remedy="list-containers")


def _backups(standing: Standing) -> Iterator[Finding]:
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


def _fleet(standing: Standing) -> Iterator[Finding]:
    for node in standing.behind[:_NAMED]:
        yield from _behind(node)
    more = len(standing.behind) - _NAMED
    if more > 0:
        worst = Severity.LAG if any(_lags(node) for node in standing.behind[_NAMED:]) else Severity.WARNING
        yield Finding("node-behind", worst, f"{plural(more, 'more node')} like these", remedy="fleet-status")
    for one in standing.waiting:
        if one.promote_at <= standing.now:
            who = ", ".join(one.missing[:_NAMED])
            yield Finding(
                "promotion-overdue",
                Severity.LAG,
                f"key {one.new.key_id} is overdue for promotion{f'; not acknowledged by {who}' if who else ''}",
                one.new.key_id,
                one.promote_at,
                remedy="promote-anyway",
            )


def _scopes(standing: Standing) -> Iterator[Finding]:
    for issuer in standing.assumed[:_NAMED]:
        words = f"issuer '{issuer.name}' may speak for {scope_text(issuer.scope or ())}, by the keys that it had sent"
        yield Finding(
            "scope-assumed",
            Severity.WARNING,
            words,
            issuer.name,
            remedy="state-scope",
            about={"card": f"{issuer.name}.card", "node_id": issuer.node_id},
        )


def _lists(standing: Standing) -> Iterator[Finding]:
    for issuer, end in standing.ended:
        words = f"the newest list of issuer '{issuer}' ended: later revocations and releases are unknown"
        yield Finding("list-ended", Severity.WARNING, words, issuer, since=end, remedy="receive-list")


def _behind(node: NodeBehind) -> Iterator[Finding]:
    """Yield the worst that is known of a node, and that its state is unknown."""
    name = node.name
    if node.conflict:
        words = f"node '{name}' holds a conflicting audit history: {node.conflict}"
        yield Finding("node-conflict", Severity.ERROR, words, name, remedy="node-conflict", error=IntegrityError)
    elif node.went_back_at is not None:
        words = f"node '{name}' went back to an older state, and has not acknowledged all that it lacks"
        yield Finding("went-back", Severity.LAG, words, name, node.went_back_at, remedy="sync-fleet")
    elif node.lacks_revocation:
        words = f"node '{name}' has not acknowledged a revocation"
        yield Finding("node-without-revocation", Severity.LAG, words, name, remedy="sync-fleet")
    elif node.is_behind:
        words = f"node '{name}' has not acknowledged everything that was sent"
        yield Finding("node-behind", Severity.WARNING, words, name, remedy="sync-fleet")
    if node.refused:
        words = f"node '{name}' refused {plural(len(node.refused), 'envelope')}; the last: {node.refused[-1]}"
        yield Finding("node-refused", Severity.LAG, words, name, remedy="node-refused", about={"node": name})
    if node.unheard_since is not None:
        words = f"node '{name}' has not answered for a day: whether it still has everything is not known"
        yield Finding("unheard", Severity.LAG, words, name, node.unheard_since, remedy="sync-fleet")


def _lags(node: NodeBehind) -> bool:
    timed = node.went_back_at is not None or node.unheard_since is not None
    return node.lacks_revocation or timed or bool(node.refused)


def _rekeyed(standing: Standing) -> Iterator[Finding]:
    """Yield what the old root still opens: the key first, because the containers are to be under a new one."""
    older = standing.older
    if older is None:
        return
    severity = Severity.LAG if older.compromised else Severity.WARNING
    renewed = f"the rekey of {rfc3339(older.at)}"
    if older.key is not None:
        words = f"key {older.key.key_id} is older than {renewed}, and encrypts"
        yield Finding("rekeyed", severity, words, older.key.key_id, older.at, remedy="rotate-older")
    for record in older.containers[:_NAMED]:
        words = f"{_name(record)} was encrypted before {renewed}"
        yield Finding(
            "rekeyed",
            severity,
            words,
            record.file_id.hex(),
            older.at,
            remedy="reencrypt-older",
            about={"path": record.path},
        )
    if len(older.containers) > _NAMED:
        words = f"{plural(len(older.containers) - _NAMED, 'more container')} like these"
        yield Finding("rekeyed", severity, words, since=older.at, remedy="list-containers")


def _rehearsal(standing: Standing) -> Iterator[Finding]:
    if standing.rehearsal:
        words = "this keystore is a rehearsal: it lists, verifies and decrypts, and signs, sends and changes nothing"
        yield Finding(
            "rehearsal", Severity.WARNING, words, remedy="end-rehearsal", about={"folder": standing.rehearsal}
        )


def _leftovers(standing: Standing) -> Iterator[Finding]:
    for what in standing.unfinished[:_NAMED]:
        yield Finding("open-intent", Severity.WARNING, f"{what} was begun but not finished", remedy="settle")
    if standing.older_copy:
        words = f"{standing.older_copy} is a copy of the keystore from before its schema was upgraded"
        yield Finding("schema-copy", Severity.WARNING, words, remedy="schema-copy")


def _receivers(standing: Standing) -> Iterator[Finding]:
    for name, cursor in standing.receivers.items():
        if cursor.failed_since is not None:
            words = f"audit records or events do not reach {name!r}: {cursor.reason}"
            since = Instant(cursor.failed_since)
            yield Finding("receiver-failing", Severity.WARNING, words, name, since, remedy="check-receiver")
        if cursor.lost:
            words = f"{plural(cursor.lost, 'event')} that {name!r} did not take in time became one"
            yield Finding("events-merged", Severity.WARNING, words, name, remedy="read-log")


Rule = Callable[[Standing], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    _rehearsal,
    _clock,
    _expired,
    _due,
    _old_keys,
    _orphaned,
    _containers,
    _backups,
    _fleet,
    _scopes,
    _lists,
    _binding,
    _ways,
    _storage,
    _licenses,
    _rekeyed,
    _leftovers,
    _receivers,
)


OF_REHEARSAL: tuple[Rule, ...] = (_rehearsal, _clock, _expired, _containers, _binding, _licenses)
"""The rules for a rehearsal, which has no backups, no fleet and no timer of its own."""


def strict_error(found: Iterable[Finding]) -> RefusedError | None:
    """Return the error of a caller that counts warnings: the first warning, as a refusal."""
    first = next((finding for finding in found if finding.severity is Severity.WARNING), None)
    return None if first is None else RefusedError(first.message, remedy=first.remedy, about=first.about)


def _name(record: ContainerRecord) -> str:
    return record.path or f"container {record.file_id.hex()}"
