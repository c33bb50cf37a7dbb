"""once: an operation is done a single time under its id, and none of its halves can be forgotten."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from tests.keystores import LICENSE, Desk, error_of, events
from tiktrue_keys.core.keys.creation import KeyTerms
from tiktrue_keys.core.keys.lifecycle import DEFAULT_DECRYPT_FOR, DEFAULT_LIFETIME
from tiktrue_keys.core.keystore.replay import Items, OperationRequest, arguments_of
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.generate import GenerateRequest
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import IntegrityError, InternalError, NotFoundError, RefusedError, TikTrueKeysError


@pytest.fixture
def session(desk: Desk) -> KeystoreSession:
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE)
    return manager.session


def asked(operation_id: str | None = "nightly", **arguments: object) -> OperationRequest:
    return OperationRequest.of("count", operation_id, arguments)


def counted(operation: Operation) -> Items:
    with operation.write() as transaction:
        transaction.record("count")
        operation.remember(transaction, [["one"]])
    return [["done now"]]


def first_items(first: FirstRun) -> Items:
    return first.items


def count(session: KeystoreSession, request: OperationRequest, do: Callable[[Operation], Items] = counted) -> Items:
    return once(session, request, do, first_items)


def records(session: KeystoreSession) -> int:
    with session.read() as (view, _):
        return view.audit.size


def test_the_second_time_it_gives_what_was_remembered(session: KeystoreSession) -> None:
    assert count(session, asked()) == [["done now"]]
    size = records(session)
    assert count(session, asked()) == [["one"]]
    assert records(session) == size


def test_what_another_process_has_done_meanwhile_is_not_done(session: KeystoreSession, desk: Desk) -> None:
    def after_another(operation: Operation) -> Items:
        count(desk.manager().session, asked())
        return counted(operation)

    assert count(session, asked(), after_another) == [["one"]]
    with session.read() as (view, _):
        assert sum(view.audit.get(number).event == "count" for number in range(view.audit.size)) == 1


@pytest.mark.parametrize("operation_id", ["nightly", None])
def test_an_operation_that_forgets_to_remember_is_undone(
    session: KeystoreSession, desk: Desk, operation_id: str | None
) -> None:
    def forgetful(operation: Operation) -> Items:
        with operation.write() as transaction:
            transaction.record("count")
        return []

    before = events(desk.manager())
    assert isinstance(error_of(lambda: count(session, asked(operation_id), forgetful)), InternalError)
    assert events(desk.manager()) == [*before, ("count", "failed")]


def test_one_that_leaves_itself_open_is_done_again(session: KeystoreSession) -> None:
    def unfinished(operation: Operation) -> Items:
        with operation.write() as transaction:
            transaction.record("count")
            operation.leave_open()
        return [["again"]]

    assert [count(session, asked(), unfinished), count(session, asked(), unfinished)] == [[["again"]], [["again"]]]


def test_one_whose_first_result_is_gone_is_done_again(session: KeystoreSession) -> None:
    count(session, asked())
    stands = iter([False, False, True])
    for expected in ("done now", "one"):
        assert once(session, asked(), counted, first_items, stands=lambda _: next(stands)) == [[expected]]


@pytest.mark.parametrize("error", [RefusedError("no"), IntegrityError("broken")], ids=["refused", "broken"])
def test_what_it_refuses_is_recorded_under_its_id(
    desk: Desk, session: KeystoreSession, error: TikTrueKeysError
) -> None:
    def refuse(_: Operation) -> Items:
        raise error

    assert error_of(lambda: count(session, asked(), refuse)) is error
    assert events(desk.manager())[-1] == ("count", "refused")
    with session.read() as (view, _):
        assert view.audit.get(view.audit.size - 1).operation_id == "nightly"


def test_so_is_what_the_repetition_refuses(desk: Desk, session: KeystoreSession) -> None:
    def replaced(_: FirstRun) -> Items:
        raise RefusedError("replaced since")

    count(session, asked())
    assert isinstance(error_of(lambda: once(session, asked(), counted, replaced)), RefusedError)
    assert events(desk.manager())[-1] == ("count", "refused")


def test_the_refusal_names_the_first_operation(session: KeystoreSession) -> None:
    count(session, asked(key="a"))
    same = error_of(lambda: count(session, asked(key="b")))
    other = error_of(lambda: count(session, OperationRequest.of("weigh", "nightly", {"key": "a"})))
    assert same is not None
    assert other is not None
    assert same.message == "operation nightly was used for count with other arguments"
    assert other.message == "operation nightly was used for count"


def test_a_record_from_before_requests_were_compared_is_taken_as_it_is(session: KeystoreSession) -> None:
    with session.write(asked().operation_id) as transaction:
        transaction.rows.put(RecordKind.OPERATION, "nightly", {"act": "count", "at": transaction.now, "parts": 1})
        transaction.rows.put(RecordKind.OPERATION, "nightly 0", {"items": [["long ago"]]})
        transaction.record("count")
    assert count(session, asked(key="anything")) == [["long ago"]]


def test_a_keystore_that_is_not_there_has_done_nothing(desk: Desk) -> None:
    error = error_of(lambda: count(desk.manager().session, asked()))
    assert isinstance(error, NotFoundError)


class TestClaim:
    """An id whose request does each time what there is to do."""

    def test_it_keeps_others_out_and_not_itself(self, session: KeystoreSession) -> None:
        for _ in range(2):
            with session.write(asked().operation_id) as transaction:
                asked().claim(transaction)
                transaction.record("count")
        with session.write(asked().operation_id) as transaction, pytest.raises(RefusedError):
            asked(key="a").claim(transaction)


def test_arguments_leave_licenses_out_and_digest_bytes() -> None:
    request = GenerateRequest("llama", "secret", KeyTerms(labels={"a": ""}), count=3, material=b"m")
    assert arguments_of(request, without=("license_key",)) == {
        "model_id": "llama",
        "terms": {"lifetime": DEFAULT_LIFETIME, "decrypt_for": DEFAULT_DECRYPT_FOR, "labels": {"a": ""}},
        "no_license": False,
        "count": 3,
        "new_chain": False,
        "new_license": False,
        "material": hashlib.sha256(b"m").hexdigest(),
    }


def test_what_is_not_given_is_not_compared_and_zero_is_given() -> None:
    def digest(**arguments: object) -> str:
        return OperationRequest.of("count", "nightly", arguments).digest

    assert digest(key="a") == digest(key="a", later=False, more=None, labels={}, names=[], text="")
    assert len({digest(key="a"), digest(key="a", after=0), digest(key="a", names=["b", "c"])}) == 3
    assert digest(names=["b", "c"]) != digest(names=["c", "b"])
    assert asked(None, key="a").digest == ""
