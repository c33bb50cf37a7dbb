"""validate, and what is recorded of refusals: looking records nothing, being turned away does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE, Desk, container, error_of, file_operation
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import ExpiredError, NotFoundError, RefusedError, RevokedError


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    """One key of each status, by the name of its model."""
    made = desk.manager()
    made.generate("deprecated", no_license=True)
    made.generate("expired", no_license=True, lifetime=86_400)
    made.generate("revoked", no_license=True)
    made.generate("destroyed", no_license=True)
    made.rotate(["deprecated"], overlap=0)
    made.revoke(["revoked"], reason="lost")
    made.revoke(["destroyed"], reason="lost")
    for _ in range(2):
        made.cleanup(["destroyed"], after=0)
    desk.clock.forward(days=20)
    made.generate("active", license_key=LICENSE)
    return made


def test_everything_with_what_is_wrong_and_what_should_be_right(manager: KeyManager) -> None:
    checks = {check.key.model_id + str(check.key.generation): check for check in manager.validate().checks}
    assert {name: type(check.error) for name, check in checks.items()} == {
        "active1": type(None),
        "deprecated1": type(None),
        "deprecated2": type(None),
        "expired1": ExpiredError,
        "revoked1": RevokedError,
        "destroyed1": RefusedError,
    }
    assert {name for name, check in checks.items() if check.expected_usable} == {"active1", "deprecated2"}
    notices = {name: [notice.code for notice in check.notices] for name, check in checks.items() if check.notices}
    assert notices == {"deprecated1": ["deprecated"], "expired1": ["due"]}


def test_a_key_that_a_container_needs_is_expected_to_be_usable(manager: KeyManager) -> None:
    manager.register(container(manager.find("expired")))
    by_model = {str(check.key.model_id): check for check in manager.validate().checks}
    assert by_model["expired"].expected_usable
    assert not by_model["revoked"].expected_usable
    (named,) = manager.validate(["expired"]).checks
    assert named.expected_usable


def test_named_keys_only_each_once(manager: KeyManager) -> None:
    key = manager.find("active").key_id
    assert [check.key.key_id for check in manager.validate(["active", key, key[-16:-8]]).checks] == [key]
    assert isinstance(error_of(lambda: manager.validate(["active", "nothing"])), NotFoundError)


def test_the_whole_is_warned_of_what_is_unfinished(manager: KeyManager) -> None:
    key = manager.find("active")
    manager.begin_file_operation(file_operation("rewrap", before=(key,), after=(key,)))
    warnings = [notice for notice in manager.validate().warnings if notice.code == "open-intent"]
    assert len(warnings) == 1
    assert "/models/llama.ttm" in warnings[0].message


def test_it_reads_no_license_and_records_nothing(manager: KeyManager) -> None:
    size = manager.audit_size()
    manager.validate()
    manager.validate(deep=True)
    manager.validate(["active"])
    manager.find("active")
    list(manager.audit_records())
    manager.audit_verify()
    assert manager.audit_size() == size


def rotate_revoked(manager: KeyManager) -> object:
    return manager.rotate([manager.find("revoked").key_id])


REFUSED: list[tuple[str, Callable[[KeyManager], object], str, str | None]] = [
    ("rotate a revoked key", rotate_revoked, "rotate", "revoked"),
    (
        "rotate by another license",
        lambda manager: manager.rotate(["active"], license_key=OTHER_LICENSE),
        "rotate",
        "active",
    ),
    ("revoke again", lambda manager: manager.revoke(["revoked"], reason="again"), "revoke", "revoked"),
    ("a second chain", lambda manager: manager.generate("active", license_key=LICENSE), "generate", "active"),
    ("an unknown license", lambda manager: manager.generate("new", license_key=OTHER_LICENSE), "generate", None),
    ("clean up a live key", lambda manager: manager.cleanup(["active"]), "cleanup", "active"),
    ("open a revoked key", lambda manager: manager.open_key("revoked", None, use=Use.DECRYPT), "open", "revoked"),
    ("open with an expired key", lambda manager: manager.open_key("expired", None, use=Use.ENCRYPT), "open", "expired"),
    ("open by another license", lambda manager: manager.open_key("active", "x", use=Use.ENCRYPT), "open", "active"),
]


@pytest.mark.parametrize(("_", "operation", "event", "model"), REFUSED, ids=[name for name, *_ in REFUSED])
def test_a_refusal_is_recorded_with_its_reason_and_its_key(
    manager: KeyManager, _: str, operation: Callable[[KeyManager], object], event: str, model: str | None
) -> None:
    size = manager.audit_size()
    error = error_of(lambda: operation(manager))
    assert error is not None
    (record,) = list(manager.audit_records(start=size))
    key_id = None if model is None else manager.find(model).key_id
    assert (record.event, record.outcome, record.key_id) == (event, "refused", key_id)
    assert record.detail == {"error": error.code, "reason": error.message}
    assert manager.audit_verify() == size + 1


def test_what_is_only_badly_asked_is_not_recorded(manager: KeyManager) -> None:
    size = manager.audit_size()
    for operation in (
        lambda: manager.rotate([]),
        lambda: manager.rotate(["nothing"], license_key=LICENSE),
        lambda: manager.revoke(["active"], reason=""),
        lambda: manager.generate("a b", license_key=LICENSE),
    ):
        assert error_of(operation) is not None
    assert manager.audit_size() == size
