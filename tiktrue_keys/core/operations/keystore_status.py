"""The operation `status`: one snapshot of the keystore and the machine, and what is not as it should be.

Come here for what status costs: the registry and the agenda are read, not every key. The rules are in core/findings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tiktrue_keys.core.containers.intents import open_intents
from tiktrue_keys.core.containers.registry import ContainerRecord, all_containers
from tiktrue_keys.core.dispatch.deliveries import lacking_revocation
from tiktrue_keys.core.dispatch.peers import ISSUER, NODE, all_progress, peers
from tiktrue_keys.core.dispatch.revocation_lists import known_list
from tiktrue_keys.core.findings.finding import Finding
from tiktrue_keys.core.findings.rules import findings
from tiktrue_keys.core.findings.standing import Backups, NodeBehind, Standing
from tiktrue_keys.core.fingerprint import drift, shared_anchors
from tiktrue_keys.core.instants import Instant, Seconds
from tiktrue_keys.core.keys.deadlines import Deadline, key_counts, upcoming
from tiktrue_keys.core.keys.licenses import license_strengths
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.keys.promotion import waiting
from tiktrue_keys.core.keys.renewed import older_than_root
from tiktrue_keys.core.keys.standing_refusals import standing_refusals
from tiktrue_keys.core.keystore.bind import binding_here, read_dropped
from tiktrue_keys.core.keystore.cursors import is_misplaced, read_cursors
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.former_ways import former_ways
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.slots import ways_of
from tiktrue_keys.core.keystore.transaction import Snapshot
from tiktrue_keys.core.keystore.volatile import volatile_of
from tiktrue_keys.core.limits import DEFAULT_LIMITS, Limits
from tiktrue_keys.core.operations.bind_device import is_enabled
from tiktrue_keys.core.operations.lagging import BEHIND, best_key, is_watched, keys_of_containers
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.core.upgrade import older_copies

DEADLINES = 3


@dataclass(frozen=True)
class KeystoreStatus:
    """The standing of a keystore, its findings, its next deadlines and its number of registered containers."""

    document: Document
    standing: Standing
    findings: tuple[Finding, ...]
    deadlines: tuple[Deadline, ...]
    containers: int
    nodes: int


def keystore_status(session: KeystoreSession, within: Seconds, limits: Limits = DEFAULT_LIMITS) -> KeystoreStatus:
    """Return the status at this moment. Records nothing and needs no license."""
    with session.read() as (view, now):
        containers = all_containers(view.rows)
        standing = replace(_standing(session, view, now, within, containers), limits=limits)
        nodes = [each for each in all_progress(view.rows).values() if each.role == NODE]
        deadlines = upcoming(view.rows, now, DEADLINES)
        return KeystoreStatus(
            view.document, standing, findings(standing), tuple(deadlines), len(containers), len(nodes)
        )


def _standing(
    session: KeystoreSession, view: Snapshot, now: Instant, within: Seconds, containers: tuple[ContainerRecord, ...]
) -> Standing:
    rows = view.rows
    binding, awaited = binding_here(rows, session.facts())
    keys = keys_of_containers(rows, containers, now)
    best = [(record, best_key(record, keys)) for record in containers if is_watched(record)]
    held = [(record, key) for record, key in best if key is not None]
    orphaned = [(record, min(record.keys - keys.keys())) for record in containers if record.keys - keys.keys()]
    escrow = rows.get(RecordKind.ESCROW, "escrow")
    receivers = read_cursors(session.place.folder)
    return Standing(
        clock=session.clock_reading(view),
        binding=binding,
        drift=drift(binding, session.facts()),
        unreadable=session.facts().unreadable,
        licenses=license_strengths(rows, session.root_keys),
        dropped=[kind.value for kind in read_dropped(rows)],
        replacing=[anchor.kind.value for anchor in awaited],
        shared={kind.value: flaw for kind, flaw in shared_anchors(binding, session.facts()).items()},
        counts=key_counts(rows, now, within),
        backups=_backups(rows),
        escrow_created_at=Instant(escrow["created_at"]) if escrow else None,
        escrow_verified_at=escrow["verified_at"] if escrow else None,
        needed=sorted(keys.values(), key=lambda key: key.order),
        lagging=[(record, key) for record, key in held if key.status in BEHIND],
        exposed=[(record, key) for record, key in held if key.status is Status.REVOKED],
        waiting=waiting(rows, now),
        behind=list(_behind(rows, now)),
        assumed=[issuer for issuer in peers(rows, ISSUER) if issuer.scope_assumed],
        ended=list(_ended(rows, now)),
        older=older_than_root(view, now, containers),
        unfinished=[f"{each.operation} of {each.path or each.file_id.hex()}" for each in open_intents(rows)],
        orphaned=orphaned,
        replaced=_newest_replaced(session.place.folder) if orphaned else "",
        receivers=receivers,
        misplaced=[
            name for name, each in receivers.items() if is_misplaced(each, view.audit.size, view.document.epoch)
        ],
        rehearsal=view.document.marks_path if view.document.rehearsal else "",
        ways=[(each, is_enabled(session, each)) for each in ways_of(view.document)],
        former=former_ways(rows),
        older_copy=next(iter(older_copies(session.place.folder)), ""),
        volatile=found.words if (found := volatile_of(view.document, session.place)) else "",
    )


def _newest_replaced(folder: Path) -> str:
    return max((str(path) for path in folder.glob("keystore-*.replaced.db")), default="")


def _backups(rows: Rows) -> Backups:
    note, upgraded = rows.get(RecordKind.BACKUP, "backup"), rows.get(RecordKind.BACKUP, "schema")
    finished = [each for each in (note, upgraded) if each is not None and each.get("size")]
    if not finished:
        return Backups()
    return Backups(
        Instant(max(each["at"] for each in finished)),
        max(each["size"] for each in finished),
        holds_escrow=bool(note and note["done"]),
    )


def _ended(rows: Rows, now: Instant) -> Iterator[tuple[str, Instant]]:
    """Yield the issuers whose newest revocation list has ended: they are silent, or their carrier keeps news back."""
    for issuer in peers(rows, ISSUER):
        known = known_list(rows, issuer.node_id)
        if known is not None and now >= known.valid_until:
            yield issuer.name, known.valid_until


def _behind(rows: Rows, now: Instant) -> Iterator[NodeBehind]:
    fleet = {node_id: each for node_id, each in all_progress(rows).items() if each.role == NODE}
    without = lacking_revocation(rows, fleet)
    for node_id, each in sorted(fleet.items(), key=lambda item: item[1].name):
        unheard, went_back = each.unheard_since(now), Instant(each.went_back_at) if each.went_back_at else None
        refused = [one.reason for one in standing_refusals(rows, each, now)]
        if each.conflict or each.is_behind or unheard or went_back or refused:
            lacks = node_id in without
            yield NodeBehind(each.name, lacks, each.conflict, went_back, unheard, each.is_behind, refused)
