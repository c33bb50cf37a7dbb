"""`make fuzz`: coverage-guided fuzzing of every parser, by atheris.

    python -m tests.fuzz.fuzz [--seconds 60] [--target NAME] [--corpus DIR]

The time is shared among the targets, each in a process of its own with 512 MB of memory and 2 seconds an input. New
inputs that reach new code go to DIR (a temporary folder); a finding is written beside it and ends the run in 1.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS

MEMORY_MB = 512
SECONDS_AN_INPUT = 2
MAX_LENGTH = {"container": 1 << 18, "manifest": 1 << 14}


def fuzz_one(name: str, folders: list[str], seconds: int) -> None:
    """Fuzz a target in this process until the time is over; does not return."""
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["tiktrue_keys", "tests.fuzz.targets"]):
        for module in [name for name in sys.modules if name.startswith(("tiktrue_keys", "tests.fuzz.targets"))]:
            del sys.modules[module]
        # Not `from tests.fuzz import targets`, which would give the module that was imported without instruments.
        targets = importlib.import_module("tests.fuzz.targets")

    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-max_len={MAX_LENGTH.get(name, 4096)}",
        f"-artifact_prefix={folders[0]}/finding-{name}-",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], *options, *folders], lambda data: targets.run(name, bytes(data)) and None)
    atheris.Fuzz()


def main() -> int:
    """Fuzz every target, or the one that is named; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--corpus", type=Path)
    asked = parser.parse_args()
    if asked.target and asked.corpus:
        fuzz_one(asked.target, [str(asked.corpus), str(CORPUS / asked.target)], asked.seconds)
    chosen = [asked.target] if asked.target else list(TARGETS)
    failed = 0
    for name in chosen:
        found = asked.corpus or Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
        seconds = max(1, asked.seconds // len(chosen))
        words = [
            sys.executable,
            "-m",
            "tests.fuzz.fuzz",
            "--target",
            name,
            "--corpus",
            found,
            "--seconds",
            str(seconds),
        ]
        done = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False)
        runs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        features = [line for line in done.stderr.splitlines() if " cov: " in line][-1:]
        print(
            f"{name}: {'ok' if done.returncode == 0 else 'FINDING'}, {''.join(runs)} inputs, {''.join(features)[:60]}"
        )
        if done.returncode:
            print(done.stderr[-4000:], file=sys.stderr)
            failed = 1
        elif asked.corpus is None:
            shutil.rmtree(found)
    return failed


if __name__ == "__main__":
    sys.exit(main())
