"""Runs an operation once: a repetition under its id returns the first result, and another request under it is refused.

    def revoke(session: KeystoreSession, request: RevokeRequest, operation_id: str | None) -> RevokeResult:
        asked = OperationRequest.of("revoke", operation_id, arguments_of(request, without=("license_key",)))
        return once(session, asked, partial(_revoke, session, request), _repeated)

`_revoke` gets an `Operation`. Its `write` is the only way to a transaction, in which `_revoke` remembers the items from
which `_repeated` builds the result again. Refusals and failures are recorded in the audit log. keystore/replay.py
stores the record; containers/intents.py covers files, which change outside of a transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import must_get_key
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.document import Cost
from tiktrue_keys.core.keystore.replay import Items, OperationRequest
from tiktrue_keys.core.keystore.transaction import Snapshot, Transaction
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import InternalError, NotFoundError, SecurityError

R = TypeVar("R")


class Operation:
    """An operation that is running."""

    def __init__(
        self, session: KeystoreSession, request: OperationRequest, stands: Callable[[Items], bool] | None = None
    ) -> None:
        self.id: OperationId = request.operation_id
        self._session = session
        self._request = request
        self._stands = stands
        self._settled = False

    @property
    def chosen(self) -> bool:
        """Return whether the caller chose the operation id."""
        return self._request.chosen

    @contextlib.contextmanager
    def write(self, *, accept_clock: bool = False) -> Iterator[Transaction]:
        """Yield a transaction for the operation.

        If another process has done it meanwhile, the block does not run and `once` returns the first result. A
        transaction that adds audit records must call `remember` or `leave_open`.
        """
        with self._session.write(self.id, accept_clock=accept_clock) as transaction, self._once(transaction):
            yield transaction

    @contextlib.contextmanager
    def create(self, cost: Cost) -> Iterator[Transaction]:
        """Yield the transaction that creates the keystore, under the same rules."""
        with self._session.create(self.id, cost) as transaction, self._once(transaction):
            yield transaction

    @contextlib.contextmanager
    def within(self, transaction: Transaction) -> Iterator[None]:
        """Run the block as the operation in a transaction that the caller has begun, under the same rules."""
        with self._once(transaction):
            yield

    def remember(self, transaction: Transaction, items: Items) -> None:
        """Store the items from which a repetition builds its result."""
        self._settled = True
        self._request.remember(transaction, items)

    def leave_open(self) -> None:
        """Declare that this transaction does not finish the operation: a repetition runs it again."""
        self._settled = True

    @contextlib.contextmanager
    def _once(self, transaction: Transaction) -> Iterator[None]:
        self._settled = False
        first = _standing(self._request.first_result(transaction.rows), self._stands)
        if first is not None:
            raise _DoneMeanwhileError(first)
        yield
        if transaction.audit.appended and not self._settled:
            raise InternalError(f"operation {self.id} was not remembered")


@dataclass(frozen=True)
class FirstRun:
    """The remembered first run of an operation, from which a repetition builds its result."""

    session: KeystoreSession
    operation_id: OperationId
    items: Items

    @contextlib.contextmanager
    def read(self) -> Iterator[tuple[Snapshot, Instant]]:
        """Yield a snapshot of the keystore as it is now, and the current instant."""
        with self.session.read() as view_and_now:
            yield view_and_now

    def keys(self, key_ids: Iterable[str]) -> tuple[ManagedKey, ...]:
        """Return keys of the first result, as they are now."""
        with self.session.read() as (view, now):
            return tuple(must_get_key(view.rows, key_id, now).key for key_id in key_ids)


class Repeatable:
    """An operation that does each time what there is to do. Its id is taken with the first record under it."""

    def __init__(self, session: KeystoreSession, request: OperationRequest) -> None:
        self.id: OperationId = request.operation_id
        self._session = session
        self._request = request

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction of the operation; RefusedError when another request has taken its id meanwhile."""
        with self._session.write(self.id) as transaction:
            yield transaction
            if transaction.audit.appended:
                self._request.claim(transaction)


def repeatable(
    session: KeystoreSession, operation: str, operation_id: str | None, arguments: Mapping[str, Any]
) -> Repeatable:
    """An operation to be repeated at will; RefusedError, recorded, when its id was used for another request."""
    request = OperationRequest.of(operation, operation_id, arguments)
    with session.noting(operation, request.operation_id, request.subject):
        session.must_be_rehearsed(operation)
        _first_result(session, request, must_open=True)
    return Repeatable(session, request)


def once(
    session: KeystoreSession,
    request: OperationRequest,
    do: Callable[[Operation], R],
    repeat: Callable[[FirstRun], R],
    *,
    stands: Callable[[Items], bool] | None = None,
    must_open: bool = True,
) -> R:
    """Return the result of `do`, or that of `repeat` when the operation was done before.

    `stands` tells whether a first result still exists; if it does not, the operation runs again. With `must_open`
    False, a keystore that does not open counts as one without a first result. Raises RefusedError for the id of another
    request.
    """
    with session.noting(request.operation, request.operation_id, request.subject):
        session.must_be_rehearsed(request.operation)
        first = _standing(_first_result(session, request, must_open=must_open), stands)
        if first is None:
            try:
                return do(Operation(session, request, stands))
            except _DoneMeanwhileError as done:
                first = done.items
        return repeat(FirstRun(session, request.operation_id, first))


class _DoneMeanwhileError(Exception):
    def __init__(self, items: Items) -> None:
        super().__init__()
        self.items = items


def _first_result(session: KeystoreSession, request: OperationRequest, *, must_open: bool) -> Items | None:
    if not request.chosen:
        return None
    try:
        with session.read() as (view, _):
            return request.first_result(view.rows)
    except NotFoundError:  # there is no keystore yet
        return None
    except SecurityError:
        if must_open:
            raise
        return None


def _standing(items: Items | None, stands: Callable[[Items], bool] | None) -> Items | None:
    return None if items is None or (stands is not None and not stands(items)) else items
