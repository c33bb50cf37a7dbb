"""Whose release counts for a model: the authority's, and after its removal the last one that it made."""

from __future__ import annotations

from tests.core.dispatch.test_releases import entry
from tests.fleet.fleet import fleet_in_memory
from tests.fleet.test_releases import release
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.unpin import unpin


def test_the_last_release_of_an_issuer_that_was_removed_goes_on_counting_and_no_longer_ages() -> None:
    """A rollback would be as easy as a removal otherwise: its earlier signatures go on counting."""
    with fleet_in_memory("n1", "n2") as fleet:
        distribute(fleet.admin, ["llama"], every_node=True)
        release(fleet.admin, 1)
        fleet.deliver()
        kept, compromised = fleet.nodes["n1"], fleet.nodes["n2"]
        before = kept.release_of("llama")
        assert before is not None
        assert before.ends_at is not None
        unpin(kept, "head-office")
        unpin(compromised, "head-office", compromised=True)

        after = kept.release_of("llama")
        assert after is not None
        assert (after.release, after.ends_at) == (before.release, None)
        assert compromised.release_of("llama") is None  # its containers do not open at all


def test_this_keystores_own_model_has_no_release_but_its_own() -> None:
    with fleet_in_memory("n1") as fleet:
        node = fleet.nodes["n1"]
        release(fleet.admin, 1)
        fleet.deliver()
        found = node.release_of("llama")
        assert found is not None
        unpin(node, "head-office")
        node.generate("llama", no_license=True)
        assert node.release_of("llama") is None
        release(node, 2)
        own = node.release_of("llama")
        assert own is not None
        assert (own.release.entries, own.release.origin) == ((entry(2),), "")
