"""What can be asked of a keystore: keys, chains, containers, the audit log. Records nothing, reads no license."""

from __future__ import annotations

from collections.abc import Iterator

from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.containers import intents, registry
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys import keyring
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keys.rotation_event import KeyRotationEvent
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import IntegrityError

_RECORDS_AT_ONCE = 256


class KeystoreReader:
    """The reading half of KeyManager."""

    def __init__(self, session: KeystoreSession) -> None:
        self._session = session

    @property
    def session(self) -> KeystoreSession:
        """The opened keystore, for acts that live above the core (fleet, recovery); nobody else needs it."""
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
        """The key of a key id, a model id (its active key) or a short id; NotFoundError, UsageError if several."""
        with self._session.read() as (view, now):
            return keyring.find_key(view.rows, key_argument, now).key

    def keys(self) -> Iterator[ManagedKey]:
        """Every key as of now, in no order; every row of the keystore has been verified before the first one comes."""
        with self._session.read() as (view, now):
            return iter([stored.key for stored in keyring.all_keys(view.rows, now)])

    def chain(self, key: ManagedKey | str) -> tuple[ManagedKey, ...]:
        """The chain of a key, oldest generation first."""
        with self._session.read() as (view, now):
            start = key if isinstance(key, ManagedKey) else keyring.find_key(view.rows, key, now).key
            return tuple(stored.key for stored in keyring.chain_of(view.rows, start, now))

    def rotation_event(self, key_id: str) -> KeyRotationEvent | None:
        """The rotation of a key, with the clients that were told; None while it has no successor."""
        from tiktrue_keys.core.dispatch import outbox

        with self._session.read() as (view, _):
            stored = view.rows.get(RecordKind.ROTATION, key_id)
            return KeyRotationEvent.from_json(stored, outbox.requests_of(view.rows, key_id)) if stored else None

    def is_revoked(self, key_id: str) -> bool:
        """Whether a key is revoked; NotFoundError for an unknown one."""
        return self.find(key_id).revoked_at is not None

    def document(self) -> Document:
        """The keystore's public header: ids, epoch, costs, slots, public keys."""
        with self._session.read() as (view, _):
            return view.document

    def now(self) -> Instant:
        """Effective time: the clock, but never before the newest audit record."""
        with self._session.read() as (_, now):
            return now

    def containers(self, key_id: str | None = None) -> tuple[ContainerRecord, ...]:
        """Registered containers: all, or those that one key opens."""
        with self._session.read() as (view, _):
            return registry.all_containers(view.rows) if key_id is None else registry.containers_of(view.rows, key_id)

    def container(self, file_id: bytes) -> ContainerRecord | None:
        """The registry's row of a container, or None."""
        with self._session.read() as (view, _):
            return registry.get_container(view.rows, file_id)

    def open_intents(self) -> tuple[FileIntent, ...]:
        """Acts on files that were begun and not finished."""
        with self._session.read() as (view, _):
            return intents.open_intents(view.rows)

    def audit_records(self, *, start: int = 0, backwards: bool = False) -> Iterator[AuditRecord]:
        """Audit records from `start` on, or from the newest back; those that come while it is read are left out."""
        size = self.audit_size()
        numbers = range(size - 1, start - 1, -1) if backwards else range(start, size)
        for first in range(0, len(numbers), _RECORDS_AT_ONCE):
            ends = numbers[first], numbers[min(first + _RECORDS_AT_ONCE, len(numbers)) - 1]
            # Records never change: a snapshot for each batch is as good as one for all.
            with self._session.read() as (view, _):
                batch = view.audit.records(min(ends), max(ends) + 1)
            yield from reversed(batch) if backwards else batch

    def audit_leaves(self) -> Iterator[bytes]:
        """The sealed records, which are the leaves of the tree, in order."""
        size = self.audit_size()
        for first in range(0, size, _RECORDS_AT_ONCE):
            with self._session.read() as (view, _):
                batch = [leaf for _, leaf in view.audit.leaves(first, min(first + _RECORDS_AT_ONCE, size))]
            yield from batch

    def trusted_issuers(self) -> tuple[bytes, ...]:
        """The Ed25519 public keys (32 bytes) whose containers are believed: its own, and its pinned issuers'."""
        from tiktrue_keys.core.dispatch import peers

        with self._session.read() as (view, _):
            pinned = [peer.identity_key for peer in peers.peers(view.rows, peers.ISSUER)]
            return (view.document.identity_key, *pinned)

    def audit_size(self) -> int:
        """How many records the log has."""
        with self._session.read() as (view, _):
            return view.audit.size

    def audit_checkpoint(self) -> str:
        """The signed note (C2SP tlog-checkpoint) over the present head."""
        with self._session.read() as (view, _):
            return view.state.checkpoint

    def audit_verify(self) -> int:
        """Verify every record against tree and signed head; returns how many. IntegrityError names the first bad."""
        from tiktrue_keys.core.audit.checkpoint import open_note
        from tiktrue_keys.core.keystore.audit_log import origin_of

        with self._session.read() as (view, _):
            view.audit.verify()
            document = view.document
            origin = origin_of(document.keystore_id, document.epoch)
            note = open_note(view.state.checkpoint, origin=origin, public_key=document.audit_key)
            if (note.size, note.root) != (view.audit.size, view.audit.head()):
                raise IntegrityError("the checkpoint of the audit log is not over its present head")
            return view.audit.size

    def audit_proof(self, number: int) -> tuple[bytes, list[bytes]]:
        """The leaf of record `number` and its inclusion proof under the present head."""
        with self._session.read() as (view, _):
            return view.audit.leaf(number), view.audit.inclusion_proof(number)

    def audit_consistency(self, old_size: int) -> list[bytes]:
        """The proof that the head over `old_size` records is a beginning of the present one."""
        with self._session.read() as (view, _):
            return view.audit.consistency_proof(old_size)
