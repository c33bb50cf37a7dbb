"""Seals, opens and hashes 2 GiB on tmpfs beside `cat`, in one process, peers interleaved; then reads a container.

    python tests/bench/pipeline_bench.py [--size-mib 2048] [--rounds 7] [--threads 2] [--folder /dev/shm]

Every output exists before it is measured. Seconds of wall clock and of CPU (user + sys): the minimum and the median.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.models.container.container import known_leaves, read_container
from tiktrue_keys.models.container.model_file import ModelFile
from tiktrue_keys.models.container.seal import seal_container
from tiktrue_keys.models.container.unseal import open_container
from tiktrue_keys.models.format.header import Header, Origin, Wrap, WrapType, new_file_id
from tiktrue_keys.models.format.kind import Kind
from tiktrue_keys.models.pipeline.pipeline import hash_body

MIB = 1 << 20
TABLE = "{:<34}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}"


def header() -> Header:
    wrap = Wrap(WrapType.MANAGED_KEY, "bench_0123456789abcdef", 1, bytes(60))
    return Header(new_file_id(), "bench", "bench.bin", Kind.OTHER, None, Origin.KEYSTORE, (wrap,))


def cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def measure(contestants: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            wall, cpu = time.perf_counter(), cpu_seconds()
            run()
            times[name].append((time.perf_counter() - wall, cpu_seconds() - cpu))
    return times


def report(times: dict[str, list[tuple[float, float]]], peer: str) -> None:
    print(TABLE.format("", "wall min", "median", "cpu min", "median", "x wall", "x cpu"))
    peer_wall, peer_cpu = (min(column) for column in zip(*times[peer], strict=True))
    for name, rows in times.items():
        walls, cpus = zip(*rows, strict=True)
        figures = (min(walls), statistics.median(walls), min(cpus), statistics.median(cpus))
        ratios = (min(walls) / peer_wall, min(cpus) / peer_cpu)
        print(TABLE.format(name, *(f"{f:.3f}" for f in figures), *(f"{r:.2f}" for r in ratios)))


def cat(source: Path, target: Path) -> None:
    with target.open("r+b") as out:
        subprocess.run(["cat", source], stdout=out, check=True)


def whole_files(folder: Path, size: int, rounds: int, threads: int) -> tuple[SecretBuffer, Path]:
    plain, copy, sealed, opened = (folder / name for name in ("plain", "copy", "sealed", "opened"))
    with plain.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    for path in (copy, sealed, opened):
        path.write_bytes(b"")
        cat(plain, path)
    data_key = SecretBuffer.random()
    source, out, back = (os.open(path, os.O_RDWR) for path in (plain, sealed, opened))

    def seal() -> None:
        os.lseek(source, 0, os.SEEK_SET)
        seal_container(source, out, header(), data_key.view, signer=None, threads=threads)

    def open_it() -> None:
        open_container(out, read_container(out), back, data_key.view, threads=threads)

    def hash_it() -> None:
        container = read_container(out)
        hash_body(container.source(out), container.geometry, threads=threads)

    seal()
    open_it()
    subprocess.run(["cmp", plain, opened], check=True)
    times = measure(
        {"cat": lambda: cat(plain, copy), "seal, tree": seal, "open, tree": open_it, "hash alone": hash_it}, rounds
    )
    report(times, "cat")
    for fd in (source, out, back):
        os.close(fd)
    return data_key, sealed


def reading(data_key: SecretBuffer, path: Path) -> None:
    def opened() -> ModelFile:
        fd = os.open(path, os.O_RDONLY)
        container = read_container(fd)
        return ModelFile(fd, container, data_key.view, leaves=known_leaves(fd, container))

    for read_size in (MIB, 64 * MIB):
        buffer = bytearray(read_size)
        speeds = []
        for _ in range(5):
            with opened() as model:
                begun = time.perf_counter()
                while model.readinto(buffer):
                    pass
                speeds.append(model.length / (time.perf_counter() - begun) / 1e9)
                overhead = model.bytes_decrypted / model.length
        print(f"sequential, {read_size // MIB} MiB a read: {max(speeds):.2f} GB/s, decrypted/read {overhead:.4f}")
    spots = random.Random(1)
    buffer = bytearray(MIB)
    with opened() as model:
        waits = []
        for _ in range(1000):
            at = spots.randrange(model.length - MIB)
            begun = time.perf_counter()
            model.readinto_at(buffer, at)
            waits.append(time.perf_counter() - begun)
    print(f"random 1 MiB: median {statistics.median(waits) * 1e3:.3f} ms, min {min(waits) * 1e3:.3f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mib", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", default="/dev/shm")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        data_key, sealed = whole_files(Path(folder), arguments.size_mib * MIB, arguments.rounds, arguments.threads)
        reading(data_key, sealed)
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
