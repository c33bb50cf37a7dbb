"""`make bench`, second half: how soon a command is there, and what `--jobs` makes of folders; peers interleaved.

    python -m tests.bench.command_bench [--rounds 7] [--folder /dev/shm] [--json FILE] [--only start|folders]...

Start-up: whole processes, beside an interpreter that imports typer and nothing else. Folders: the program on 500 files
of 100 KB and on 4 of 256 MB, with one file at a time, two and four.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.timing import Contestant, measured, shown, written
from tiktrue_keys.core.manager import KeyManager

ROOT = Path(__file__).parents[2]
JOBS = (1, 2, 4)
FOLDERS = {"500 files of 100 KB": (500, 100_000), "4 files of 256 MB": (4, 256_000_000)}
LICENSE = "a license, made up for the benchmark"
TYPER = "import typer"


class Bench:
    """A keystore with one key, and programs that use it."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder, self.rounds = folder, rounds
        secret = folder / "host" / "secret"
        with KeyManager(folder / "keystore", host_secret_file=secret) as manager:
            self.key_id = manager.generate("llama", license_key=LICENSE).keys[0].key_id
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "TIKTRUE_KEYS_HOME": str(folder / "keystore"),
            "TIKTRUE_EPHEMERAL": "1",
            "TIKTRUE_HOST_SECRET_FILE": str(secret),
            "TIKTRUE_LICENSE_KEY": LICENSE,
        }

    def start(self) -> Iterator[dict[str, Any]]:
        """`--help` (bar: 1.5 times typer's import) and `validate KEY` (bar: 2.5 times)."""
        contestants = [
            Contestant(TYPER, lambda: self._run(sys.executable, "-c", TYPER)),
            Contestant("--help", lambda: self._ours("--help")),
            Contestant("validate KEY", lambda: self._ours("validate", self.key_id)),
        ]
        yield shown("start-up, whole processes", measured(contestants, self.rounds * 3), beside=TYPER)

    def folders(self) -> Iterator[dict[str, Any]]:
        """Encrypt, verify and decrypt each folder with each number of jobs."""
        for title, (count, size) in FOLDERS.items():
            plain = self.folder / "plain"
            plain.mkdir()
            for number in range(count):
                (plain / f"{number}.bin").write_bytes(os.urandom(size))
            for verb, contestants in self._on(plain).items():
                yield shown(f"{verb}, {title}", measured(contestants, self.rounds), beside="--jobs 1")
            shutil.rmtree(plain)

    def _on(self, plain: Path) -> dict[str, list[Contestant]]:
        sealed, made, back = (self.folder / name for name in ("sealed.ttm", "made.ttm", "back"))
        shutil.rmtree(sealed, ignore_errors=True)
        self._ours("encrypt-model", str(plain), "-o", str(sealed), "--key", "llama", "-q")

        def contestant(jobs: int, output: Path | None, *words: str) -> Contestant:
            def prepare() -> None:
                if output is not None:
                    shutil.rmtree(output, ignore_errors=True)

            return Contestant(f"--jobs {jobs}", lambda: self._ours(*words, "--jobs", str(jobs), "-q"), prepare)

        encrypt = ("encrypt-model", str(plain), "-o", str(made), "--key", "llama")
        return {
            "encrypt-model": [contestant(jobs, made, *encrypt) for jobs in JOBS],
            "verify-model": [contestant(jobs, None, "verify-model", str(sealed)) for jobs in JOBS],
            "decrypt-model": [contestant(jobs, back, "decrypt-model", str(sealed), "-o", str(back)) for jobs in JOBS],
        }

    def _ours(self, *words: str) -> None:
        self._run(sys.executable, "-m", "tiktrue_keys", *words)

    def _run(self, *argv: str) -> None:
        subprocess.run(argv, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def main() -> None:
    """Measure, print, and write the JSON when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", action="append", choices=["start", "folders"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        bench = Bench(Path(folder), asked.rounds)
        parts = {"start": bench.start, "folders": bench.folders}
        sections = [section for name, part in parts.items() if name in (asked.only or parts) for section in part()]
        if asked.json:
            written(asked.json, sections, rounds=asked.rounds)


if __name__ == "__main__":
    main()
