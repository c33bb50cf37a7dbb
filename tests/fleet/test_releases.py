"""Releases on their way: to every node, to a new one, and what happens to those of another authority."""

from __future__ import annotations

import pytest

from tests.core.dispatch.test_releases import entry, identity
from tests.fleet.fleet import Fleet
from tiktrue_keys.core.dispatch.releases import Release, Standing
from tiktrue_keys.core.dispatch.revocation_lists import VALID_FOR
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.release import Released, ReleaseRequest
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.fleet.sync import distribute


def release(manager: KeyManager, *numbers: int, model: str = "llama", **more: object) -> Released:
    """Release made-up containers by their numbers."""
    add = {model: [entry(number) for number in numbers]} if numbers else {}
    return manager.release(ReleaseRequest(add=add, **more), OperationRequest.of("release", None, {}))  # type: ignore[arg-type]


def known(fleet: Fleet, name: str, model: str = "llama") -> tuple[Release, Instant | None]:
    found = fleet.nodes[name].release_of(model)
    assert found is not None
    return found.release, found.ends_at


def test_a_release_reaches_every_node_and_a_later_one_replaces_it(fleet: Fleet) -> None:
    release(fleet.admin, 1)
    fleet.deliver()
    first, end = known(fleet, "n1")
    assert [each.file_id for each in first.entries] == [identity(1)]
    assert (first.origin, first.epoch, first.model_id) == (fleet.node_id(fleet.admin), 1, "llama")
    assert end == fleet.clock.now + VALID_FOR

    release(fleet.admin, 2, only=True, withdraw=(identity(1),))
    fleet.deliver()
    for name in fleet.nodes:
        then, _ = known(fleet, name)
        assert then.number > first.number
        assert then.standing(identity(1), None, fleet.clock.forward()) is Standing.WITHDRAWN
        assert then.standing(identity(2), entry(2).root, fleet.clock.forward()) is Standing.NAMED
        records = [each for each in fleet.nodes[name].audit_records() if each.event == "release"]
        assert [(each.model_id, each.detail["number"]) for each in records][-1] == ("llama", then.number)


def test_a_node_that_is_pinned_later_gets_every_release(fleet: Fleet) -> None:
    for number in range(1, 4):
        fleet.admin.generate(f"m{number}", no_license=True)
        release(fleet.admin, number, model=f"m{number}")
    fleet.join("n4")
    fleet.deliver()
    assert [known(fleet, "n4", f"m{number}")[0].entries for number in range(1, 4)] == [
        (entry(number),) for number in range(1, 4)
    ]


def test_a_node_releases_nothing_of_its_issuers_model(fleet: Fleet) -> None:
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.deliver()
    with pytest.raises(RefusedError, match="belongs to issuer"):
        release(fleet.nodes["n1"], 1)


def test_a_list_that_is_sealed_again_leaves_out_what_a_later_one_replaces(fleet: Fleet) -> None:
    """A node that was off gets each release once, in the list that is its own."""
    for number in range(1, 4):
        release(fleet.admin, number, only=True)
    fleet.deliver(["n1"])
    then, _ = known(fleet, "n1")
    assert then.entries == (entry(3),)
    events = [each.detail["number"] for each in fleet.nodes["n1"].audit_records() if each.event == "release"]
    assert events == [then.number]
