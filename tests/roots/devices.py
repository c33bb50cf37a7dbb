"""Devices made of software: a TPM (swtpm) that loses its power, and a module between us and a token (SoftHSM).

Each is a process or a library of this machine; what is missing makes the tests that need it skip, with the reason.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN, SO_PIN = "1234", "56789012"
_SHIM = Path(__file__).with_name("shim.c")


class Tpm:
    """A TPM 2.0 of its own, whose state lies in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "tpm"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def tcti(self) -> str:
        """What names the TPM to the TSS."""
        return f"swtpm:path={self.socket}"

    def start(self) -> None:
        """Give it power: what a boot does."""
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [
                *("swtpm", "socket", "--tpm2", "--flags", "not-need-init,startup-clear"),
                *("--tpmstate", f"dir={self.folder}", "--server", f"type=unixio,path={self.socket}"),
                *("--ctrl", f"type=unixio,path={self.socket}.ctrl"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + PATIENCE
        while not self.socket.exists():
            assert self._process.poll() is None, "swtpm has ended"
            assert time.monotonic() < end, "swtpm does not start"
            time.sleep(0.005)

    def cut(self) -> None:
        """Take its power away, without a shutdown."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def tool(self, *command: str) -> str:
        """Run one of the tpm2-tools, and return what it prints."""
        done = subprocess.run([*command, "-T", self.tcti], capture_output=True, text=True, check=True)
        return done.stdout


@contextmanager
def tpm(folder: Path) -> Iterator[Tpm]:
    """Yield a TPM with power. Skip without swtpm or the TSS's library."""
    pytest.importorskip("tpm2_pytss", reason="the TPM's library is not installed", exc_type=ImportError)
    if shutil.which("swtpm") is None:
        pytest.skip("swtpm is not installed")
    made = Tpm(folder)
    made.start()
    try:
        yield made
    finally:
        made.cut()


def softhsm(folder: Path, monkeypatch: pytest.MonkeyPatch, *labels: str, pin: str = PIN) -> str:
    """Return the path of SoftHSM's module, with a token for each label. Skip without it."""
    pytest.importorskip("pkcs11", reason="the library for PKCS#11 is not installed")
    if not SOFTHSM.exists():
        pytest.skip("SoftHSM is not installed")
    tokens, configuration = folder / "tokens", folder / "softhsm2.conf"
    tokens.mkdir()
    configuration.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    for label in labels:
        subprocess.run(
            [
                *("softhsm2-util", "--init-token", "--free", "--label", label),
                *("--so-pin", SO_PIN, "--pin", pin),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return str(SOFTHSM)


def shim(folder: Path) -> str:
    """Return the path of a module that notes that it was loaded, and answers a login as SHIM_LOGIN says."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    built = folder / "shim.so"
    folder.chmod(0o700)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(built), str(_SHIM), "-ldl"], check=True)
    return str(built)
