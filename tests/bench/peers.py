"""Other programs that encrypt a file, as a user would call them, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = {
    "pyrage": "pyrage",
    "tink": "tink",
    "aws-encryption-sdk": "aws_encryption_sdk",
    "cryptotensors": "cryptotensors",
}
_PROGRAM = Path(__file__).with_name("peer_programs.py")


@dataclass(frozen=True)
class Peer:
    """How a program seals and opens: its words, with {in} and {out} for the files."""

    name: str
    seal: list[str]
    open: list[str]


def installed_peers(folder: Path, environment: Mapping[str, str]) -> list[Peer]:
    """Every peer that is there; keys and homes that they need lie in `folder`."""
    return [*_programs(folder), *_packages(environment)]


def _programs(folder: Path) -> Iterator[Peer]:
    yield Peer("cp", ["cp", "{in}", "{out}"], ["cp", "{in}", "{out}"])
    if shutil.which("age") and shutil.which("age-keygen"):
        identity = folder / "age.identity"
        subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
        done = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True)
        sealing = ["age", "-r", done.stdout.strip(), "-o", "{out}", "{in}"]
        yield Peer("age", sealing, ["age", "-d", "-i", str(identity), "-o", "{out}", "{in}"])
    if shutil.which("openssl"):
        words = ["openssl", "enc", "-aes-256-ctr", "-pbkdf2", "-pass", "pass:bench", "-in", "{in}", "-out", "{out}"]
        yield Peer("openssl enc -aes-256-ctr", words, [*words, "-d"])
    if shutil.which("gpg"):
        home = folder / "gnupg"
        home.mkdir(mode=0o700)
        words = ["gpg", "--homedir", str(home), "--batch", "--yes", "--pinentry-mode", "loopback"]
        words += ["--passphrase", "bench", "--compress-algo", "none", "-o", "{out}"]
        yield Peer("gpg --symmetric", [*words, "--symmetric", "{in}"], [*words, "--decrypt", "{in}"])


def _packages(environment: Mapping[str, str]) -> Iterator[Peer]:
    for name, module in _PACKAGES.items():
        there = subprocess.run(
            [sys.executable, "-c", f"import {module}"], env=dict(environment), capture_output=True, check=False
        )
        if there.returncode == 0:
            words = [sys.executable, str(_PROGRAM), name]
            yield Peer(name, [*words, "seal", "{in}", "{out}"], [*words, "open", "{in}", "{out}"])
