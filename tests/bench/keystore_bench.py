"""`make bench`, third part: milliseconds of operations on a keystore, beside the bars that they were designed for.

    python -m tests.bench.keystore_bench [--rounds 15] [--folder /dev/shm] [--json FILE]

CPU time of this process, the best of the rounds, so that what else the machine does counts for little. The license is
stretched before anything is measured. What the same operations may cost in calls is a test's (test_manager_figures.py).
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.timing import written
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.fingerprint import Anchor, Binding
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.keystore.document import Cost, Document
from tiktrue_keys.core.keystore.slots import open_on_machine, seal_to_machine
from tiktrue_keys.core.machine import Fact, FactKind, MachineFacts, read_facts
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import WrongMachineError

LICENSE = "a license, made up for the benchmark"
MANY = 1_000
_TABLE = "{:<44}{:>12}{:>12}{:>9}"


@dataclass(frozen=True)
class Operation:
    """What is timed; `bar` in seconds, for one of the `units` that a run does."""

    name: str
    run: Callable[[], object]
    bar: float
    units: int = 1
    share: float = 1.0


def operations(small: KeyManager, large: KeyManager) -> Iterator[Operation]:
    """Every operation with a bar, on ten keys with a license and on MANY without."""
    names = (f"made-{number}" for number in range(10**6))
    small.generate("many", license_key=LICENSE, count=10)
    large.generate("many", no_license=True, count=MANY)
    key = small.find("many-0001").key_id
    yield Operation("read the machine's facts", read_facts, 0.010)
    yield Operation("refuse 64 cards and 64 disks not its own", wrong_machine(), 0.050)
    yield Operation("check a key's binding", lambda: small.validate_hardware_binding(key), 0.0005)
    yield Operation("check a key for revocation", lambda: small.is_revoked(key), 0.0005)
    yield Operation("one key", lambda: small.generate(next(names), license_key=LICENSE), 0.010)
    yield Operation("one rotation", lambda: small.rotate(["many-0001"], license_key=LICENSE), 0.015)
    for name, manager, license_key in (("ten", small, LICENSE), (f"{MANY}", large, None)):

        def opened(manager: KeyManager = manager, license_key: str | None = license_key) -> None:
            manager.open_key("many-0007", license_key, use=Use.ENCRYPT).secret.wipe()

        yield Operation(f"open one key among {name}", opened, 0.001)
    yield Operation("validate 10,000 keys", large.validate, 1.0, share=MANY / 10_000)
    yield Operation("rotate 10,000 keys", lambda: large.rotate(every=True), 3.0, share=MANY / 10_000)
    yield Operation(
        "one key in a batch of 300", lambda: large.generate(next(names), no_license=True, count=300), 0.0002, 300
    )


def wrong_machine() -> Callable[[], object]:
    """Return what opens a keystore of a network card and a disk on a machine that has 64 others of each."""
    cards = [Fact(FactKind.NIC, f"0c:42:a1:00:00:{number:02x}", "") for number in range(64)]
    disks = [Fact(FactKind.DISK, f"naa.55cd2e4151d2{number:04x}", "") for number in range(64)]
    elsewhere = MachineFacts("linux", (*cards, *disks))
    sealed = Binding((Anchor(FactKind.DISK, "naa.5000c500deadc0de"), Anchor(FactKind.NIC, "98:fa:9b:3d:60:12")))
    secret, keystore_id = memoryview(bytes(range(32))), bytes(16)
    document = Document(
        keystore_id=keystore_id,
        created_at=Instant(0),
        epoch=1,
        host_secret_id=bytes(16),
        host_secret_path="/secret",
        marks_path="/",
        costs=(Cost(bytes(32), PBKDF2_MIN_ROUNDS),),
        slots=seal_to_machine(secret, sealed, secret, keystore_id),
        resealed_at=Instant(0),
        audit_key=bytes(32),
        identity_key=bytes(32),
        identity_hpke=bytes(1216),
    )

    def refused() -> None:
        with contextlib.suppress(WrongMachineError):
            open_on_machine(document, elsewhere, secret)

    return refused


def measured(operation: Operation, rounds: int) -> dict[str, float]:
    """Milliseconds of the best round, its bar, and how many times the bar that is."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        operation.run()
        best = min(best, time.process_time() - began)
    each = best / operation.units / operation.share
    return {"ms": each * 1000, "bar_ms": operation.bar * 1000, "times": each / operation.bar}


def main() -> None:
    """Measure, print, and write the JSON when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    print(_TABLE.format("\nacts on a keystore, CPU", "ms", "bar", "x bar"))
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        places = [Path(folder) / name for name in ("small", "large")]
        small, large = (
            KeyManager(place, host_secret_file=place.with_suffix(".host") / "secret", pbkdf2_rounds=PBKDF2_MIN_ROUNDS)
            for place in places
        )
        with small, large:
            for operation in operations(small, large):
                found = measured(operation, asked.rounds if operation.share == 1 else 2)
                figures[operation.name] = found
                print(_TABLE.format(operation.name, *(f"{found[key]:.3f}" for key in ("ms", "bar_ms", "times"))))
    if asked.json:
        title = "operations on a keystore"
        written(asked.json, [{"title": title, "beside": "bar", "figures": figures}], rounds=asked.rounds)


if __name__ == "__main__":
    main()
