"""Slots: what seals and opens H, over made-up machines of every shape."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.core.machine.test_shared_values import FLAWS
from tests.keystores import NOON, error_of
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.fingerprint import Anchor, Binding, accepted_combinations, choose_anchors
from tiktrue_keys.core.keystore import slots
from tiktrue_keys.core.keystore.document import Cost, Document
from tiktrue_keys.core.machine.facts import Fact, FactKind, MachineFacts
from tiktrue_keys.core.machine.identifiers import swapped_uuid
from tiktrue_keys.core.machine.independence import judged
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import WrongMachineError

KEYSTORE_ID = bytes(16)
HOST_SECRET = memoryview(bytes(range(32)))
ROOT = memoryview(bytes(range(32, 64)))
Part = tuple[Fact, ...]
"""The facts that carry one number: they come and go together."""

PUBLIC = [Fact(kind, value, "published") for kind, values in FLAWS.items() for value, flaw in values.items() if flaw]


NUMBER = "f0e1d2c3b4a5968778695a4b3c2d1e"


def sealed_to(binding: Binding) -> Document:
    """The header of a keystore that is bound so."""
    return Document(
        keystore_id=KEYSTORE_ID,
        created_at=NOON,
        epoch=1,
        host_secret_id=bytes(16),
        host_secret_path="/secret",
        marks_path="/",
        costs=(Cost(bytes(32), PBKDF2_MIN_ROUNDS),),
        slots=slots.seal_to_machine(ROOT, binding, HOST_SECRET, KEYSTORE_ID),
        resealed_at=NOON,
        audit_key=bytes(32),
        identity_key=bytes(32),
        identity_hpke=bytes(1216),
    )


def opens_on(document: Document, facts: MachineFacts) -> bool:
    """Whether a machine opens it, and to H."""
    opened: list[SecretBuffer] = []
    error = error_of(lambda: opened.append(slots.open_on_machine(document, facts, HOST_SECRET)))
    assert error is None or isinstance(error, WrongMachineError)
    assert all(root.view == ROOT for root in opened)
    return bool(opened)


def fact(kind: FactKind, value: str) -> Fact:
    return Fact(kind, value, "a test")


def machine(parts: Sequence[Part], public: Sequence[Fact] = (), *, virtual: bool = False) -> MachineFacts:
    """A machine of these parts, as the reader of a platform shows it."""
    return judged(MachineFacts("linux", (*itertools.chain(*parts), *public), virtual=virtual))


def firmware(shape: str, number: str) -> list[Part]:
    """The facts of a board's firmware: what makers write there of one number, or of two."""
    address = f"3c:ec:ef:{number[0:2]}:{number[2:4]}:{number[4:6]}"
    near = f"3c:ec:ef:{number[0:2]}:{number[2:4]}:{int(number[4:6], 16) ^ 1:02x}"
    bare, tag = address.replace(":", ""), "7Q0" + number[:4].upper()
    uuid = "-".join((number[:8], number[8:12], f"4{number[12:15]}", f"a{number[15:18]}", number[18:30]))
    dell = f"4c4c4544-00{ord('Q'):02x}-{ord('0'):02x}10-80{ord(tag[3]):02x}-b7c04f" + tag[4:].encode().hex()
    # Bytes in the order of SMBIOS: the first of the address, 02, the second, 03, ...
    ami = f"{bare[0:2]}02{bare[2:4]}03-{bare[4:6]}04-{bare[6:8]}05-{bare[8:10]}06-{bare[10:12]}0700080009"
    shapes: dict[str, list[Part]] = {
        "random": [(fact(FactKind.SYSTEM_UUID, uuid),)],
        "random, and a serial": [(fact(FactKind.SYSTEM_UUID, uuid),), (fact(FactKind.BOARD_SERIAL, "BSS" + tag),)],
        "a serial": [(fact(FactKind.BOARD_SERIAL, f"PF{number[:10]}"),)],
        "AMI": [(fact(FactKind.SYSTEM_UUID, swapped_uuid(ami)), fact(FactKind.NIC, address))],
        "AMI, swapped, two ports": [
            (fact(FactKind.SYSTEM_UUID, ami), fact(FactKind.NIC, near), fact(FactKind.NIC, address))
        ],
        "Supermicro": [(fact(FactKind.SYSTEM_UUID, f"31000100-2c00-0200-7ac5-{bare}"), fact(FactKind.NIC, near))],
        "Dell": [(fact(FactKind.SYSTEM_UUID, dell), fact(FactKind.BOARD_SERIAL, f".{tag}.CNFCP0098U00J1."))],
        "VMware": [(fact(FactKind.SYSTEM_UUID, uuid), fact(FactKind.BOARD_SERIAL, f"VMware-{uuid}"))],
        "a disk with the port's number": [(fact(FactKind.NIC, address), fact(FactKind.DISK, f"eui.{_eui_64(bare)}"))],
        "Raspberry Pi": [
            (fact(FactKind.BOARD_SERIAL, f"00000000{number[:8]}"), fact(FactKind.NIC, _pi_address(number)))
        ],
    }
    return shapes[shape]


def _eui_64(address: str) -> str:
    return f"{address[:6]}fffe{address[6:]}"


def _pi_address(number: str) -> str:
    return f"b8:27:eb:{number[2:4]}:{number[4:6]}:{number[6:8]}"


FIRMWARE = (
    "random",
    "random, and a serial",
    "a serial",
    "AMI",
    "AMI, swapped, two ports",
    "Supermicro",
    "Dell",
    "VMware",
    "a disk with the port's number",
    "Raspberry Pi",
)


def device(shape: str, number: str) -> Part:
    """The facts of a part that can be taken out."""
    address = f"0c:42:a1:{number[0:2]}:{number[2:4]}:{number[4:6]}"
    return {
        "card": (fact(FactKind.NIC, address),),
        "radio": (fact(FactKind.NIC, "98:fa:9b" + address[8:]), fact(FactKind.WIFI, "98:fa:9b" + address[8:])),
        "disk": (fact(FactKind.DISK, f"naa.55cd2e4{number[:9]}"),),
        "GPU": (
            fact(FactKind.GPU, f"gpu-{number[:8]}-{number[8:12]}-4{number[12:15]}-a{number[15:18]}-{number[18:30]}"),
        ),
    }[shape]


@st.composite
def parts_of_a_machine(draw: st.DrawFn) -> list[Part]:
    """A machine's own parts: what its firmware says, cards, radios, disks, GPUs."""
    seed = draw(st.integers(0, 2**32))
    numbers = (hashlib.sha256(f"{seed} {place}".encode()).hexdigest() for place in itertools.count())
    parts = [] if draw(st.booleans()) else firmware(draw(st.sampled_from(FIRMWARE)), next(numbers))
    kinds = draw(st.lists(st.sampled_from(["card", "radio", "disk", "GPU"]), max_size=5))
    return [*parts, *(device(kind, next(numbers)) for kind in kinds)]


@given(parts_of_a_machine(), st.lists(st.sampled_from(PUBLIC), max_size=8), st.booleans(), st.data())
def test_what_is_public_or_derived_opens_no_copy(
    parts: list[Part], public: list[Fact], virtual: bool, data: st.DataObject
) -> None:
    binding = choose_anchors(machine(parts, public, virtual=virtual))
    assume(not binding.weak)
    needed = min(len(combination) for combination in accepted_combinations(binding))
    known = data.draw(st.lists(st.sampled_from(parts), max_size=needed - 1, unique=True)) if needed > 1 else []
    elsewhere = machine(known, public, virtual=virtual)
    assert not opens_on(sealed_to(binding), elsewhere)


@given(parts_of_a_machine(), st.lists(st.sampled_from(PUBLIC), max_size=8), st.data())
def test_one_part_of_an_honest_machine_may_change_where_there_is_a_spare(
    parts: list[Part], public: list[Fact], data: st.DataObject
) -> None:
    binding = choose_anchors(machine(parts, public))
    document = sealed_to(binding)
    assert opens_on(document, machine(parts, public))
    assume(binding.has_spare)
    gone = data.draw(st.sampled_from(parts))
    rest = [part for part in parts if part is not gone]
    assert opens_on(document, machine(rest, public))
    assert opens_on(document, machine([*rest, *firmware("random, and a serial", NUMBER)]))


MANY = MachineFacts(
    "linux",
    (
        *(fact(FactKind.NIC, f"0c:42:a1:00:00:{number:02x}") for number in range(64)),
        *(fact(FactKind.DISK, f"naa.55cd2e4151d2{number:04x}") for number in range(64)),
    ),
)


def test_a_wrong_machine_of_many_parts_derives_next_to_nothing() -> None:
    other = Binding((Anchor(FactKind.DISK, "naa.5000c500deadc0de"), Anchor(FactKind.NIC, "98:fa:9b:3d:60:12")))
    document = sealed_to(other)
    hints = slots._hints_here(MANY, HOST_SECRET, KEYSTORE_ID)
    (slot,) = document.slots
    assert sum(1 for _ in slots._tries(slot, MANY, hints)) < 64
    assert not opens_on(document, MANY)


def test_a_fact_has_one_hint_in_every_slot() -> None:
    binding = choose_anchors(machine([*firmware("random, and a serial", NUMBER), device("card", NUMBER)]))
    found: dict[str, set[int]] = {}
    for slot in slots.seal_to_machine(ROOT, binding, HOST_SECRET, KEYSTORE_ID):
        for name, hint in zip(slot.facts, slot.hints, strict=True):
            found.setdefault(name, set()).add(hint)
    assert {name: len(hints) for name, hints in found.items()} == dict.fromkeys(found, 1)
    assert len(found) == 3


def test_slots_without_hints_open_whatever_the_place_of_the_value() -> None:
    last = Binding((Anchor(FactKind.DISK, "naa.55cd2e4151d2003f"), Anchor(FactKind.NIC, "0c:42:a1:00:00:3f")))
    document = sealed_to(last)
    older = replace(document, slots=tuple(replace(slot, hints=b"") for slot in document.slots))
    few = replace(MANY, facts=tuple(each for each in MANY.facts if each.value.endswith(("3f", "3e"))))
    assert opens_on(older, few)
    assert not slots.are_current(older, last)
    assert slots.are_current(document, last)
    assert slots.are_current(replace(older, version=1), last)


def test_slots_that_name_other_combinations_are_not_current() -> None:
    both = Binding((Anchor(FactKind.DISK, "naa.55cd2e4151d2003f"), Anchor(FactKind.NIC, "0c:42:a1:00:00:3f")))
    assert not slots.are_current(sealed_to(both), Binding(both.anchors[:1]))


SERVER = MachineFacts(
    "linux",
    tuple(
        fact(kind, kind.value)
        for kind in (FactKind.SYSTEM_UUID, FactKind.BOARD_SERIAL, FactKind.NIC, FactKind.DISK, FactKind.MACHINE_ID)
    ),
)
SEALED = "it is sealed to board-serial, disk, nic and system-uuid"
FIRMWARE_FILES = ("/sys/class/dmi/id/product_uuid", "/sys/class/dmi/id/board_serial")


def others(*kinds: FactKind, gone: Sequence[FactKind] = ()) -> MachineFacts:
    """The server with other values of some kinds, and none of others."""
    facts = (replace(each, value="other") if each.kind in kinds else each for each in SERVER.facts)
    return replace(SERVER, facts=tuple(each for each in facts if each.kind not in gone))


def refusal(document: Document, facts: MachineFacts) -> tuple[str, str]:
    """What the refusal says after its first words, and its hint."""
    error = error_of(lambda: slots.open_on_machine(document, facts, HOST_SECRET))
    assert isinstance(error, WrongMachineError)
    return error.message.removeprefix("this machine does not open the keystore: "), error.hint


def test_a_refusal_names_the_facts_that_are_not_here() -> None:
    document = sealed_to(choose_anchors(SERVER))
    put_back = "put the changed part back"
    assert refusal(document, others(FactKind.NIC, FactKind.DISK)) == (f"{SEALED}; disk and nic differ here", put_back)
    words = f"{SEALED}; nic differs here; disk is missing here"
    assert refusal(document, others(FactKind.NIC, gone=[FactKind.DISK])) == (words, put_back)
    as_user = others(gone=[FactKind.SYSTEM_UUID, FactKind.BOARD_SERIAL])
    words = f"{SEALED}; board-serial and system-uuid are missing here"
    hint = f"this user cannot read {', '.join(FIRMWARE_FILES)}: let it, or put the changed part back"
    assert refusal(document, replace(as_user, unreadable=FIRMWARE_FILES)) == (words, hint)


def test_a_refusal_without_hints_names_what_it_is_sealed_to() -> None:
    document = sealed_to(choose_anchors(SERVER))
    older = replace(document, slots=tuple(replace(slot, hints=b"") for slot in document.slots))
    assert refusal(older, others(FactKind.NIC, FactKind.DISK))[0] == SEALED


def test_a_refusal_of_a_keystore_without_facts_says_so() -> None:
    document = replace(sealed_to(Binding(())), slots=())
    assert refusal(document, SERVER)[0] == "it is sealed to no fact"
