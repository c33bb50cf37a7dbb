"""KeyManager: this machine's keystore as one object, with a method for each operation and immutable results.

Start here to use the package from Python. KeyManager is thread-safe, and its async methods run in a worker thread, so
they do not block the event loop. It does not print and does not prompt.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tiktrue_keys.core import derivation
from tiktrue_keys.core.approvals.plans import every_plan
from tiktrue_keys.core.approvals.proposals import Proposal, must_be_approved
from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.audit.system_log import Recorder, SystemLog
from tiktrue_keys.core.containers import intents, registry
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.containers.settlement import NO_OTHERS, ROWS_AT_ONCE, Ending, Settlement
from tiktrue_keys.core.instants import Instant, Seconds
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
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.subject import NOTHING, Subject
from tiktrue_keys.core.names import OperationId, new_operation_id, parse_operation_id
from tiktrue_keys.core.node_ids import node_id_of
from tiktrue_keys.core.operations.retention import DEFAULT_KEEP
from tiktrue_keys.core.outputs import KEYSTORES_ONLY, OutputGate
from tiktrue_keys.core.reader import KeystoreReader
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import InternalError, UsageError, WrongMachineError

if TYPE_CHECKING:
    from tiktrue_keys.core.containers.claims import Claim
    from tiktrue_keys.core.keys.destruction import WrapsIn
    from tiktrue_keys.core.keys.key_results import OpenedKey
    from tiktrue_keys.core.keystore.device_secrets import DeviceSecrets
    from tiktrue_keys.core.keystore.transaction import Transaction
    from tiktrue_keys.core.operations.approvals import AddedSignature, PolicyResult
    from tiktrue_keys.core.operations.archive import Archived
    from tiktrue_keys.core.operations.backup import BackedUp
    from tiktrue_keys.core.operations.bind_device import BoundWay, DeviceBound
    from tiktrue_keys.core.operations.export_public import ExportedPublic
    from tiktrue_keys.core.operations.forget import Forgotten
    from tiktrue_keys.core.operations.raise_findings import RaisedFindings
    from tiktrue_keys.core.operations.rebind import Rebound
    from tiktrue_keys.core.operations.rekey import RekeyResult
    from tiktrue_keys.core.operations.release import Released, ReleaseRequest
    from tiktrue_keys.core.operations.relicense import Relicensed
    from tiktrue_keys.core.operations.restore import RestoredKeystore
    from tiktrue_keys.core.operations.results import (
        CleanupResult,
        GenerateResult,
        RevokeResult,
        RotateResult,
        ValidateResult,
    )

# Each method imports its operation: a command runs one, and importing all of them costs as much as everything else.


class KeyManager(KeystoreReader):
    """Administers the keys of one keystore folder.

    `storage_dir` None means /var/lib/tiktrue-keys for root and the platform's data folder for other users.
    `host_secret_file` names the file of the host secret; without it an existing keystore uses the path that it stores,
    and a new one the default path. The keystore is opened when first needed and created by the first `generate`.
    `protected` are more files that no output may replace, by names for messages such as "the license file".
    `recorder` takes what the audit log cannot hold: refusals before the keystore is open. `session` of another manager
    replaces all the other parameters: both then use one opened keystore. `synchronised` returns whether `clock` is
    synchronised, None when that is unknown; by default the kernel is asked, and nothing is known of a clock of yours.
    `approval` is the number of an approved plan, which the operation that it is for uses. `marks_dir` is the folder of
    the high-water marks, where the folder of the host secret cannot be written to. `devices` are those that may have a
    secret in the host secret's place: tiktrue_keys.roots.ways.EnabledRoots.
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
        recorder: Recorder | None = None,
        session: KeystoreSession | None = None,
        synchronised: Callable[[], bool | None] | None = None,
        protected: Mapping[str, str | PathLike[str]] | None = None,
        approval: int | None = None,
        marks_dir: str | PathLike[str] | None = None,
        devices: DeviceSecrets | None = None,
    ) -> None:
        if session is None:
            folder = _path(storage_dir) if storage_dir is not None else default_folder()
            secret = _path(host_secret_file) if host_secret_file is not None else None
            session = KeystoreSession(
                KeystorePaths(folder, secret, lock_timeout, None if marks_dir is None else _path(marks_dir)),
                clock=clock,
                recorder=recorder or SystemLog(),
                actor=actor,
                rounds=pbkdf2_rounds,
                synchronised=synchronised,
                protected=KEYSTORES_ONLY.also_all(protected or {}),
                devices=devices,
            )
            session.approval = approval
        super().__init__(session)

    @property
    def path(self) -> Path:
        """Return the absolute path of the keystore's folder."""
        return self._session.place.folder

    @property
    def approval_is_idle(self) -> bool:
        """Return whether an approval was given that no operation has used, of this manager or before."""
        number = self._session.approval
        if number is None or self._session.used_approval or not self.exists():
            return number is not None and not self._session.used_approval
        with self._session.read() as (view, _):
            return all(plan.number != number or plan.used_at is None for plan in every_plan(view.rows))

    def exists(self) -> bool:
        """Return whether there is a keystore in the folder."""
        return self._session.exists()

    def close(self) -> None:
        """Close the file and wipe every secret. A later call opens the keystore again."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Operations. Repeating one with the `operation_id` that the caller chose for it returns the first result.

    def generate(
        self,
        model_id: str,
        *,
        license_key: License | None = None,
        lifetime: int = DEFAULT_LIFETIME,
        decrypt_for: int = DEFAULT_DECRYPT_FOR,
        labels: Mapping[str, str] | None = None,
        rotate_every: int | None = None,
        rotate_before: int | None = None,
        no_license: bool = False,
        count: int = 1,
        new_chain: bool = False,
        new_license: bool = False,
        material: bytes | None = None,
        operation_id: str | None = None,
    ) -> GenerateResult:
        """Start a chain of keys for a model, or for `count` numbered models.

        Periods are in seconds, `material` has 32 bytes. Creates the keystore when there is none. Raises RefusedError
        when the model has a live key, WrongLicenseError for a license that the keystore does not know.
        """
        from tiktrue_keys.core.keys.creation import KeyTerms
        from tiktrue_keys.core.operations.generate import GenerateRequest, generate

        terms = KeyTerms(
            Seconds(lifetime), Seconds(decrypt_for), dict(labels or {}), _period(rotate_every), _period(rotate_before)
        )
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
        rotate_every: int | None = None,
        rotate_before: int | None = None,
        dry_run: bool = False,
        operation_id: str | None = None,
    ) -> RotateResult:
        """Give keys a successor: the keys named, every key, or those due. The result lists the containers to rewrap.

        Nodes among `notify`, or all with `notify_all`, get the successor through the outbox. With `prepublish` the
        successor stays pending for at least that many seconds, and until `min_acks` nodes have it; `fleet sync`
        promotes it.
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
            rotate_every=_period(rotate_every),
            rotate_before=_period(rotate_before),
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
        new: bool = False,
        license_key: License | None = None,
        dry_run: bool = False,
        operation_id: str | None = None,
    ) -> RevokeResult:
        """Revoke keys, or every generation of a model: immediate and final.

        With `rotate` the models have an active key afterwards: a pending successor becomes active, or a new one is
        made; always a new one with `new`, which revokes the pending one too.
        """
        from tiktrue_keys.core.operations.revoke import RevokeRequest, revoke

        request = RevokeRequest(reason, _listed(keys), model, rotate, new, license_key, dry_run)
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
        """Mark unneeded keys for destruction after `after` seconds, and destroy marked keys whose delay is over."""
        from tiktrue_keys.core.operations.cleanup import CleanupRequest, clean_up

        request = CleanupRequest(_listed(keys), Seconds(after), dry_run, _listed(cancel), _listed(confirm), wraps_in)
        return clean_up(self._session, request, operation_id)

    def validate(self, keys: Sequence[str] = (), *, deep: bool = False) -> ValidateResult:
        """Check keys (all without arguments) and the binding. Reads no license and records nothing."""
        from tiktrue_keys.core.operations.validate import validate

        return validate(self._session, _listed(keys), deep=deep)

    def relicense(
        self, old_license: License, new_license: License, *, dry_run: bool = False, operation_id: str | None = None
    ) -> Relicensed:
        """Move every key of one license to another in one transaction. The keystore then forgets the old license."""
        from tiktrue_keys.core.operations.relicense import relicense

        return relicense(self._session, old_license, new_license, dry_run=dry_run, operation_id=operation_id)

    def rebind(
        self,
        license_key: License | None = None,
        *,
        drop: Sequence[str] = (),
        replace: Sequence[str] = (),
        against: bytes | None = None,
        dry_run: bool = False,
        operation_id: str | None = None,
    ) -> Rebound:
        """Seal the keystore again to this machine as it is now, and record where host secret and marks are now.

        Needs a license if the keystore knows one. `drop` names facts to leave out before their part is replaced,
        `replace` the facts of new parts as KIND=NEW. `against` is a signed checkpoint: it only replaces a lost mark,
        without a license.
        """
        from tiktrue_keys.core.operations.rebind import rebind

        return rebind(
            self._session,
            license_key,
            dry_run=dry_run,
            operation_id=operation_id,
            drop=_listed(drop),
            replace=_listed(replace),
            against=against,
        )

    def rekey(
        self,
        *,
        compromised: bool = False,
        new_host_secret: str | PathLike[str] | None = None,
        remove_way: str = "",
        dry_run: bool = False,
        operation_id: str | None = None,
    ) -> RekeyResult:
        """Renew the root secret of the keystore and its host secret. Managed keys stay as they are.

        `compromised`: others may know the old root. `new_host_secret` is a path for the new host secret, which
        otherwise lies beside the one in use; a device seals a new secret. `remove_way` is one of bound_ways that opens
        it no longer. Nodes have to accept the new epoch.
        """
        from tiktrue_keys.core.operations.rekey import RekeyRequest, rekey

        path = None if new_host_secret is None else _path(new_host_secret)
        request = RekeyRequest(compromised, path, dry_run, remove_way)
        return rekey(self._session, request, operation_id=operation_id)

    def bind_device(self, way: str, *, alternative: bool = False, operation_id: str | None = None) -> DeviceBound:
        """Bind the keystore to a secret that a device seals: `tpm2`, `pkcs11` or `transit`, as `devices` enables it.

        It takes the place of what opens the keystore now; with `alternative` both open it. Raises RefusedError without
        a verified escrow unless `alternative`, UnavailableError or WrongMachineError as the device says.
        """
        from tiktrue_keys.core.operations.bind_device import bind_device

        return bind_device(self._session, way, alternative=alternative, operation_id=operation_id)

    def bound_ways(self) -> tuple[BoundWay, ...]:
        """Return the ways in which the keystore opens on its machine: `machine` is the host secret."""
        from tiktrue_keys.core.operations.bind_device import bound_ways

        return bound_ways(self._session)

    def try_way(self, way: str) -> None:
        """Open the keystore by one way, and return if that works. Raises what the device or the host secret raises."""
        from tiktrue_keys.core.operations.bind_device import try_way

        try_way(self._session, way)

    def export_public(
        self,
        key: str,
        license_key: License | None = None,
        *,
        destination: str | PathLike[str] | None = None,
        force: bool = False,
        operation_id: str | None = None,
    ) -> ExportedPublic:
        """Return the public half of an active key, and mark the key as exported.

        Raises RevokedError, ExpiredError or RefusedError when the key may not encrypt, WrongLicenseError for another
        license.
        """
        from tiktrue_keys.core.operations.export_public import export_public

        place = None if destination is None else _path(destination)
        return export_public(self._session, key, license_key, destination=place, force=force, operation_id=operation_id)

    def backup(
        self, destination: str | PathLike[str], *, force: bool = False, operation_id: str | None = None
    ) -> BackedUp:
        """Copy the keystore to a file with mode 0600.

        The copy opens on this machine with the host secret, which it does not contain, or with the escrow's shares.
        """
        from tiktrue_keys.core.operations.backup import backup

        return backup(self._session, _path(destination), force=force, operation_id=operation_id)

    def backup_to(
        self, folder: str | PathLike[str], *, keep: int = DEFAULT_KEEP, operation_id: str | None = None
    ) -> BackedUp:
        """Copy the keystore into a folder under a new name, and remove copies there that are not kept any more.

        One copy a day is kept for `keep` days, then one a week for five weeks. A copy that holds records which the new
        one lacks is not removed.
        """
        from tiktrue_keys.core.operations.backup_folder import backup_to

        return backup_to(self._session, _path(folder), keep=keep, operation_id=operation_id)

    def restore(
        self, source: str | PathLike[str], *, accept_clock: bool = False, operation_id: str | None = None
    ) -> RestoredKeystore:
        """Restore a backup as a new epoch. An existing keystore is kept beside it under another name.

        The revocations, destructions and registrations that the existing keystore made since the backup are carried
        over if it opens. Raises RefusedError for a clock more than 400 days after the backup, unless `accept_clock`.
        """
        from tiktrue_keys.core.operations.restore import restore

        return restore(self._session, _path(source), accept_clock=accept_clock, operation_id=operation_id)

    def raise_findings(self, *, within: int = DEFAULT_WITHIN) -> RaisedFindings:
        """Record the findings that no earlier call has met, so that they become events, and the end of those gone.

        `rotate --due` does so too. `within` is how many seconds ahead a key counts as due.
        """
        from tiktrue_keys.core.operations.raise_findings import raise_findings

        return raise_findings(self._session, Seconds(within))

    def rehearse(
        self, source: str | PathLike[str], folder: str | PathLike[str], *, accept_clock: bool = False
    ) -> RestoredKeystore:
        """Restore a backup into a new or empty folder, to prove that it restores; this keystore stays as it is.

        The copy opens only there. It lists, verifies and decrypts; it signs, sends and changes nothing. Delete the
        folder to end it. Raises RefusedError for a folder that is in use.
        """
        from tiktrue_keys.core.operations.rehearse import rehearse

        return rehearse(self._session, _path(source), _path(folder), accept_clock=accept_clock)

    def accept_clock(self, *, operation_id: str | None = None) -> None:
        """Confirm that the clock is right after a long silence or a leap; recorded."""
        from tiktrue_keys.core.operations.accept_clock import accept_clock

        accept_clock(self._session, operation_id)

    def set_approval_policy(
        self,
        require: Mapping[str, int],
        *,
        approvers: Mapping[str, bytes] | None = None,
        removed: Sequence[str] = (),
        operation_id: str | None = None,
    ) -> PolicyResult:
        """Change how many approvals operations need, 0 for none, and who approves: OpenSSH public keys by name.

        Raises UsageError for what is malformed, RefusedError when fewer keys are listed than an operation needs, and
        NeedsApprovalError: a policy changes under itself.
        """
        from tiktrue_keys.core.approvals.policy import parse_approver
        from tiktrue_keys.core.operations.approvals import set_policy

        added = [parse_approver(name, key) for name, key in (approvers or {}).items()]
        return set_policy(
            self._session, require=require, approvers=added, removed=_listed(removed), operation_id=operation_id
        )

    def add_approval(self, signature: bytes, *, operation_id: str | None = None) -> AddedSignature:
        """Add an approver's signature, as ssh-keygen -Y sign writes it, to the plan that it signs.

        Raises IntegrityError when it signs no plan of this keystore, RefusedError when it does not count,
        UnavailableError without ssh-keygen.
        """
        from tiktrue_keys.core.operations.approvals import add_signature

        return add_signature(self._session, signature, operation_id=operation_id)

    # For the package models: outputs, opened keys, file operations, the registry.

    def output_gate(self) -> OutputGate:
        """Return the gate that every output passes. Raises NotFoundError without a keystore."""
        return self._session.output_gate()

    def open_key(self, key: str, license_key: License | None, *, use: Use) -> OpenedKey:
        """Return a key opened for `use`. The caller wipes it.

        Raises RevokedError, ExpiredError or RefusedError by the key's status, then UsageError or WrongLicenseError by
        the license.
        """
        from tiktrue_keys.core.operations.open_key import open_key

        with self._session.noting("open", subject=Subject(keys=(key,))):
            return open_key(self._session, key, license_key, use)

    @contextlib.contextmanager
    def noting(self, event: str, operation_id: str | None = None, subject: Subject = NOTHING) -> Iterator[None]:
        """Run a file operation, and record a refusal or failure that precedes its intent."""
        with self._session.noting(event, operation_id, subject):
            yield

    @property
    def node_id(self) -> str:
        """Return the node id of this keystore."""
        document = self.document()
        return node_id_of(document.identity_key, document.identity_hpke)

    @property
    def issuer(self) -> bytes:
        """Return the Ed25519 public key (32 bytes) that signs this keystore's containers."""
        return self.document().identity_key

    def sign(self, kind: str, canonical: bytes) -> bytes:
        """Return the keystore's 64-byte Ed25519 signature over derivation.signed_message(kind, canonical)."""
        return self.signer(kind)(canonical)

    def signer(self, kind: str) -> Callable[[bytes], bytes]:
        """Return a function that signs as `sign` does, without reading the keystore each time."""
        with self._session.read() as (view, _):
            signer = self._session.signer(view)
        return lambda canonical: signer(derivation.signed_message(kind, canonical))

    def begin_file_operation(
        self, intent: FileIntent, request: OperationRequest | None = None, proposal: Proposal | None = None
    ) -> FileIntent:
        """Record an intent and register its file before the file changes. Return the intent with its operation id.

        `proposal` is what the approval policy is asked about.
        """
        return self.begin_file_operations([(intent, request)], proposal)[0]

    def begin_file_operations(
        self, begun: Sequence[tuple[FileIntent, OperationRequest | None]], proposal: Proposal | None = None
    ) -> tuple[FileIntent, ...]:
        """Record the intents of many operations in one transaction, as begin_file_operation does one."""
        asked = [(intent, request or OperationRequest.of(intent.operation, None, {})) for intent, request in begun]
        with self._session.write(asked[0][1].operation_id) as transaction:
            if proposal is not None:
                must_be_approved(transaction, proposal)
            return tuple(intents.begin_intent(transaction, intent, request) for intent, request in asked)

    def finished_file_operation(self, request: OperationRequest) -> tuple[bytes, str] | None:
        """Return file id and path of the file operation that was done for this request, or None.

        Raises RefusedError when its operation id was used for another request.
        """
        with self._session.read() as (view, _):
            first = request.first_result(view.rows)
        return None if not first else (bytes.fromhex(first[0][0]), first[0][1])

    def finish_file_operation(
        self,
        operation_id: str,
        *,
        outcome: str,
        keys: frozenset[str] | None,
        detail: Mapping[str, Any] | None = None,
        others: Settlement = NO_OTHERS,
    ) -> None:
        """Record the outcome of a file operation; the arguments are those of Ending.

        Raises IntegrityError when another process has settled the operation.
        """
        self.finish_file_operations({operation_id: Ending(outcome, keys, dict(detail or {}), others)})

    def finish_file_operations(self, endings: Mapping[str, Ending]) -> None:
        """Record the outcomes of many file operations, by operation id, in one transaction.

        One with effects on more than ROWS_AT_ONCE other containers records these in transactions of their own first,
        while its intent stays open. Raises IntegrityError when another process has settled one of the operations.
        """
        last: dict[OperationId, Ending] = {}
        for name, ending in endings.items():
            operation = parse_operation_id(name)
            parts = ending.others.parts(ROWS_AT_ONCE)
            rest = next(parts)
            if rest is not ending.others:
                self._let_go_first(operation, ending)
            for part in parts:
                self.settle_part(operation, rest)
                rest = part
            last[operation] = replace(ending, others=rest)
        with self._session.write(next(iter(last))) as transaction:
            for operation, ending in last.items():
                intent = intents.finish_intent(transaction, operation, ending)
                self._let_go(transaction, intent, endings[operation])

    def _let_go_first(self, operation: OperationId, ending: Ending) -> None:
        """Let go of all containers before the first rows: after a kill, the rows tell of the others only."""
        with self._session.write(operation) as transaction:
            intent = intents.get_intent(transaction.rows, operation)
            if intent is not None:
                self._let_go(transaction, intent, ending)

    def _let_go(self, transaction: Transaction, intent: FileIntent, ending: Ending) -> None:
        from tiktrue_keys.core.operations.supersede import let_go

        let_go(transaction, intent, ending)

    def name_successor(self, operation_id: str, root: bytes) -> int | None:
        """Name the output of an open file operation in the release that names what it supersedes.

        Returns the number of the new release, or None where there is none. Call it once the output is complete, before
        it gets its name. Raises RefusedError when the release has no room.
        """
        from tiktrue_keys.core.operations.supersede import name_successor

        return name_successor(self._session, parse_operation_id(operation_id), root)

    def settle_part(self, operation_id: str, part: Settlement) -> None:
        """Record effects on other containers before the outcome of a file operation, whose intent stays open."""
        operation = parse_operation_id(operation_id)
        for rows in part.parts(ROWS_AT_ONCE) if part.count else ():
            with self._session.write(operation) as transaction:
                intents.settle_part(transaction, operation, rows)

    def register(self, record: ContainerRecord) -> None:
        """Write a container's row in the registry, recorded; nothing happens when it is there as it is."""
        self.register_all([record])

    def register_all(
        self, records: Sequence[ContainerRecord], moved_from: Mapping[tuple[bytes, str], str] | None = None
    ) -> None:
        """Write the rows of many containers as `register` does, at most ROWS_AT_ONCE in a transaction.

        `moved_from` gives the former path of rows that move, by file id and new path.
        """
        for at in range(0, len(records), ROWS_AT_ONCE):
            part = records[at : at + ROWS_AT_ONCE]
            known = self.locations_by_id(record.file_id for record in part)
            changed = [record for record in part if record not in known.get(record.file_id, ())]
            if not changed:
                continue
            with self._session.write(new_operation_id()) as transaction:
                for record in changed:
                    was = (moved_from or {}).get((record.file_id, record.path))
                    registry.put_container(transaction, record, was=was)
                    detail = {"file_id": record.file_id.hex(), "path": record.path, "keys": sorted(record.keys)}
                    transaction.record("register", model_id=record.model_id, detail=detail)

    def claim(self, claims: Collection[Claim], gone: Collection[str]) -> int:
        """Store what unauthenticated headers say, and drop the claims of the paths in `gone`.

        Returns how many found no room. Nothing happens when nothing changes.
        """
        from tiktrue_keys.core.containers.claims import all_claims, put_claims

        with self._session.read() as (view, _):
            known = {each.path: replace(each, seen_at=Instant(0)) for each in all_claims(view.rows)}
        new = [each for each in claims if known.get(each.path) != replace(each, seen_at=Instant(0))]
        old = [path for path in gone if path in known]
        if not new and not old:
            return 0
        with self._session.write(new_operation_id()) as transaction:
            refused = put_claims(transaction, new, old)
            transaction.record("claim", detail={"claimed": len(new) - refused, "dropped": len(old), "refused": refused})
        return refused

    def claims(self) -> tuple[Claim, ...]:
        """Return what unauthenticated headers have claimed."""
        from tiktrue_keys.core.containers.claims import all_claims

        with self._session.read() as (view, _):
            return all_claims(view.rows)

    def forget(self, file_id: bytes, *, location: str | None = None, operation_id: str | None = None) -> Forgotten:
        """Remove a container from the registry, at one location or all, and record it: its keys may be destroyed.

        Raises NotFoundError for an unknown container or location.
        """
        from tiktrue_keys.core.operations.forget import forget

        return forget(self._session, file_id, location, operation_id)

    def archive(
        self, file_id: bytes, *, location: str | None = None, undo: bool = False, operation_id: str | None = None
    ) -> Archived:
        """Mark a container as offline on purpose, at one location or all: its keys are kept, and nothing looks for it.

        With `undo` it is watched again. Raises NotFoundError for a container that is not registered.
        """
        from tiktrue_keys.core.operations.archive import archive

        return archive(self._session, file_id, location, undo=undo, operation_id=operation_id)

    def release(self, request: ReleaseRequest, asked: OperationRequest) -> Released:
        """Change the releases of models: name containers and folders whose signature the caller has checked.

        Raises NotFoundError for an unknown id to withdraw, RefusedError for a model of another authority or a withdrawn
        id.
        """
        from tiktrue_keys.core.operations.release import release

        return release(self._session, request, asked)

    def record_use(
        self,
        event: str,
        *,
        key: ManagedKey,
        detail: Mapping[str, Any],
        request: OperationRequest | None = None,
        proposal: Proposal | None = None,
    ) -> None:
        """Record that plaintext or key material is about to be released. If this raises, nothing may be released.

        `proposal` is what the approval policy is asked about. Raises RefusedError when the operation id was used for
        another request; the same request is recorded again.
        """
        self.record_uses(event, [(key, detail)], request=request, proposal=proposal)

    def record_uses(
        self,
        event: str,
        uses: Sequence[tuple[ManagedKey, Mapping[str, Any]]],
        *,
        request: OperationRequest | None = None,
        proposal: Proposal | None = None,
    ) -> None:
        """Record the uses of several keys as record_use does one, in one transaction."""
        request = request or OperationRequest.of(event, None, {})
        with self._session.write(request.operation_id) as transaction:
            if proposal is not None:
                must_be_approved(transaction, proposal)
            request.claim(transaction)
            for key, detail in uses:
                transaction.record(event, key_id=key.key_id, model_id=key.model_id, detail=detail)

    # Required methods of the public interface, each a short form of one above.

    def generate_hardware_bound_key(self, license_key: License, model_id: str) -> ManagedKey:
        """Start a key for a model, bound to this machine and to the license."""
        return self.generate(model_id, license_key=license_key).keys[0]

    async def rotate_key(self, old_key_id: str, license_key: License, notify_clients: Sequence[str] = ()) -> ManagedKey:
        """Rotate one key and return its successor. Clients that are not nodes are recorded as undeliverable."""
        import asyncio

        result = await asyncio.to_thread(self.rotate, [old_key_id], license_key=license_key, notify=notify_clients)
        successor = result.rotations[0].new
        if successor is None:
            raise InternalError("a rotation without a successor")
        return successor

    async def revoke_key(self, key_id: str, reason: str) -> bool:
        """Revoke one key and return True. Raises if it is not revoked."""
        import asyncio

        return bool((await asyncio.to_thread(self.revoke, [key_id], reason=reason)).keys)

    def validate_hardware_binding(self, key_id: str) -> bool:
        """Return whether this machine opens the keystore that holds the key.

        Raises NotFoundError when there is no such key, IntegrityError when the keystore is damaged.
        """
        try:
            self.find(key_id)
        except WrongMachineError:
            return False
        return True

    def cleanup_expired_keys(self) -> int:
        """Run cleanup once with its defaults, and return how many keys it destroyed."""
        return len(self.cleanup().destroyed)


def _path(given: str | PathLike[str]) -> Path:
    path = Path(given).absolute()
    if "\0" in str(path):
        raise UsageError("a path cannot hold a zero byte")
    return path


def _period(given: int | None) -> Seconds | None:
    return None if given is None else Seconds(given)


def _listed(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple. A single string is one name, not a sequence of letters."""
    return (names,) if isinstance(names, str) else tuple(names)
