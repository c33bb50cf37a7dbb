"""What grows: CPU and peak memory of whole commands on many small files, many keys and a long audit log.

    python -m tests.bench.growth_bench [--files N]... [--keys N] [--records N] [--folder /dev/shm] [--json FILE]

By default 1,000 and 20,000 files of 4 KiB, 100,000 keys, whose creation leaves as many audit records, and an audit log
of 1,000,000 records. 0 leaves a part out. Each command runs once: what is compared is how a figure grows, not one
machine's speed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id

ROOT = Path(__file__).parents[2]
FILES, FILE_BYTES = (1_000, 20_000), 4096
KEYS, KEYS_OF_ONE_COMMAND = 100_000, 5_000
RECORDS, RECORDS_OF_ONE_TRANSACTION = 1_000_000, 20_000
_TABLE = "{:<52}{:>9}{:>9}{:>9}"


@dataclass(frozen=True)
class Cost:
    """One command: seconds of wall clock, seconds of CPU (user and system), peak resident memory in megabytes."""

    name: str
    wall: float
    cpu: float
    peak_mb: float


class Desk:
    """A keystore in a folder of its own, and the program on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "TIKTRUE_KEYS_HOME": str(folder / "keystore"),
            "TIKTRUE_EPHEMERAL": "1",
            "TIKTRUE_HOST_SECRET_FILE": str(folder / "host" / "secret"),
        }

    def cost(self, name: str, *words: str, code: int = 0) -> Cost:
        """Run the program and return what it cost. Its output goes to /dev/null, as a pipe would slow it down."""
        argv = [sys.executable, "-m", "tiktrue_keys", *words]
        began = time.perf_counter()
        child = subprocess.Popen(
            argv, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != code:
            raise SystemExit(f"{' '.join(words)}: ended in {child.returncode} instead of {code}")
        return Cost(name, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)


def files(desk: Desk, count: int) -> Iterator[Cost]:
    """A folder of `count` small files: encrypted, decrypted, and rewrapped after a rotation."""
    plain = desk.folder / "plain"
    plain.mkdir()
    for number in range(count):
        (plain / f"{number}.bin").write_bytes(os.urandom(FILE_BYTES))
    desk.cost("generate", "generate", "model", "--no-license", "--quiet")
    what = f"a folder of {count:,} files"
    yield desk.cost(f"encrypt-model, {what}", "encrypt-model", "plain", "-o", "sealed", "--key", "model", "-q")
    yield desk.cost(f"decrypt-model, {what}", "decrypt-model", "sealed", "-o", "back", "-q")
    desk.cost("rotate", "rotate", "model", "-q")
    yield desk.cost(f"rewrap-model, {what}", "rewrap-model", "sealed", "-q")


def keys(desk: Desk, count: int) -> Iterator[Cost]:
    """`count` keys without a license: the commands that show or check all of them, and the audit log."""
    for first in range(0, count, KEYS_OF_ONE_COMMAND):
        some = min(KEYS_OF_ONE_COMMAND, count - first)
        desk.cost("generate", "generate", f"m{first}", "--count", str(some), "--no-license", "--quiet")
    for words in (
        ("list",),
        ("list", "m0-0001"),
        ("validate",),
        ("cleanup", "--dry-run"),
        ("backup", "copy.db"),
        ("audit", "verify"),
        ("audit", "show"),
        ("status",),
        ("rekey", "--yes"),
    ):
        yield desk.cost(f"{' '.join(words)}, {count:,} keys", *words, "-q")


def records(desk: Desk, count: int) -> Iterator[Cost]:
    """An audit log of `count` records, written by the library: verified, exported, and its newest records shown."""
    desk.cost("generate", "generate", "model", "--no-license", "--quiet")
    # In a process of its own: a child's peak is at least what its parent held when it began.
    writer = multiprocessing.get_context("spawn").Process(target=append_records, args=(desk.folder, count))
    writer.start()
    writer.join()
    if writer.exitcode != 0:
        raise SystemExit(f"the writer of the records ended in {writer.exitcode}")
    for words in (("audit", "verify"), ("audit", "export", "--format", "jsonl"), ("audit", "show", "--last", "20")):
        yield desk.cost(f"{' '.join(words)}, {count:,} records", *words, "-q")


def append_records(folder: Path, count: int) -> None:
    """Append `count` records of decryptions to the keystore below `folder`."""
    with KeyManager(folder / "keystore", host_secret_file=folder / "host" / "secret") as manager:
        (key,) = manager.keys()
        for first in range(0, count, RECORDS_OF_ONE_TRANSACTION):
            with manager.session.write(new_operation_id()) as transaction:
                for number in range(first, min(first + RECORDS_OF_ONE_TRANSACTION, count)):
                    detail = {"path": f"/srv/models/model-{number % 40}.ttm", "bytes": 4_000_000_000 + number}
                    transaction.record("decrypt", key_id=key.key_id, model_id=key.model_id, detail=detail)


def main() -> None:
    """Measure, print, and write the JSON when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, action="append")
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    costs = []
    print(_TABLE.format("what grows, whole processes", "wall s", "CPU s", "peak MB"))
    runs = [(files, count) for count in asked.files or FILES] + [(keys, asked.keys), (records, asked.records)]
    for part, count in runs:
        if not count:
            continue
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            for cost in part(Desk(Path(folder)), count):
                costs.append(asdict(cost))
                print(
                    _TABLE.format(cost.name, f"{cost.wall:.2f}", f"{cost.cpu:.2f}", f"{cost.peak_mb:.0f}"), flush=True
                )
    if asked.json:
        asked.json.write_text(json.dumps(costs, indent=1) + "\n")


if __name__ == "__main__":
    main()
