"""`make bench`: models through this program and through others', on the same file, in one run, peers interleaved.

    python -m tests.bench.model_bench [--size-mib 2048] [--rounds 7] [--folder /dev/shm] [--peers DIR] [--json FILE]
                                      [--only inside|commands|rewraps|reads]...

Tables: inside the process with the output there already; whole commands with fresh output, start-up, license and
signature included; rewraps of a small and of a sparse 64 GB container; reads from an open model. Peers that are not
installed are left out; DIR may hold Python packages that were put there (pip install --target).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import save_file

from tests.bench.peers import Peer, installed_peers
from tests.bench.pipeline_bench import header
from tests.bench.timing import Contestant, measured, shown, written
from tests.models.workshop import stretch
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.models.container.container import read_container
from tiktrue_keys.models.container.data_key import open_data_key
from tiktrue_keys.models.container.seal import seal_container
from tiktrue_keys.models.container.unseal import open_container
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.open import open_model
from tiktrue_keys.models.file.rewrap import rewrap_model
from tiktrue_keys.models.pipeline.pipeline import hash_body
from tiktrue_keys.models.storage.header_file import read_slots

MIB = 1 << 20
SPARSE = 64 * 10**9
ROOT = Path(__file__).parents[2]
LICENSE = "a license, made up for the benchmark"
OURS = "tiktrue-keys"
_MEASURING = (
    "import os, resource, sys\n"
    "assert os.spawnv(os.P_WAIT, sys.argv[1], sys.argv[1:]) == 0\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
)


class Bench:
    """A folder with a model, a keystore, and what is measured on them."""

    def __init__(self, folder: Path, size: int, rounds: int, packages: Path | None) -> None:
        self.folder, self.rounds = folder, rounds
        self.plain = folder / "model.safetensors"
        chunk = min(size, 64 * MIB)
        numbers = numpy.random.default_rng(1)
        save_file({f"t{at}": numbers.integers(0, 256, chunk, numpy.uint8) for at in range(size // chunk)}, self.plain)
        self.size = self.plain.stat().st_size
        secret = folder / "host" / "secret"
        self.manager = KeyManager(folder / "keystore", host_secret_file=secret)
        self.manager.generate("llama", license_key=LICENSE)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *([str(packages)] if packages else [])]),
            "TIKTRUE_KEYS_HOME": str(folder / "keystore"),
            "TIKTRUE_EPHEMERAL": "1",
            "TIKTRUE_HOST_SECRET_FILE": str(secret),
            "TIKTRUE_LICENSE_KEY": LICENSE,
        }
        program = [sys.executable, "-m", "tiktrue_keys"]
        ours = Peer(
            OURS,
            [*program, "encrypt-model", "{in}", "-o", "{out}", "--key", "llama", "-q"],
            [*program, "decrypt-model", "{in}", "-o", "{out}", "-q"],
        )
        self.programs = [ours, *installed_peers(folder, self.environment)]

    def inside(self) -> list[dict[str, Any]]:
        """Seal and open into files that are there already."""
        copy, sealed, opened = (self.folder / name for name in ("copy", "sealed", "opened"))
        for path in (copy, sealed, opened):
            shutil.copyfile(self.plain, path)
        data_key = SecretBuffer.random()
        source, out, back = (os.open(path, os.O_RDWR) for path in (self.plain, sealed, opened))

        def seal() -> None:
            os.lseek(source, 0, os.SEEK_SET)
            seal_container(source, out, header(), data_key.view, signer=None)

        def open_it() -> None:
            open_container(out, read_container(out), back, data_key.view)

        def hash_it() -> None:
            container = read_container(out)
            hash_body(container.source(out), container.geometry)

        def cat() -> None:
            with copy.open("r+b") as target:
                subprocess.run(["cat", self.plain], stdout=target, check=True)

        contestants = [
            Contestant("cat", cat),
            Contestant("seal, with the tree", seal),
            Contestant("open, every leaf verified", open_it),
            Contestant("hash the tree alone", hash_it),
        ]
        times = measured(contestants, self.rounds)
        subprocess.run(["cmp", self.plain, opened], check=True)
        for fd in (source, out, back):
            os.close(fd)
        for path in (copy, sealed, opened):
            path.unlink()
        return [shown(f"inside the process, {self.size / 1e9:.2f} GB, output there already", times, beside="cat")]

    def commands(self) -> list[dict[str, Any]]:
        """Every program seals, then every program opens what it has sealed."""
        beside = "age" if any(peer.name == "age" for peer in self.programs) else "cp"
        # One sealed file at a time: those of all programs together are more than the memory behind a tmpfs.
        sealed, opened = self.folder / "sealed", self.folder / "opened"
        sealing = [
            Contestant(peer.name, self._runner(peer.seal, self.plain, sealed), check=_remover(sealed))
            for peer in self.programs
        ]
        opening = [
            Contestant(
                peer.name,
                self._runner(peer.open, sealed, opened),
                self._runner(peer.seal, self.plain, sealed),
                _remover(sealed, opened),
            )
            for peer in self.programs
        ]
        sections = [shown("whole commands, fresh output: encrypt", measured(sealing, self.rounds), beside=beside)]
        sections.append(shown("whole commands, fresh output: decrypt", measured(opening, self.rounds), beside=beside))
        ours = next(peer for peer in self.programs if peer.name == OURS)
        again = {}
        for operation, words, source, target in (
            ("encrypt-model", ours.seal, self.plain, self.folder / "again.ttm"),
            ("decrypt-model", ours.open, self.folder / "again.ttm", opened),
        ):
            again[operation] = self._peak_memory(_filled(words, source, target))
            print(f"peak memory of {operation}: {again[operation] / 1e6:.0f} MB")
        subprocess.run(["cmp", self.plain, opened], check=True)
        _remover(opened, self.folder / "again.ttm")()
        return [*sections, {"title": "peak memory in bytes", "figures": again}]

    def rewraps(self) -> list[dict[str, Any]]:
        """From key to key; the license is stretched already."""
        small, huge = self.folder / "small.ttm", self.folder / "huge.ttm"
        source = self.folder / "small"
        source.write_bytes(os.urandom(MIB))
        for path in (small, huge):
            encrypt_model(self.manager, source, path, key="llama", license_key=LICENSE)
        with huge.open("rb") as file:
            header = read_slots(file.fileno()).current.header
        with open_data_key(self.manager, header, LICENSE, Use.ENCRYPT) as opened:
            stretch(self.manager, huge, bytes(opened.secret.view), SPARSE)
        contestants = [
            Contestant("1 MB", lambda: self._rewrap(small), self._rotate),
            Contestant("64 GB, sparse", lambda: self._rewrap(huge)),
        ]
        times = measured(contestants, self.rounds)
        huge.unlink()
        return [shown("rewrap, license stretched before", times, beside="1 MB")]

    def reads(self) -> list[dict[str, Any]]:
        """From an open model: in order, and 1 MiB at random places."""
        path = self.folder / "model.ttm"
        encrypt_model(self.manager, self.plain, path, key="llama", license_key=LICENSE)
        speeds, overheads = [], []
        buffer = bytearray(MIB)
        for _ in range(self.rounds):
            with open_model(path, self.manager, LICENSE) as model:
                begun = time.perf_counter()
                while model.readinto(buffer):
                    pass
                speeds.append(model.length / (time.perf_counter() - begun) / 1e9)
                overheads.append(model.bytes_decrypted / model.length)
        spots, waits = random.Random(1), []
        with open_model(path, self.manager, LICENSE) as model:
            for _ in range(1000):
                at = spots.randrange(max(1, model.length - MIB))
                begun = time.perf_counter()
                model.readinto_at(buffer, at)
                waits.append((time.perf_counter() - begun) * 1e3)
        figures = {
            "sequential GB/s, best": max(speeds),
            "sequential GB/s, median": statistics.median(speeds),
            "decrypted / read, sequential": max(overheads),
            "random 1 MiB ms, median": statistics.median(waits),
            "random 1 MiB ms, best": min(waits),
        }
        print("\nreads from an open model")
        for name, value in figures.items():
            print(f"{name:<40}{value:>9.3f}")
        path.unlink()
        return [{"title": "reads from an open model", "figures": figures}]

    def _runner(self, words: list[str], source: Path, target: Path) -> Callable[[], None]:
        filled = _filled(words, source, target)

        def run() -> None:
            done = subprocess.run(
                filled, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"{filled}: {done.returncode}\n{done.stderr.decode()}")

        return run

    def _peak_memory(self, words: list[str]) -> int:
        """Bytes. Measured by a small process in between: a child begins with its parent's peak (getrusage(2))."""
        done = subprocess.run(
            [sys.executable, "-S", "-c", _MEASURING, *words], env=self.environment, capture_output=True, check=True
        )
        return int(done.stdout.split()[-1]) * 1024

    def _rotate(self) -> None:
        self.manager.rotate(["llama"], license_key=LICENSE)

    def _rewrap(self, path: Path) -> None:
        assert rewrap_model(self.manager, path, license_key=LICENSE).changed


def _filled(words: list[str], source: Path, target: Path) -> list[str]:
    return [word.replace("{in}", str(source)).replace("{out}", str(target)) for word in words]


def _remover(*paths: Path) -> Callable[[], None]:
    def remove() -> None:
        for path in paths:
            path.unlink()

    return remove


def main() -> None:
    """Measure, print, and write the JSON when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mib", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", action="append", choices=["inside", "commands", "rewraps", "reads"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        bench = Bench(Path(folder), asked.size_mib * MIB, asked.rounds, asked.peers)
        parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "inside": bench.inside,
            "commands": bench.commands,
            "rewraps": bench.rewraps,
            "reads": bench.reads,
        }
        sections = [section for name, part in parts.items() if name in (asked.only or parts) for section in part()]
        if asked.json:
            written(asked.json, sections, size=bench.size, rounds=asked.rounds)
        bench.manager.close()


if __name__ == "__main__":
    main()
