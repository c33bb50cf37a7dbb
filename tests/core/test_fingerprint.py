"""Anchors, accepted combinations and drift, compared with what the binding promises."""

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
    opens,
    shared_anchors,
    strength,
    without_shared,
)
from tiktrue_keys.core.machine.facts import MACHINE_BORNE, Fact, FactKind, MachineFacts
from tiktrue_keys.errors import IntegrityError

UUID = FactKind.SYSTEM_UUID
BOARD = FactKind.BOARD_SERIAL
NIC = FactKind.NIC
DISK = FactKind.DISK
MACHINE_ID = FactKind.MACHINE_ID
ALL_KINDS = tuple(FactKind)
ALL_SETS = [frozenset(kinds) for size in range(len(ALL_KINDS) + 1) for kinds in subsets(ALL_KINDS, size)]


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


def found(binding: Binding, facts: MachineFacts) -> bool:
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
        (set(ALL_KINDS), 6),
        ({UUID, BOARD, NIC, DISK, MACHINE_ID}, 4),
        ({UUID, BOARD, NIC, DISK}, 4),
        ({UUID, NIC, DISK, MACHINE_ID}, 3),
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


def test_every_set_of_changed_facts_opens_exactly_as_promised() -> None:
    for kinds in ALL_SETS:
        binding = choose_anchors(with_kinds(kinds))
        borne = kinds & set(MACHINE_BORNE)
        for changed in (other for other in ALL_SETS if other <= kinds):
            promised = len(changed & borne) <= (len(borne) >= 3) if borne else not changed
            gone = with_kinds(kinds - changed)
            other = replace(gone, facts=gone.facts + with_kinds(changed, "-other").facts)
            assert found(binding, other) is opens(binding, other) is promised, (kinds, changed)
            assert found(binding, gone) is opens(binding, gone) is promised, (kinds, changed)
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
    gone = {kind for kind in binding.kinds if binding.value_of(kind) not in later.values(kind)}
    borne = gone & set(MACHINE_BORNE)
    promised = len(borne) <= binding.has_spare if binding.machine_borne else not gone
    assert found(binding, later) is opens(binding, later) is promised


@given(machines, machines)
def test_a_re_seal_drops_no_fact_and_moves_no_anchor_that_is_there(sealed: MachineFacts, later: MachineFacts) -> None:
    before = choose_anchors(sealed)
    after = choose_anchors(later, before)
    assert set(before.kinds) <= set(after.kinds)
    for anchor in before.anchors:
        present = later.sealable(anchor.kind)
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
    assert not found(BINDING, as_user)
    assert found(choose_anchors(as_user), SERVER)


def test_a_keystore_of_another_user_stays_that_users_when_root_re_seals_it() -> None:
    as_user = machine(nic="nic-1", disk="disk-1", machine_id="id-1")
    by_root = choose_anchors(SERVER, choose_anchors(as_user), add_kinds=False)
    assert found(by_root, as_user)
    assert not found(choose_anchors(SERVER, choose_anchors(as_user)), as_user)


def test_candidates_try_every_value_the_preferred_first() -> None:
    tried = [tuple(anchor.value for anchor in choice) for choice in candidates((DISK, NIC), SERVER)]
    assert tried == [("disk-1", "nic-1"), ("disk-1", "nic-2"), ("disk-2", "nic-1"), ("disk-2", "nic-2")]


def test_a_kind_that_is_absent_leaves_no_candidate() -> None:
    assert list(candidates((NIC, UUID), machine(nic="nic-1"))) == []


def test_candidates_leave_out_what_the_selector_does_not_take() -> None:
    tried = list(candidates((DISK, NIC), SERVER, lambda place, anchor: anchor.value == ("disk-2", "nic-1")[place]))
    assert tried == [(Anchor(DISK, "disk-2"), Anchor(NIC, "nic-1"))]


def test_of_many_values_none_counts_as_gone() -> None:
    many = machine(nic=" ".join(f"n{i}" for i in range(500)))
    binding = Binding((Anchor(NIC, "n499"),))
    assert found(binding, many)
    assert not drift(binding, many).drifted
    assert choose_anchors(many, binding) == binding


def flawed(facts: MachineFacts, *values: str) -> MachineFacts:
    """The machine with these values of many machines among its own."""
    return replace(facts, facts=tuple(replace(f, flaw="shared" if f.value in values else "") for f in facts.facts))


def test_a_flawed_value_opens_but_is_never_chosen() -> None:
    facts = flawed(SERVER, "nic-1", "disk-1", "disk-2")
    assert [anchor.value for anchor in choose_anchors(facts).anchors] == ["board-1", "id-1", "nic-2", "uuid-1"]
    assert found(BINDING, facts)
    assert set(shared_anchors(BINDING, facts)) == {NIC, DISK}
    assert not drift(BINDING, facts).drifted
    again = without_shared(BINDING, facts)
    assert [anchor.value for anchor in again.anchors] == ["board-1", "id-1", "nic-2", "uuid-1"]
    assert choose_anchors(facts, BINDING, add_kinds=False) == again


def test_a_shared_anchor_stays_where_the_machine_would_not_open_without_it() -> None:
    sealed = choose_anchors(machine(system_uuid="uuid-1", nic="nic-1", disk="disk-1"))
    later = flawed(machine(nic="nic-1", disk="disk-1"), "nic-1")
    assert opens(sealed, later)
    assert without_shared(sealed, later) == sealed


def test_a_uuid_is_the_same_in_both_byte_orders() -> None:
    one, other = "4c4c4544-0042-3510-8052-c7c04f4e3332", "44454c4c-4200-1035-8052-c7c04f4e3332"
    binding = choose_anchors(machine(system_uuid=one, nic="n"))
    assert found(binding, machine(system_uuid=other, nic="n"))
    assert not drift(binding, machine(system_uuid=other, nic="n")).drifted
    assert shared_anchors(binding, flawed(machine(system_uuid=other), other)) == {UUID: "shared"}


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
        [["nic", "a"]] * 8,
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


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"machine_id": "m"}, "no hardware fact: a copy of this disk opens elsewhere"),
        ({"system_uuid": "u"}, "one hardware fact (system-uuid): a new mainboard locks you out"),
        (
            {"system_uuid": "u", "board_serial": "b"},
            "two hardware facts (board-serial, system-uuid), both needed: a new mainboard locks you out",
        ),
        (
            {"nic": "n", "disk": "d", "machine_id": "m"},
            "two hardware facts (disk, nic), both needed: a new disk or network card locks you out",
        ),
        (
            {"wifi": "w", "gpu": "g", "nic": "n"},
            "three hardware facts (gpu, nic, wifi): any one of them may change",
        ),
    ],
)
def test_one_line_says_how_strong_a_binding_is(facts: dict[str, str], line: str) -> None:
    assert strength(choose_anchors(machine(**facts))) == line
