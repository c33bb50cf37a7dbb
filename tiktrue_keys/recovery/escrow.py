"""Escrow: the root secret H sealed to a random secret that exists only as shares, and the check that the shares work.

Come here for `escrow create`, `verify` and `show`. The secret is not stored: once the shares are handed over, none of
them can be created again. recover.py recovers a keystore; share_files.py writes and reads share files.
"""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tiktrue_keys.core.approvals.policy import ESCROW
from tiktrue_keys.core.approvals.proposals import Proposal, must_be_approved
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.slots import open_with_escrow, seal_to_escrow
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.backup import no_backup_holds_it
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.operations.standing_notices import ESCROW_RECORD
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, TikTrueKeysError
from tiktrue_keys.recovery.shares import SECRET_LENGTH, Share, combine, split

CREATE = "escrow-create"
VERIFY = "escrow-verify"

HandOver = Callable[[bytes, Sequence[Share]], Callable[[], None]]
"""Gets the keystore's id and the shares, and stores them before it returns; returns a function that removes them."""


@dataclass(frozen=True)
class Escrow:
    """The keystore's record of its escrow. `number` (0 to 32767) is in every share."""

    number: int
    shares: int
    threshold: int
    created_at: Instant
    verified_at: Instant | None


@dataclass(frozen=True, kw_only=True)
class EscrowResult(OperationResult):
    """The escrow after an operation. `keystore_id` has 16 bytes."""

    escrow: Escrow
    keystore_id: bytes


def the_escrow(manager: KeyManager) -> Escrow:
    """Return the keystore's escrow. Raises NotFoundError when it has none."""
    with manager.session.read() as (view, _):
        return must_get_escrow(view.rows)


def create_escrow(
    manager: KeyManager,
    hand_over: HandOver,
    *,
    shares: int,
    threshold: int,
    replacing: bool = False,
    destination: str = "",
    operation_id: str | None = None,
) -> EscrowResult:
    """Create an escrow of up to 16 shares, any `threshold` of which recover the keystore.

    The shares are handed over first and recorded afterwards: a reported success means that the shares are valid. An
    existing escrow stays valid until then. `destination` says where `hand_over` stores the shares, for the comparison
    of repeated requests. Raises UsageError for impossible numbers, and RefusedError when there is an escrow, unless
    `replacing`: its shares then open older backups only.
    """
    arguments = {"shares": shares, "threshold": threshold, "replacing": replacing, "destination": destination}
    asked = OperationRequest.of(CREATE, operation_id, arguments)
    creation = _Creation(manager, hand_over, shares, threshold, replacing)
    return once(manager.session, asked, creation.create, creation.repeat)


@dataclass
class _Creation:
    """One escrow being created. `handed_over` is True once its shares have left."""

    manager: KeyManager
    hand_over: HandOver
    shares: int
    threshold: int
    replacing: bool
    handed_over: bool = False

    def create(self, operation: Operation) -> EscrowResult:
        session = self.manager.session
        with session.read() as (view, _):
            keystore_id = view.document.keystore_id
            _must_be_free(view.rows, replacing=self.replacing)
        session.check_approval(self._proposal)
        must_be_writable(self.manager)
        with SecretBuffer.random(SECRET_LENGTH) as secret:
            made = split(secret.view, count=self.shares, threshold=self.threshold)
            with self._kept(keystore_id, made), operation.write() as transaction:
                former = _must_be_free(transaction.rows, replacing=self.replacing)
                must_be_approved(transaction, self._proposal)
                slot = seal_to_escrow(session.root, secret.view, keystore_id)
                transaction.replace_document(transaction.document.with_slots((slot,)))
                escrow = Escrow(made[0].escrow, self.shares, self.threshold, transaction.now, None)
                _record_creation(transaction, escrow, former)
                operation.remember(transaction, [[str(escrow.number)]])
        return EscrowResult(operation_id=operation.id, changed=True, escrow=escrow, keystore_id=keystore_id)

    @property
    def _proposal(self) -> Proposal:
        arguments = {"shares": self.shares, "threshold": self.threshold, "replacing": self.replacing}
        return Proposal(ESCROW, "this keystore", arguments, [(RecordKind.ESCROW, ESCROW_RECORD)])

    def repeat(self, first: FirstRun) -> EscrowResult:
        if self.handed_over:  # the shares that this process handed over are worthless: report an error
            raise RefusedError("another process has just created the escrow of this operation", "show the escrow")
        return _repeated(first)

    @contextlib.contextmanager
    def _kept(self, keystore_id: bytes, shares: Sequence[Share]) -> Iterator[None]:
        """Hand the shares over for the block. When it fails, they are removed unless their escrow may be recorded."""
        take_back = self.hand_over(keystore_id, shares)
        self.handed_over = True
        try:
            yield
        except BaseException:
            if not _may_count(self.manager, shares[0].escrow):
                take_back()
            raise


def verify_escrow(manager: KeyManager, shares: Sequence[Share], *, operation_id: str | None = None) -> EscrowResult:
    """Check that these shares open the keystore, and record it. Every given share takes part.

    Raises NotFoundError without an escrow, RefusedError for shares of another escrow, UsageError for too few, repeated
    or mixed shares, and IntegrityError for shares that do not belong together.
    """
    arguments = {"shares": [[share.escrow, share.number] for share in shares]}
    asked = OperationRequest.of(VERIFY, operation_id, arguments)
    return once(manager.session, asked, partial(_verify, manager.session, shares), _repeated)


def _verify(session: KeystoreSession, shares: Sequence[Share], operation: Operation) -> EscrowResult:
    with combine(shares) as secret, operation.write() as transaction:
        escrow = must_get_escrow(transaction.rows)
        if shares[0].escrow != escrow.number:
            words = f"the shares are of escrow {shares[0].escrow}, but this keystore has escrow {escrow.number}"
            raise RefusedError(words, "use the shares of that escrow, or the keystore of these shares")
        with open_with_escrow(transaction.document, secret.view) as found:
            if not hmac.compare_digest(found.view, session.root):
                raise IntegrityError("the escrow holds another keystore's secret", remedy="replace-escrow")
        verified = replace(escrow, verified_at=transaction.now)
        put_escrow(transaction.rows, verified)
        operation.remember(transaction, [[str(escrow.number)]])
        detail = {"escrow": escrow.number, "shares": sorted({share.number for share in shares})}
        transaction.record(VERIFY, detail=detail)
        keystore_id = transaction.document.keystore_id
    return EscrowResult(operation_id=operation.id, changed=True, escrow=verified, keystore_id=keystore_id)


def _repeated(first: FirstRun) -> EscrowResult:
    """The escrow of the operation; RefusedError when another has replaced it."""
    ((number,),) = first.items
    with first.read() as (view, _):
        escrow, keystore_id = must_get_escrow(view.rows), view.document.keystore_id
    if number != str(escrow.number):
        raise RefusedError(
            f"operation {first.operation_id} was for escrow {number}, which escrow {escrow.number} has since replaced",
            "choose another id",
            remedy="operation-id-taken",
        )
    return EscrowResult(operation_id=first.operation_id, changed=False, escrow=escrow, keystore_id=keystore_id)


def must_be_writable(manager: KeyManager) -> None:
    """Raise the error that a write would raise, before shares are fetched or handed over."""
    with manager.session.exclusive():
        pass


def must_get_escrow(rows: Rows) -> Escrow:
    """Return the record of the escrow. Raises NotFoundError when there is none."""
    payload = rows.get(RecordKind.ESCROW, ESCROW_RECORD)
    if payload is None:
        raise NotFoundError("this keystore has no escrow", "create one with create_escrow()", remedy="create-escrow")
    return Escrow(**payload)


def put_escrow(rows: Rows, escrow: Escrow) -> None:
    """Store the record of the escrow."""
    rows.put(RecordKind.ESCROW, ESCROW_RECORD, vars(escrow))


def _must_be_free(rows: Rows, *, replacing: bool) -> Escrow | None:
    payload = rows.get(RecordKind.ESCROW, ESCROW_RECORD)
    if payload is None:
        return None
    if not replacing:
        raise RefusedError(
            f"the keystore already has escrow {payload['number']}",
            "verify its shares, or pass replacing=True",
            remedy="escrow-exists",
        )
    return Escrow(**payload)


def _record_creation(transaction: Transaction, escrow: Escrow, former: Escrow | None) -> None:
    put_escrow(transaction.rows, escrow)
    no_backup_holds_it(transaction.rows)
    detail = {"escrow": escrow.number, "shares": escrow.shares, "threshold": escrow.threshold}
    transaction.record(CREATE, detail=detail | ({"replaces": former.number} if former else {}))


def _may_count(manager: KeyManager, number: int) -> bool:
    """Return whether an escrow of that number may be recorded: a commit that raises may still be durable."""
    try:
        with manager.session.read() as (view, _):
            payload = view.rows.get(RecordKind.ESCROW, ESCROW_RECORD)
    except TikTrueKeysError:
        return True
    return payload is not None and payload["number"] == number
