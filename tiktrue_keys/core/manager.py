"""KeyManager: the keystore of this machine as one object, one method an act, every result frozen.

Thread-safe; its async methods run in a worker thread and do not block the loop. It prints nothing and asks nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tiktrue_keys.core import derivation
from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.containers import intents, registry
from tiktrue_keys.core.containers.intents import NO_OTHERS, FileIntent, Settlement
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import Seconds
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import (
    DEFAULT_DECRYPT_FOR,
    DEFAULT_DESTROY_AFTER,
    DEFAULT_LIFETIME,
    DEFAULT_OVERLAP,
    DEFAULT_WITHIN,
    ManagedKey,
    Use,
)
from tiktrue_keys.core.keystore.paths import KeystorePaths, default_folder
from tiktrue_keys.core.keystore.replay import chosen_operation_id, first_result
from tiktrue_keys.core.names import parse_operation_id
from tiktrue_keys.core.reader import KeystoreReader
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import InternalError, UsageError, WrongMachineError

if TYPE_CHECKING:
    from tiktrue_keys.core.keys.destruction import WrapsIn
    from tiktrue_keys.core.keys.key_results import OpenedKey
    from tiktrue_keys.core.operations.backup import BackedUp
    from tiktrue_keys.core.operations.export_public import ExportedPublic
    from tiktrue_keys.core.operations.forget import Forgotten
    from tiktrue_keys.core.operations.rebind import Rebound
    from tiktrue_keys.core.operations.relicense import Relicensed
    from tiktrue_keys.core.operations.restore import RestoredKeystore
    from tiktrue_keys.core.operations.results import (
        CleanupResult,
        GenerateResult,
        RevokeResult,
        RotateResult,
        ValidateResult,
    )

# Acts are imported by the method that needs them: a command does one, and all together cost as much as the rest.


class KeyManager(KeystoreReader):
    """Administers the keys of one keystore folder.

    `storage_dir` None: /var/lib/tiktrue-keys for root, else the platform's data folder. `host_secret_file` names the
    host secret of a new keystore; an existing one remembers its own. The keystore is opened when first needed and made
    by the first `generate`.
    """

    def __init__(
        self,
        storage_dir: str | PathLike[str] | None = None,
        *,
        host_secret_file: str | PathLike[str] | None = None,
        lock_timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
        actor: Actor | None = None,
        pbkdf2_rounds: int = derivation.PBKDF2_ROUNDS,
    ) -> None:
        folder = _path(storage_dir) if storage_dir is not None else default_folder()
        secret = _path(host_secret_file) if host_secret_file is not None else None
        place = KeystorePaths(folder, secret, lock_timeout)
        super().__init__(KeystoreSession(place, clock=clock, actor=actor, rounds=pbkdf2_rounds))

    @property
    def path(self) -> Path:
        """The keystore's folder, absolute."""
        return self._session.place.folder

    def exists(self) -> bool:
        """Whether there is a keystore in the folder."""
        return self._session.exists()

    def close(self) -> None:
        """Close the file and wipe every secret; the manager opens again when it is used again."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Acts. Each takes `operation_id`: one chosen by the caller names the act; repeating it returns the first result.

    def generate(
        self,
        model_id: str,
        *,
        license_key: License | None = None,
        lifetime: int = DEFAULT_LIFETIME,
        decrypt_for: int = DEFAULT_DECRYPT_FOR,
        labels: Mapping[str, str] | None = None,
        no_license: bool = False,
        count: int = 1,
        new_chain: bool = False,
        new_license: bool = False,
        material: bytes | None = None,
        operation_id: str | None = None,
    ) -> GenerateResult:
        """Start a chain of keys for a model (or `count` numbered ones); periods in seconds, `material` 32 bytes.

        Makes the keystore when there is none. RefusedError when the model has a live key, WrongLicenseError for a
        license that the keystore does not know.
        """
        from tiktrue_keys.core.keys.creation import KeyTerms
        from tiktrue_keys.core.operations.generate import GenerateRequest, generate

        terms = KeyTerms(Seconds(lifetime), Seconds(decrypt_for), dict(labels or {}))
        request = GenerateRequest(model_id, license_key, terms, no_license, count, new_chain, new_license, material)
        return generate(self._session, request, operation_id)

    def rotate(
        self,
        keys: Sequence[str] = (),
        *,
        every: bool = False,
        due: bool = False,
        license_key: License | None = None,
        within: int = DEFAULT_WITHIN,
        lifetime: int | None = None,
        overlap: int = DEFAULT_OVERLAP,
        atomic: bool = False,
        notify: Sequence[str] = (),
        notify_all: bool = False,
        prepublish: int | None = None,
        min_acks: int | None = None,
        dry_run: bool = False,
        operation_id: str | None = None,
    ) -> RotateResult:
        """Give keys a successor: those named, every one, or those due. The result lists containers to rewrap.

        Nodes among `notify`, or all with `notify_all`, get the successor through the outbox. With `prepublish` it stays
        pending for so many seconds at least, and until `min_acks` of them have it; `fleet sync` promotes it.
        """
        from tiktrue_keys.core.keys.rotation import RotationTerms
        from tiktrue_keys.core.operations.rotate import RotateRequest, rotate

        terms = RotationTerms(
            Seconds(overlap),
            None if lifetime is None else Seconds(lifetime),
            _listed(notify),
            notify_all=notify_all,
            prepublish=None if prepublish is None else Seconds(prepublish),
            min_acks=min_acks,
        )
        request = RotateRequest(_listed(keys), every, due, Seconds(within), license_key, terms, atomic, dry_run)
        return rotate(self._session, request, operation_id)

    def revoke(
        self,
        keys: Sequence[str] = (),
        *,
        reason: str,
        model: str | None = None,
        rotate: bool = False,
        license_key: License | None = None,
        dry_run: bool = False,
        operation_id: str | None = None,
    ) -> RevokeResult:
        """Revoke keys, or every generation of a model: immediate and final. `rotate` makes successors in the act."""
        from tiktrue_keys.core.operations.revoke import RevokeRequest, revoke

        request = RevokeRequest(reason, _listed(keys), model, rotate, license_key, dry_run)
        return revoke(self._session, request, operation_id)

    def cleanup(
        self,
        keys: Sequence[str] = (),
        *,
        after: int = DEFAULT_DESTROY_AFTER,
        dry_run: bool = False,
        cancel: Sequence[str] = (),
        confirm: Sequence[str] = (),
        wraps_in: WrapsIn | None = None,
        operation_id: str | None = None,
    ) -> CleanupResult:
        """One run of cleanup: marks what nobody needs, destroys what an earlier run marked `after` seconds ago."""
        from tiktrue_keys.core.operations.cleanup import CleanupRequest, clean_up

        request = CleanupRequest(_listed(keys), Seconds(after), dry_run, _listed(cancel), _listed(confirm), wraps_in)
        return clean_up(self._session, request, operation_id)

    def validate(self, keys: Sequence[str] = (), *, deep: bool = False) -> ValidateResult:
        """Check keys (all without arguments) and the binding; reads no license and records nothing."""
        from tiktrue_keys.core.operations.validate import validate

        return validate(self._session, _listed(keys), deep=deep)

    def relicense(
        self, old_license: License, new_license: License, *, dry_run: bool = False, operation_id: str | None = None
    ) -> Relicensed:
        """Move every key of one license to another, in one transaction; the old license is then known no more."""
        from tiktrue_keys.core.operations.relicense import relicense

        return relicense(self._session, old_license, new_license, dry_run=dry_run, operation_id=operation_id)

    def rebind(
        self, license_key: License | None = None, *, dry_run: bool = False, operation_id: str | None = None
    ) -> Rebound:
        """Seal the keystore anew to this machine as it is now; needs a license where the keystore knows one."""
        from tiktrue_keys.core.operations.rebind import rebind

        return rebind(self._session, license_key, dry_run=dry_run, operation_id=operation_id)

    def export_public(
        self,
        key: str,
        license_key: License | None = None,
        *,
        destination: str | PathLike[str] | None = None,
        force: bool = False,
        operation_id: str | None = None,
    ) -> ExportedPublic:
        """The public half of an active key, which is marked as exported; raises as open_key for encryption.

        `destination` says where the caller is going to write it: RefusedError when something is there, unless `force`.
        """
        from tiktrue_keys.core.operations.export_public import export_public

        place = None if destination is None else _path(destination)
        return export_public(self._session, key, license_key, destination=place, force=force, operation_id=operation_id)

    def backup(
        self, destination: str | PathLike[str], *, force: bool = False, operation_id: str | None = None
    ) -> BackedUp:
        """Copy the keystore to a file, 0600; it opens here, with the host secret (not in it), or by its escrow."""
        from tiktrue_keys.core.operations.backup import backup

        return backup(self._session, _path(destination), force=force, operation_id=operation_id)

    def restore(
        self, source: str | PathLike[str], *, accept_clock: bool = False, operation_id: str | None = None
    ) -> RestoredKeystore:
        """Put a backup back as a new epoch; a keystore that is there is kept beside it under another name.

        What that one has revoked, destroyed and registered since the backup is carried over where it opens.
        RefusedError for a clock more than 400 days after the backup, unless `accept_clock`.
        """
        from tiktrue_keys.core.operations.restore import restore

        return restore(self._session, _path(source), accept_clock=accept_clock, operation_id=operation_id)

    def accept_clock(self, *, operation_id: str | None = None) -> None:
        """Confirm that the clock is right after a long silence or a leap; recorded."""
        from tiktrue_keys.core.operations.accept_clock import accept_clock

        accept_clock(self._session, operation_id)

    # For models: keys to work with, acts on files, the registry.

    def open_key(self, key: str, license_key: License | None, *, use: Use) -> OpenedKey:
        """Open a key for a use; raises by status, then by license. Wipe what it returns."""
        from tiktrue_keys.core.operations.open_key import open_key

        with self._session.noting("open"):
            return open_key(self._session, key, license_key, use)

    @contextlib.contextmanager
    def noting(self, event: str, operation_id: str | None = None) -> Iterator[None]:
        """Around an act on files: what it refuses or fails in before its intent is recorded."""
        with self._session.noting(event, operation_id):
            yield

    @property
    def issuer(self) -> bytes:
        """The Ed25519 public key (32 bytes) that signs this keystore's containers."""
        return self.document().identity_key

    def sign(self, kind: str, canonical: bytes) -> bytes:
        """The keystore's 64-byte Ed25519 signature over derivation.signed_message(kind, canonical)."""
        with self._session.read() as (view, _):
            signer = self._session.keystore.signers.identity(view.rows)
        return signer(derivation.signed_message(kind, canonical))

    def begin_file_act(self, act: FileIntent, *, operation_id: str | None = None) -> FileIntent:
        """Record an intent and register its file, before the file changes; the result carries the operation id."""
        operation, chosen = chosen_operation_id(operation_id)
        with self._session.write(operation) as transaction:
            return intents.begin_intent(transaction, replace(act, chosen=chosen))

    def finished_file_act(self, operation_id: str, act: str) -> tuple[bytes, str] | None:
        """File id and path of the file act that was done under a chosen operation id, or None."""
        with self._session.read() as (view, _):
            first = first_result(view.rows, parse_operation_id(operation_id), act)
        return None if not first else (bytes.fromhex(first[0][0]), first[0][1])

    def finish_file_act(
        self,
        operation_id: str,
        *,
        outcome: str,
        keys: frozenset[str] | None,
        detail: Mapping[str, Any] | None = None,
        others: Settlement = NO_OTHERS,
    ) -> None:
        """Record how it ended. `keys`: the key ids that open the file now, None when it does not exist (any more).

        `others`: what became of other containers by this act, in the same transaction.
        """
        operation, said = parse_operation_id(operation_id), dict(detail or {})
        with self._session.write(operation) as transaction:
            intents.finish_intent(transaction, operation, outcome=outcome, keys=keys, detail=said, others=others)

    def register(self, record: ContainerRecord, *, event: str = "register") -> None:
        """Write a container's row in the registry, recorded; nothing happens when it is there as it is."""
        if self.container(record.file_id) == record:
            return
        operation, _ = chosen_operation_id(None)
        with self._session.write(operation) as transaction:
            registry.put_container(transaction, record)
            detail = {"file_id": record.file_id.hex(), "path": record.path, "keys": sorted(record.keys)}
            transaction.record(event, model_id=record.model_id, detail=detail)

    def forget(self, file_id: bytes, *, operation_id: str | None = None) -> Forgotten:
        """Take a container out of the registry, recorded: its keys may then be destroyed. NotFoundError if unknown."""
        from tiktrue_keys.core.operations.forget import forget

        return forget(self._session, file_id, operation_id)

    def record_use(
        self, event: str, *, key: ManagedKey, detail: Mapping[str, Any], operation_id: str | None = None
    ) -> None:
        """Record that plaintext or key material is about to be released; where this raises, nothing may be released."""
        operation, _ = chosen_operation_id(operation_id)
        with self._session.write(operation) as transaction:
            transaction.record(event, key_id=key.key_id, model_id=key.model_id, detail=detail)

    # The names that the system was asked to have.

    def generate_hardware_bound_key(self, license_key: License, model_id: str) -> ManagedKey:
        """Start a key for a model, bound to this machine and the license."""
        return self.generate(model_id, license_key=license_key).keys[0]

    async def rotate_key(self, old_key_id: str, license_key: License, notify_clients: Sequence[str] = ()) -> ManagedKey:
        """Rotate one key and return its successor; clients that are no node are recorded as undeliverable."""
        import asyncio

        result = await asyncio.to_thread(self.rotate, [old_key_id], license_key=license_key, notify=notify_clients)
        successor = result.rotations[0].new
        if successor is None:
            raise InternalError("a rotation without a successor")
        return successor

    async def revoke_key(self, key_id: str, reason: str) -> bool:
        """Revoke one key. True when it is done; anything else raises."""
        import asyncio

        return bool((await asyncio.to_thread(self.revoke, [key_id], reason=reason)).keys)

    def validate_hardware_binding(self, key_id: str) -> bool:
        """Whether this machine opens the keystore that holds the key. NotFoundError, IntegrityError as everywhere."""
        try:
            self.find(key_id)
        except WrongMachineError:
            return False
        return True

    def cleanup_expired_keys(self) -> int:
        """One run of cleanup with its defaults; how many keys it destroyed."""
        return len(self.cleanup().destroyed)


def _path(given: str | PathLike[str]) -> Path:
    path = Path(given).absolute()
    if "\0" in str(path):
        raise UsageError("a path cannot hold a zero byte")
    return path


def _listed(names: Sequence[str]) -> tuple[str, ...]:
    """A single name where several are meant is that name, not its letters."""
    return (names,) if isinstance(names, str) else tuple(names)
