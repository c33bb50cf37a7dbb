"""Read access to a keystore: keys, chains, containers and the audit log.

Come here for questions about a keystore; KeyManager inherits these methods. They record nothing and need no license.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.containers import intents, registry
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import Instant, Seconds
from tiktrue_keys.core.keys import keyring
from tiktrue_keys.core.keys.lifecycle import DEFAULT_WITHIN, ManagedKey
from tiktrue_keys.core.keys.rotation_event import KeyRotationEvent
from tiktrue_keys.core.keystore.clock import ClockReading
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.limits import DEFAULT_LIMITS, Limits
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import IntegrityError

if TYPE_CHECKING:
    from tiktrue_keys.core.approvals.policy import Policy
    from tiktrue_keys.core.audit.checkpoint import Checkpoint
    from tiktrue_keys.core.audit.keystore_event import KeystoreEvent
    from tiktrue_keys.core.audit.proof import InclusionProof
    from tiktrue_keys.core.dispatch.releases import CountingRelease, Release
    from tiktrue_keys.core.keys.authority import Signer
    from tiktrue_keys.core.keys.deadlines import KeyCounts
    from tiktrue_keys.core.keys.packed import PackedKeys
    from tiktrue_keys.core.operations.approvals import Standing
    from tiktrue_keys.core.operations.keystore_status import KeystoreStatus
    from tiktrue_keys.core.operations.verify import Verified

_RECORDS_AT_ONCE = 256


class KeystoreReader:
    """The methods of KeyManager that read."""

    def __init__(self, session: KeystoreSession) -> None:
        self._session = session

    @property
    def session(self) -> KeystoreSession:
        """Return the keystore session, for operations outside the core (fleet, recovery)."""
        return self._session

    def is_read_only(self) -> bool:
        """Whether there is a keystore and this process may not write to it."""
        return self._session.is_read_only()

    @property
    def requires_fresh_lists(self) -> bool:
        """Whether a key whose revocation list has ended decrypts nothing, and is not only warned of."""
        return self._session.revocations.strict

    def require_fresh_lists(self) -> None:
        """Let a key whose revocation list has ended decrypt nothing from now on."""
        self._session.revocations.strict = True

    def find(self, key_argument: str) -> ManagedKey:
        """Return the key that a key id, a model id (its active key) or a short id names.

        Raises NotFoundError when there is none, UsageError when there are several.
        """
        with self._session.read() as (view, now):
            return keyring.find_key(view.rows, key_argument, now).key

    def holds(self, key_id: str) -> bool:
        """Return whether a key of that id is in the keystore, in whatever state."""
        with self._session.read() as (view, now):
            return keyring.get_key(view.rows, key_id, now) is not None

    def keys(self, models: Collection[str] = ()) -> Iterator[ManagedKey]:
        """Return every key as of now, or those of some models, in no order.

        Without models, every row of the keystore is verified before the first key is returned.
        """
        return iter(self.select_keys(models))

    def select_keys(
        self,
        models: Collection[str] = (),
        *,
        accept: Callable[[ManagedKey], bool] | None = None,
        order: Callable[[ManagedKey], tuple[Any, ...]] | None = None,
    ) -> PackedKeys:
        """Return the keys that `accept` takes, sorted by `order`, in a sequence that needs about 200 bytes a key.

        Without models, every row of the keystore is verified first. `accept` may not use this manager.
        """
        from tiktrue_keys.core.keys.packed import PackedKeys

        with self._session.read() as (view, now):
            stored = (
                chain.from_iterable(keyring.keys_of_model(view.rows, model, now) for model in models)
                if models
                else keyring.all_keys(view.rows, now)
            )
            keys = (each.key for each in stored)
            return PackedKeys(keys if accept is None else filter(accept, keys), order=order)

    def key_counts(self, *, within: int = DEFAULT_WITHIN) -> KeyCounts:
        """Return how many keys have which status, how many are due within so many seconds, and the next expiry.

        Reads the agenda, not every key.
        """
        from tiktrue_keys.core.keys.deadlines import key_counts

        with self._session.read() as (view, now):
            return key_counts(view.rows, now, Seconds(within))

    def status(self, *, within: int = DEFAULT_WITHIN, limits: Limits = DEFAULT_LIMITS) -> KeystoreStatus:
        """Return the standing of the keystore: findings, keys by status, deadlines, backups, escrow, clock and fleet.

        `within` is how many seconds ahead a key counts as due for rotation; past `limits` there are findings.
        """
        from tiktrue_keys.core.operations.keystore_status import keystore_status

        return keystore_status(self._session, Seconds(within), limits)

    def approval_policy(self) -> Policy:
        """Return which operations need how many approvals, and whose keys approve."""
        from tiktrue_keys.core.operations.approvals import approval_policy

        return approval_policy(self._session)

    def approvals(self) -> tuple[Standing, ...]:
        """Return the plans of operations that need approval, by number; those that ended for 30 days."""
        from tiktrue_keys.core.operations.approvals import approvals

        return approvals(self._session)

    def approval_text(self, number: int) -> bytes:
        """Return the text of a plan, which its approvers sign as it is.

        Raises NotFoundError for an unknown plan, RefusedError for one that was used, has expired or does not hold.
        """
        from tiktrue_keys.core.operations.approvals import approval_text

        return approval_text(self._session, number)

    def verify(self) -> Verified:
        """Verify every row and audit record, the agenda, and the file by SQLite's own check; return how many there are.

        Raises IntegrityError for the first that is not intact.
        """
        from tiktrue_keys.core.operations.verify import verify

        return verify(self._session)

    def chain(self, key: ManagedKey | str) -> tuple[ManagedKey, ...]:
        """Return the chain that a key belongs to, oldest generation first."""
        with self._session.read() as (view, now):
            start = key if isinstance(key, ManagedKey) else keyring.find_key(view.rows, key, now).key
            return tuple(stored.key for stored in keyring.chain_of(view.rows, start, now))

    def rotation_event(self, key_id: str) -> KeyRotationEvent | None:
        """Return the rotation of a key with the clients that were notified, or None while the key has no successor."""
        from tiktrue_keys.core.dispatch import deliveries

        with self._session.read() as (view, _):
            stored = view.rows.get(RecordKind.ROTATION, key_id)
            return KeyRotationEvent.from_json(stored, deliveries.requests_of(view.rows, key_id)) if stored else None

    def is_revoked(self, key_id: str) -> bool:
        """Return whether a key is revoked. Raises NotFoundError for an unknown key."""
        return self.find(key_id).revoked_at is not None

    def document(self) -> Document:
        """Return the keystore's public header: ids, epoch, costs, slots and public keys."""
        with self._session.read() as (view, _):
            return view.document

    def host_secret_path(self) -> Path:
        """Return the path of the host secret that the keystore was opened with."""
        return self._session.secret_path()

    def mark_paths(self) -> tuple[Path, ...]:
        """Return the paths of the keystore's high-water marks: one for each folder that may hold one."""
        return self._session.mark_paths()

    def now(self) -> Instant:
        """Return the effective time: the clock, but never earlier than the newest audit record and the heartbeat."""
        with self._session.read() as (_, now):
            return now

    def clock_reading(self) -> ClockReading:
        """Return the clock and everything that it is judged by."""
        with self._session.read() as (view, _):
            return self._session.clock_reading(view)

    def containers(self, key_id: str | None = None) -> tuple[ContainerRecord, ...]:
        """Return the registered containers: all of them, or those that one key opens."""
        with self._session.read() as (view, _):
            return registry.all_containers(view.rows) if key_id is None else registry.containers_of(view.rows, key_id)

    def lagging_containers(self) -> tuple[ContainerRecord, ...]:
        """Return the registered containers that a rotation has left behind, sorted by path; not those archived."""
        from tiktrue_keys.core.operations.lagging import lagging_containers

        with self._session.read() as (view, now):
            return lagging_containers(view.rows, now)

    def container(self, file_id: bytes) -> ContainerRecord | None:
        """Return the registry row of a container, or None."""
        with self._session.read() as (view, _):
            return registry.get_container(view.rows, file_id)

    def registered_at(self, file_id: bytes, location: str | None = None) -> tuple[ContainerRecord, ...]:
        """Return the locations of a container, or the one at `location`. Raises NotFoundError where there is none."""
        with self._session.read() as (view, _):
            return tuple(registry.registered_at(view.rows, file_id, location))

    def locations(self, file_id: bytes) -> tuple[ContainerRecord, ...]:
        """Return the registry rows of a container, one for each location."""
        with self._session.read() as (view, _):
            return registry.locations_of(view.rows, file_id)

    def locations_by_id(self, file_ids: Iterable[bytes]) -> dict[bytes, tuple[ContainerRecord, ...]]:
        """Return the registry rows of many containers in one read, without those that have none."""
        with self._session.read() as (view, _):
            found = {file_id: registry.locations_of(view.rows, file_id) for file_id in file_ids}
        return {file_id: records for file_id, records in found.items() if records}

    def open_intents(self) -> tuple[FileIntent, ...]:
        """Return the file operations that were begun and not finished."""
        with self._session.read() as (view, _):
            return intents.open_intents(view.rows)

    def audit_records(self, *, start: int = 0, backwards: bool = False) -> Iterator[AuditRecord]:
        """Yield the audit records from `start` to the newest, or backwards from the newest to `start`.

        Records that are appended while it runs are left out.
        """
        size = self.audit_size()
        numbers = range(size - 1, start - 1, -1) if backwards else range(start, size)
        for first in range(0, len(numbers), _RECORDS_AT_ONCE):
            ends = numbers[first], numbers[min(first + _RECORDS_AT_ONCE, len(numbers)) - 1]
            # Records never change, so a snapshot per batch gives the same records as a single one.
            with self._session.read() as (view, _):
                batch = view.audit.records(min(ends), max(ends) + 1)
            yield from reversed(batch) if backwards else batch

    def events(self, *, after: str | None = None) -> Iterator[KeystoreEvent]:
        """Yield the events of this keystore, the oldest first: those after the event with the id `after`, or all.

        What time brings (a key due, a backup that is old) is among them once raise_findings or `rotate --due` has met
        it. Raises UsageError for a malformed id.
        """
        from tiktrue_keys.core.audit.keystore_event import parse_event_id

        with self._session.read() as (view, _):
            log, start = view.audit, 0
            if after is not None:
                epoch, number = parse_event_id(after)
                # A restore uses the numbers after its backup again.
                start = log.size if epoch > view.document.epoch else min(number + 1, log.first_of_epoch(epoch + 1))
        return self.events_from(start)

    def events_from(self, number: int) -> Iterator[KeystoreEvent]:
        """Yield the events of the audit records from `number` on."""
        from tiktrue_keys.core.audit.keystore_event import event_of

        events = (event_of(record) for record in self.audit_records(start=number))
        return (event for event in events if event is not None)

    def audit_leaves(self) -> Iterator[bytes]:
        """Yield the sealed records in order; they are the leaves of the audit tree."""
        size = self.audit_size()
        for first in range(0, size, _RECORDS_AT_ONCE):
            with self._session.read() as (view, _):
                batch = [leaf for _, leaf in view.audit.leaves(first, min(first + _RECORDS_AT_ONCE, size))]
            yield from batch

    def trusted_issuers(self) -> tuple[bytes, ...]:
        """Return the Ed25519 public keys (32 bytes) of this keystore and its pinned issuers.

        Which of them signs the containers of a model, `authority` says.
        """
        from tiktrue_keys.core.dispatch import peers

        with self._session.read() as (view, _):
            pinned = [peer.identity_key for peer in peers.peers(view.rows, peers.ISSUER)]
            return (view.document.identity_key, *pinned)

    def authority(self, model_id: str) -> Signer:
        """Return the keystore whose signature counts for a model: this one, or the issuer whose scope has the model."""
        from tiktrue_keys.core.keys.authority import signer_of

        with self._session.read() as (view, _):
            return signer_of(view, model_id)

    def former_signer(
        self, key: bytes, model_id: str, named: Mapping[bytes, bytes], *, compromised: bool = False
    ) -> Signer | None:
        """Return the issuer with this Ed25519 key whose earlier signature still counts, or None.

        It counts if the registry or its last release names every container of `named` (roots by file id); that of a
        compromised issuer only if `compromised`.
        """
        from tiktrue_keys.core.keys.authority import former_signer

        with self._session.read() as (view, now):
            return former_signer(view, key, model_id, named, now, compromised=compromised)

    def must_be_authority(self, model_id: str) -> None:
        """Raise RefusedError unless this keystore is the authority of a model."""
        from tiktrue_keys.core.keys.authority import must_be_authority

        with self._session.read() as (view, _):
            must_be_authority(view.rows, model_id)

    def release_of(self, model_id: str) -> CountingRelease | None:
        """Return the release that counts for a model; None without one."""
        from tiktrue_keys.core.keys.counting_release import counting_release

        with self._session.read() as (view, now):
            return counting_release(view.rows, model_id, now)

    def releases(self) -> tuple[Release, ...]:
        """Return every release that was made here or received, sorted by model id."""
        from tiktrue_keys.core.dispatch import releases

        with self._session.read() as (view, _):
            return releases.all_releases(view.rows)

    def audit_size(self) -> int:
        """Return the number of records in the log."""
        with self._session.read() as (view, _):
            return view.audit.size

    def audit_checkpoint(self) -> str:
        """Return the signed note (C2SP tlog-checkpoint) over the present head."""
        with self._session.read() as (view, _):
            return view.state.checkpoint

    def audit_verify(self) -> int:
        """Verify every record against the tree and the signed head, and return the number of records.

        Raises IntegrityError that names the first bad record.
        """
        from tiktrue_keys.core.audit.checkpoint import open_note
        from tiktrue_keys.core.keystore.audit_log import origin_of

        with self._session.read() as (view, _):
            view.audit.verify()
            document = view.document
            origin = origin_of(document.keystore_id, document.epoch, rehearsal=document.rehearsal)
            note = open_note(view.state.checkpoint, origin=origin, public_key=document.audit_key)
            if (note.size, note.root) != (view.audit.size, view.audit.head()):
                raise IntegrityError("the checkpoint of the audit log is not over its present head")
            return view.audit.size

    def audit_must_extend(self, note: bytes) -> Checkpoint:
        """Return the checkpoint of a signed note of this epoch, which the log extends.

        Raises IntegrityError when the note is not this log's, or the log does not extend it.
        """
        from tiktrue_keys.core.operations.verify import extended_checkpoint

        with self._session.read() as (view, _):
            return extended_checkpoint(view, note)

    def audit_proof(self, number: int) -> InclusionProof:
        """Return the proof that record `number` is in the log, under the present head. Raises NotFoundError."""
        from tiktrue_keys.core.audit.proof import InclusionProof

        with self._session.read() as (view, _):
            path = tuple(view.audit.inclusion_proof(number))
            return InclusionProof(number, view.audit.size, view.audit.leaf(number), path, view.state.checkpoint)

    def audit_consistency(self, old_size: int) -> list[bytes]:
        """Return the proof that the present tree starts with the first `old_size` records."""
        with self._session.read() as (view, _):
            return view.audit.consistency_proof(old_size)
