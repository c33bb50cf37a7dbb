"""Which facts of one machine carry one number, so that a keystore counts them once.

Come here when a fact is left out that looks good by itself. A UUID that spells the address of a network card, or the
service tag that the board's serial number has, is known to everybody who knows the other: counted as two facts, "any
one may have changed" would be met by that number alone. The functions are pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from tiktrue_keys.core.machine.facts import Fact, FactKind, MachineFacts
from tiktrue_keys.core.machine.identifiers import NVME_DISK, swapped_uuid
from tiktrue_keys.core.machine.shared_values import dell_service_tag, shared

IN_VIRTUAL_MACHINE = "a GPU that a virtual machine may lose or share"

_ORDER = (
    FactKind.SYSTEM_UUID,
    FactKind.BOARD_SERIAL,
    FactKind.NIC,
    FactKind.WIFI,
    FactKind.DISK,
    FactKind.GPU,
    FactKind.MACHINE_ID,
)
"""Of two facts that carry one number, the keystore is sealed to the first."""

_ADDRESSES = (FactKind.NIC, FactKind.WIFI)
_NEAR = 16
"""A board's addresses are one block: its ports, its management controller and its radio are this far apart at most."""

_EUI_64 = re.compile("eui\\.([0-9a-f]{6})[0-9a-f]{4}([0-9a-f]{6})")
_MIN_SERIAL = 6
_MIN_RUN = 8
_RASPBERRY_PI = "b827eb"
"""On boards before the fourth the last three bytes of the address are those of the serial number."""


def judged(facts: MachineFacts) -> MachineFacts:
    """Return the facts, each with the flaw that keeps a keystore from being sealed to it, if it has one."""
    radios = {fact.value for fact in facts.facts if fact.kind is FactKind.WIFI}
    counted = _Counted()
    flaws: dict[int, str] = {}
    for place, fact in sorted(enumerate(facts.facts), key=lambda item: _rank(item[1], radios)):
        flaw = fact.flaw or shared(fact.kind, fact.value) or counted.flaw_of(fact)
        if fact.kind is FactKind.GPU and facts.virtual:
            flaw = flaw or IN_VIRTUAL_MACHINE
        flaws[place] = flaw
        if not flaw:
            counted.add(fact)
    return replace(facts, facts=tuple(replace(fact, flaw=flaws[place]) for place, fact in enumerate(facts.facts)))


def _rank(fact: Fact, radios: set[str]) -> int:
    # A wireless interface shows its radio's address, which the radio itself shows too: that one is permanent.
    kind = FactKind.WIFI if fact.kind is FactKind.NIC and fact.value in radios else fact.kind
    return 2 * _ORDER.index(kind) + (kind is not fact.kind)


class _Counted:
    """The facts that count so far, and every number that is near one of their addresses."""

    def __init__(self) -> None:
        self._firmware: list[Fact] = []
        self._near: dict[int, FactKind] = {}

    def add(self, fact: Fact) -> None:
        if fact.kind in (FactKind.SYSTEM_UUID, FactKind.BOARD_SERIAL):
            self._firmware.append(fact)
        if fact.kind in _ADDRESSES:
            number = int.from_bytes(_address(fact), "big")
            self._near.update(dict.fromkeys(range(number - _NEAR, number + _NEAR + 1), fact.kind))

    def flaw_of(self, fact: Fact) -> str:
        """Return the flaw of a fact that carries the number of one of another kind."""
        if fact.kind is FactKind.MACHINE_ID:  # it is never in a slot with another fact
            return ""
        kinds = [other.kind for other in self._firmware if other.kind is not fact.kind and _one_number(other, fact)]
        kinds += [self._near[number] for number in _numbers(fact) if number in self._near]
        return next((f"the {kind.value} carries the same number" for kind in kinds if kind is not fact.kind), "")


def _numbers(fact: Fact) -> Iterator[int]:
    """Yield the addresses that a fact spells, as numbers."""
    if fact.kind in _ADDRESSES:
        yield int.from_bytes(_address(fact), "big")
        return
    for text in re.findall("[0-9a-f]{12,}", _bare(_plain(fact))):
        yield from (int(text[at : at + 12], 16) for at in range(len(text) - 11))
    eui = _EUI_64.fullmatch(fact.value) if fact.kind is FactKind.DISK else None
    if eui is not None:  # an address with two bytes in its middle, the universal bit as it is or not
        spelled = int(eui[1] + eui[2], 16)
        yield from (spelled, spelled ^ 2 << 40)


def _one_number(firmware: Fact, fact: Fact) -> bool:
    """Return whether a fact carries the number of the system UUID or of the board serial."""
    if fact.kind in _ADDRESSES:
        return _spells_address(firmware, _address(fact))
    if firmware.kind is FactKind.SYSTEM_UUID:
        return _spells_uuid(fact, firmware.value)
    serials = [_bare(_plain(each)) for each in (firmware, fact)]
    return min(map(len, serials)) >= _MIN_SERIAL and (serials[0] in serials[1] or serials[1] in serials[0])


def _spells_uuid(fact: Fact, uuid: str) -> bool:
    """Return whether a fact repeats the UUID in either byte order (VMware, Google, EC2), or a serial number in it."""
    orders = [each.replace("-", "") for each in (uuid, swapped_uuid(uuid))]
    text = _plain(fact)
    hexadecimal = re.sub(r"[^0-9a-f]", "", text.lower())
    if any(digits in hexadecimal for digits in orders):
        return True
    if fact.kind is not FactKind.BOARD_SERIAL:
        return False
    tag, bare = dell_service_tag(uuid), _bare(text)
    if tag is not None and tag.lower() in bare:
        return True
    return any(_share_run(_bare(_letters(bytes.fromhex(digits))), bare) for digits in orders)


def _letters(data: bytes) -> str:
    """Return the longest text in a UUID: some makers write the product and the serial number into it."""
    runs = re.findall(rb"[0-9A-Za-z]+", data)
    return max(runs, key=len, default=b"").decode("ascii")


def _share_run(one: str, other: str) -> bool:
    runs = (one[at : at + _MIN_RUN] for at in range(len(one) - _MIN_RUN + 1))
    return any(run in other for run in runs)


def _spells_address(firmware: Fact, address: bytes) -> bool:
    if firmware.kind is FactKind.SYSTEM_UUID:
        return _uuid_spells_address(firmware.value, address)
    if address.hex().startswith(_RASPBERRY_PI) and _bare(firmware.value).endswith(address.hex()[6:]):
        return True
    number = int.from_bytes(address, "big")
    return any(abs(number - spelled) <= _NEAR for spelled in _numbers(firmware))


def _uuid_spells_address(uuid: str, address: bytes) -> bool:
    orders = [bytes.fromhex(each.replace("-", "")) for each in (uuid, swapped_uuid(uuid))]
    windows = (data[at : at + 6] for data in orders for at in range(11))
    if any(_near(window, address) or _near(window[::-1], address) for window in windows):
        return True
    # The maker's prefix is enough where a UUID is known to hold an address: the rest is one of a block.
    held = [*(data[10:] for data in orders), *(each for data in orders for each in (*_of_ami(data), *_of_eui(data)))]
    return any(each[:3] == address[:3] for each in held)


def _of_ami(data: bytes) -> Iterator[bytes]:
    """Yield the address in AMI's UUID, whose bytes stand between 02, 03, 04, 05, 06 and 07."""
    if data[1:10:2] == b"\2\3\4\5\6" and data[11:] == b"\7\0\x08\0\x09":
        yield data[0:11:2]


def _of_eui(data: bytes) -> Iterator[bytes]:
    """Yield the addresses in the EUI-64s that a UUID holds: ff:fe in the middle, the universal bit as it is or not."""
    for at in range(9):
        window = data[at : at + 8]
        if window[3:5] == b"\xff\xfe":
            yield window[:3] + window[5:]
            yield bytes((window[0] ^ 2,)) + window[1:3] + window[5:]


def _address(fact: Fact) -> bytes:
    """Return the six bytes of an address; a port GUID has two more in the middle."""
    octets = bytes.fromhex(fact.value.replace(":", ""))
    return octets if len(octets) == 6 else octets[:3] + octets[5:]


def _near(one: bytes, other: bytes) -> bool:
    return abs(int.from_bytes(one, "big") - int.from_bytes(other, "big")) <= _NEAR


def _plain(fact: Fact) -> str:
    """Return a fact's text; an NVMe disk's serial number without its hexadecimal spelling."""
    nvme = NVME_DISK.fullmatch(fact.value) if fact.kind is FactKind.DISK else None
    return bytes.fromhex(nvme[1]).decode("ascii", "replace") if nvme else fact.value


def _bare(text: str) -> str:
    return re.sub(r"[^0-9a-z]", "", text.lower())
