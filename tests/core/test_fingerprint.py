"""Anchors, accepted combinations and drift, compared with what DESIGN section 4 promises."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from itertools import combinations as subsets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktrue_keys.core.fingerprint import (
    Anchor,
    Binding,
    DriftReport,
    accepted_combinations,
    candidates,
    choose_anchors,
    drift,
    fingerprint_of,
)
from tiktrue_keys.core.machine.facts import MACHINE_BORNE, Fact, FactKind, MachineFacts
from tiktrue_keys.errors import IntegrityError

UUID = FactKind.SYSTEM_UUID
BOARD = FactKind.BOARD_SERIAL
NIC = FactKind.NIC
DISK = FactKind.DISK
MACHINE_ID = FactKind.MACHINE_ID
ALL_KINDS = tuple(FactKind)
ALL_SETS = [frozenset(kinds) for size in range(6) for kinds in subsets(ALL_KINDS, size)]


def machine(**values: str) -> MachineFacts:
    """A machine by the kinds' names, several values separated by spaces, in order of preference."""
    facts = [
        Fact(FactKind(name.replace("_", "-")), value, "test") for name, text in values.items() for value in text.split()
    ]
    return MachineFacts("linux", tuple(facts))


def with_kinds(kinds: frozenset[FactKind], suffix: str = "") -> MachineFacts:
    """A machine that has these kinds, one value each."""
    return MachineFacts(
        "linux", tuple(Fact(kind, f"{kind.value}{suffix}", "test") for kind in ALL_KINDS if kind in kinds)
    )


def opens(binding: Binding, facts: MachineFacts) -> bool:
    """Whether any candidate of any accepted combination is the anchors that were sealed to."""
    for combination in accepted_combinations(binding):
        sealed = tuple(Anchor(kind, binding.value_of(kind) or "") for kind in combination)
        if any(tried == sealed for tried in candidates(combination, facts)):
            return True
    return False


SERVER = machine(
    system_uuid="uuid-1", board_serial="board-1", nic="nic-1 nic-2", disk="disk-1 disk-2", machine_id="id-1"
)
BINDING = choose_anchors(SERVER)


def test_one_anchor_a_kind_sorted_by_name_the_preferred_value_of_a_set() -> None:
    assert BINDING.to_json() == [
        ["board-serial", "board-1"],
        ["disk", "disk-1"],
        ["machine-id", "id-1"],
        ["nic", "nic-1"],
        ["system-uuid", "uuid-1"],
    ]
    assert BINDING.machine_borne == 4
    assert not BINDING.weak


@pytest.mark.parametrize(
    ("kinds", "combinations"),
    [
        ({UUID, BOARD, NIC, DISK, MACHINE_ID}, 5),
        ({UUID, BOARD, NIC, DISK}, 4),
        ({UUID, NIC, DISK, MACHINE_ID}, 4),
        ({UUID, NIC, DISK}, 3),
        ({UUID, NIC, MACHINE_ID}, 1),
        ({NIC, MACHINE_ID}, 1),
        ({MACHINE_ID}, 1),
        (set(), 1),
    ],
)
def test_how_many_combinations_open(kinds: set[FactKind], combinations: int) -> None:
    assert len(accepted_combinations(choose_anchors(with_kinds(frozenset(kinds))))) == combinations


def test_the_machine_id_never_stands_in_for_a_machine_borne_fact() -> None:
    assert accepted_combinations(choose_anchors(machine(nic="n", machine_id="m"))) == ((NIC,),)
    assert accepted_combinations(choose_anchors(machine(machine_id="m"))) == ((MACHINE_ID,),)


def test_a_machine_without_facts_has_the_empty_combination_with_one_candidate() -> None:
    binding = choose_anchors(machine())
    assert binding.weak
    assert accepted_combinations(binding) == ((),)
    assert list(candidates((), SERVER)) == [()]


@pytest.mark.parametrize("kinds", ALL_SETS, ids=lambda kinds: "+".join(sorted(kinds)) or "none")
def test_every_set_of_changed_facts_opens_exactly_as_promised(kinds: frozenset[FactKind]) -> None:
    binding = choose_anchors(with_kinds(kinds))
    borne = kinds & set(MACHINE_BORNE)
    for changed in (other for other in ALL_SETS if other <= kinds):
        if len(borne) >= 3:
            promised = len(changed) <= 1
        elif borne:
            promised = changed <= {MACHINE_ID}
        else:
            promised = not changed
        gone = with_kinds(kinds - changed)
        other = replace(gone, facts=gone.facts + with_kinds(changed, "-other").facts)
        assert opens(binding, other) is promised, (kinds, changed)
        assert opens(binding, gone) is promised, (kinds, changed)
        assert set(drift(binding, other).changed) == set(drift(binding, gone).missing) == changed


values = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=4, unique=True).map(" ".join)
machines = st.builds(
    machine,
    system_uuid=values,
    board_serial=values,
    nic=values,
    disk=values,
    machine_id=st.sampled_from(["", "m", "n"]),
)


@given(machines, machines)
def test_a_set_opens_when_the_sealed_value_is_among_those_present(sealed: MachineFacts, later: MachineFacts) -> None:
    binding = choose_anchors(sealed)
    gone = [kind for kind in binding.kinds if binding.value_of(kind) not in later.values(kind)]
    if binding.machine_borne >= 3:
        promised = len(gone) <= 1
    elif binding.machine_borne:
        promised = not set(gone) - {MACHINE_ID}
    else:
        promised = not gone
    assert opens(binding, later) is promised


@given(machines, machines)
def test_a_re_seal_drops_no_fact_and_moves_no_anchor_that_is_there(sealed: MachineFacts, later: MachineFacts) -> None:
    before = choose_anchors(sealed)
    after = choose_anchors(later, before)
    assert set(before.kinds) <= set(after.kinds)
    for anchor in before.anchors:
        present = later.preferred(anchor.kind)
        if anchor.value in present or not present:
            assert after.value_of(anchor.kind) == anchor.value
        else:
            assert after.value_of(anchor.kind) == present[0]
    assert set(after.kinds) == set(before.kinds) | {fact.kind for fact in later.facts}
    assert choose_anchors(later, after) == after


@given(machines, machines)
def test_a_re_seal_without_new_kinds_keeps_the_kinds(sealed: MachineFacts, later: MachineFacts) -> None:
    before = choose_anchors(sealed)
    assert choose_anchors(later, before, add_kinds=False).kinds == before.kinds


def test_a_keystore_sealed_as_root_misses_two_facts_as_another_user() -> None:
    as_user = machine(nic="nic-1", disk="disk-1", machine_id="id-1")  # SMBIOS is for root alone
    assert not opens(BINDING, as_user)
    assert opens(choose_anchors(as_user), SERVER)


def test_a_keystore_of_another_user_stays_that_users_when_root_re_seals_it() -> None:
    as_user = machine(nic="nic-1", disk="disk-1", machine_id="id-1")
    by_root = choose_anchors(SERVER, choose_anchors(as_user), add_kinds=False)
    assert opens(by_root, as_user)
    assert not opens(choose_anchors(SERVER, choose_anchors(as_user)), as_user)


def test_candidates_try_every_value_the_preferred_first() -> None:
    tried = [tuple(anchor.value for anchor in choice) for choice in candidates((DISK, NIC), SERVER)]
    assert tried == [("disk-1", "nic-1"), ("disk-1", "nic-2"), ("disk-2", "nic-1"), ("disk-2", "nic-2")]


def test_a_kind_that_is_absent_leaves_no_candidate() -> None:
    assert list(candidates((NIC, UUID), machine(nic="nic-1"))) == []


def test_candidates_are_at_most_4096() -> None:
    many = machine(nic=" ".join(f"n{i}" for i in range(65)), disk=" ".join(f"d{i}" for i in range(5_000)))
    assert sum(1 for _ in candidates((NIC, DISK), many)) == 4_096


def test_an_anchor_past_the_64th_value_counts_as_gone_everywhere() -> None:
    many = machine(nic=" ".join(f"n{i}" for i in range(65)))
    binding = Binding((Anchor(NIC, "n64"),))
    assert not opens(binding, many)
    assert drift(binding, many).changed == (NIC,)
    assert choose_anchors(many, binding).value_of(NIC) == "n0"


def test_drift_is_told_by_name() -> None:
    later = machine(system_uuid="uuid-1", nic="nic-9", disk="disk-2 disk-1", machine_id="id-1")
    report = drift(BINDING, later)
    assert report == DriftReport(unchanged=(DISK, MACHINE_ID, UUID), changed=(NIC,), missing=(BOARD,), added=())
    assert report.names() == ("board-serial", "nic")
    assert report.drifted


@pytest.mark.parametrize("later", [machine(nic="nic-2"), machine(disk="disk-1")], ids=["changed", "missing"])
def test_one_anchor_that_is_gone_is_drift(later: MachineFacts) -> None:
    assert drift(choose_anchors(machine(nic="nic-1")), later).drifted


def test_a_first_seal_takes_every_kind_whatever_is_said_of_new_ones() -> None:
    assert choose_anchors(SERVER, add_kinds=False) == BINDING


def test_a_fact_that_came_in_addition_is_no_drift() -> None:
    report = drift(choose_anchors(machine(nic="nic-1")), SERVER)
    assert report.added == (BOARD, DISK, MACHINE_ID, UUID)
    assert drift(Binding(()), machine(nic="nic-1")).added == (NIC,)
    assert not report.drifted
    assert report.names() == ()


@given(machines)
def test_a_binding_is_read_back_as_written(facts: MachineFacts) -> None:
    binding = choose_anchors(facts)
    assert Binding.from_json(binding.to_json()) == binding
    assert not drift(binding, facts).drifted


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        "nic",
        [["nic"]],
        [["nic", "a", "b"]],
        [["nic", 1]],
        [[1, "a"]],
        [("nic", "a")],
        [["colour", "red"]],
        [["nic", ""]],
        [["nic", "a" * 257]],
        [["nic", "a"], ["nic", "b"]],
        [["nic", "a"], ["disk", "b"]],
        [["nic", "a"]] * 6,
    ],
)
def test_a_malformed_binding_is_refused(value: Any) -> None:
    with pytest.raises(IntegrityError):
        Binding.from_json(value)


def test_the_fingerprint_is_the_same_for_the_same_anchors_alone() -> None:
    spelled = b'tiktrue-keys/1 fingerprint\0[["board-serial","b"],["nic","n"]]'
    assert fingerprint_of(choose_anchors(machine(nic="n", board_serial="b"))) == sha256(spelled).hexdigest()
    assert fingerprint_of(choose_anchors(SERVER, BINDING)) == fingerprint_of(BINDING)
    for index, anchor in enumerate(BINDING.anchors):
        other = list(BINDING.anchors)
        other[index] = replace(anchor, value=anchor.value + "x")
        assert fingerprint_of(Binding(tuple(other))) != fingerprint_of(BINDING)
