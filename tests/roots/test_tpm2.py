"""Secrets in a TPM: what opens where, after power cuts, in another TPM, in a cleared and in a locked one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.roots.devices import Tpm, tpm
from tiktrue_keys.errors import UnavailableError, UsageError, WrongMachineError
from tiktrue_keys.roots.tpm2 import Tpm2, tpm2_of

SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpm]:
    with tpm(tmp_path_factory.mktemp("tpm")) as made:
        yield made


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpm]:
    with tpm(tmp_path_factory.mktemp("other")) as made:
        yield made


def unsealed(device: Tpm, blob: bytes) -> bytes:
    with Tpm2(device.tcti).unseal(blob) as secret:
        return bytes(secret.view)


def test_a_secret_opens_again_and_leaves_nothing_in_the_tpm(device: Tpm) -> None:
    blob = Tpm2(device.tcti).seal(memoryview(SECRET))
    for _ in range(5):  # a TPM has three slots for objects and as many for sessions, and there is no resource manager
        assert unsealed(device, blob) == SECRET
    assert SECRET not in blob
    assert len(blob) < 512


def test_a_secret_survives_power_cuts(device: Tpm) -> None:
    blob = Tpm2(device.tcti).seal(memoryview(SECRET))
    for _ in range(5):
        device.cut()
        device.start()
        assert unsealed(device, blob) == SECRET


def test_a_locked_tpm_still_opens_it(device: Tpm) -> None:
    blob = Tpm2(device.tcti).seal(memoryview(SECRET))
    device.tool("tpm2_dictionarylockout", "--setup-parameters", "--max-tries=1", "--recovery-time=1000")
    guarded = device.folder / "guarded.ctx"
    device.tool("tpm2_createprimary", "-Q", "-C", "o", "-g", "sha256", "-G", "ecc", "-p", "right", "-c", str(guarded))
    with pytest.raises(subprocess.CalledProcessError):
        device.tool("tpm2_create", "-C", str(guarded), "-P", "wrong", "-G", "ecc", "-u", os.devnull, "-r", os.devnull)
    device.tool("tpm2_flushcontext", "-t")
    assert "inLockout:                 1" in device.tool("tpm2_getcap", "properties-variable")
    assert unsealed(device, blob) == SECRET
    device.tool("tpm2_dictionarylockout", "--clear-lockout")


def test_another_tpm_does_not_open_it(device: Tpm, other: Tpm) -> None:
    blob = Tpm2(device.tcti).seal(memoryview(SECRET))
    with pytest.raises(WrongMachineError, match="this TPM did not make the object"):
        unsealed(other, blob)


def test_a_cleared_tpm_does_not_open_it(other: Tpm) -> None:
    blob = Tpm2(other.tcti).seal(memoryview(SECRET))
    other.tool("tpm2_clear")
    with pytest.raises(WrongMachineError, match="or was cleared since"):
        unsealed(other, blob)


def test_a_pcr_that_changed_keeps_it_closed(device: Tpm) -> None:
    blob = Tpm2(device.tcti, pcrs=(7, 16)).seal(memoryview(SECRET))
    assert unsealed(device, blob) == SECRET  # the list of PCRs is the blob's, not that of the settings
    device.tool("tpm2_pcrextend", f"16:sha256={'11' * 32}")
    with pytest.raises(WrongMachineError, match="a PCR has another value"):
        unsealed(device, blob)


def test_an_object_that_was_brought_in_is_refused(device: Tpm) -> None:
    """An attacker who can write the keystore's file may seal a secret that he knows, where the object may move."""
    blob = bytearray(Tpm2(device.tcti).seal(memoryview(SECRET)))
    attributes = blob.index(bytes.fromhex("00000412"))  # fixedTPM, fixedParent, noDA
    blob[attributes + 3] &= ~0x02  # fixedTPM
    with pytest.raises(WrongMachineError, match="was not made in a TPM for sealing"):
        unsealed(device, bytes(blob))


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 60, -1])
def test_bytes_that_are_not_an_object_are_another_devices(device: Tpm, cut: int) -> None:
    blob = Tpm2(device.tcti).seal(memoryview(SECRET))
    with pytest.raises(WrongMachineError, match="tpm2: "):
        unsealed(device, blob[:cut])


def test_a_tpm_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    pytest.importorskip("tpm2_pytss", exc_type=ImportError)
    with pytest.raises(UnavailableError, match="tpm2: the TPM does not answer"):
        Tpm2(f"swtpm:path={tmp_path / 'none'}").seal(memoryview(SECRET))


@pytest.mark.parametrize("values", [{}, {"tcti": ""}, {"tcti": "../lib.so"}, {"tcti": "device:\n"}])
def test_a_setting_that_is_not_a_tcti_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="is not a TCTI"):
        tpm2_of(values)


@pytest.mark.parametrize("pcrs", ["24", "-1", "7,", "seven", "1 2", "99999999999"])
def test_a_setting_that_is_not_a_list_of_pcrs_is_refused(pcrs: str) -> None:
    with pytest.raises(UsageError, match="is not a list of PCRs"):
        tpm2_of({"tcti": "device:/dev/tpmrm0", "pcrs": pcrs})


def test_the_settings_are_read() -> None:
    assert tpm2_of({"tcti": "device:/dev/tpmrm0", "pcrs": "7, 0,7"}) == Tpm2("device:/dev/tpmrm0", (0, 7))
