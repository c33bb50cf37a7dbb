"""The secrets that open a keystore on its machine, by the ways that its slots name.

Come here for where a way's secret comes from: the host secret from its file, any other from the device that sealed it,
if the caller of the session has enabled it. secret_place.py finds the file; device_secrets.py says what a device does.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiktrue_keys.core.keystore.device_secrets import DeviceSecret, DeviceSecrets, must_be_known
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.paths import KeystorePaths
from tiktrue_keys.core.keystore.secret_place import HostSecret, find_secret
from tiktrue_keys.core.keystore.slots import MACHINE, open_on_machine, slots_of, takes_facts, ways_of
from tiktrue_keys.core.machine import MachineFacts
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import TikTrueKeysError, UnavailableError

MachineSecret = HostSecret | DeviceSecret
"""A secret that opens the machine's slots of one way."""


def read_secret(place: KeystorePaths, devices: DeviceSecrets, document: Document, way: str) -> MachineSecret:
    """Return the secret of a way. The header need not be authenticated.

    Raises what find_secret raises for the host secret, what a device raises for another way, and
    IntegrityError for a way that this version does not have.
    """
    if way == MACHINE:
        return find_secret(place, document)
    must_be_known(way)
    blob = slots_of(document, way)[0].blob
    return DeviceSecret(devices.unseal(way, blob), way, blob)


def open_by_any_way(
    place: KeystorePaths, facts: MachineFacts, devices: DeviceSecrets, document: Document
) -> tuple[SecretBuffer, MachineSecret]:
    """Return H and the secret that opened it, by the first way that does.

    Raises the error of the only way, or one that says why each of them does not open it.
    """
    failures: list[TikTrueKeysError] = []
    for way in ways_of(document) or (MACHINE,):
        try:
            secret = read_secret(place, devices, document, way)
            return open_on_machine(document, facts, secret.view, way=way), secret
        except TikTrueKeysError as error:
            failures.append(error)
    raise _of_all(failures)


def _of_all(failures: Sequence[TikTrueKeysError]) -> TikTrueKeysError:
    """Return one error for several ways. A device that is not there may come back: that counts first."""
    first = next((error for error in failures if isinstance(error, UnavailableError)), failures[0])
    if len(failures) == 1:
        return first
    words = "; ".join([first.message, *(error.message for error in failures if error is not first)])
    return type(first)(words, **first.advice)


def secrets_with_facts(
    place: KeystorePaths, devices: DeviceSecrets, document: Document, known: MachineSecret
) -> tuple[MachineSecret, ...]:
    """Return the secret of each way whose slots have facts; `known` is the one that is open already."""
    ways = [way for way in ways_of(document) if takes_facts(document, way)]
    return tuple(known if way == known.way else read_secret(place, devices, document, way) for way in ways)
