"""What the rules look at: one snapshot of a keystore, and the machine.

Come here to let a rule look at something more; core/operations/keystore_status.py gathers it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.dispatch.peers import Peer
from tiktrue_keys.core.fingerprint import Binding, DriftReport
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.deadlines import KeyCounts
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keys.promotion import Waiting
from tiktrue_keys.core.keys.renewed import OlderThanRoot
from tiktrue_keys.core.keystore.clock import ClockReading
from tiktrue_keys.core.keystore.cursors import Cursor
from tiktrue_keys.core.keystore.former_ways import FormerWay
from tiktrue_keys.core.limits import DEFAULT_LIMITS, Limits


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
    records, and how far; `misplaced` names those whose cursor is beyond the log. `ways` are those in which the keystore
    opens, and whether each is enabled here; `former` open
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
    misplaced: Sequence[str] = ()
    ways: Sequence[tuple[str, bool]] = ()
    former: Sequence[FormerWay] = ()

    @property
    def now(self) -> Instant:
        """The effective time."""
        return self.clock.effective
