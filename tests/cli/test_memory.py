"""The memory that commands over all keys need for each key, and what they print when the keystore is damaged.

Peaks are those of Python's own allocations, in one process, without the interpreter and SQLite's cache of 4 MiB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.keystores import Desk, desk_in_memory
from tests.program import Program
from tests.waiting import PATIENCE

pytestmark = pytest.mark.untraced

FEW, MANY = 500, 2_000
BYTES_A_KEY = {
    "list": 700,
    "list --json": 700,
    "list --quiet": 700,
    "validate": 700,
    "validate --json": 700,
    "cleanup --dry-run --json": 100,
    "audit show": 1_500,
    "audit show --json": 1_500,
    "audit show --quiet": 1_500,
}
MEASURE = """
import contextlib, gc, json, os, sys, tracemalloc, typer
from tiktrue_keys.cli.program.main import app
peaks = {}
with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
    for words in json.loads(sys.argv[1]):
        run = lambda: typer.main.get_command(app).main(words.split(), standalone_mode=False)
        run()  # imports modules and fills caches
        gc.collect()
        tracemalloc.start()
        begin, _ = tracemalloc.get_traced_memory()
        code = run()
        peaks[words] = [code, tracemalloc.get_traced_memory()[1] - begin]
        tracemalloc.stop()
print(json.dumps(peaks))
"""


Peaks = Mapping[str, tuple[int, int]]
"""By the words of a command: its exit code and its peak in bytes."""


def _peaks(desk: Desk) -> Peaks:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(list(BYTES_A_KEY))],
        env={"TIKTRUE_KEYS_HOME": str(desk.folder), "TIKTRUE_HOST_SECRET_FILE": str(desk.secret), "HOME": "/nowhere"},
        capture_output=True,
        check=True,
        timeout=4 * PATIENCE,
    )
    return {words: (code, peak) for words, (code, peak) in json.loads(done.stdout).items()}


@pytest.fixture(scope="module")
def peaks() -> tuple[Peaks, Peaks]:
    found = []
    for count in (FEW, MANY):
        with desk_in_memory() as desk:
            manager = desk.manager(clock=time.time)
            manager.generate("many", no_license=True, count=count)
            manager.close()
            found.append(_peaks(desk))
    return found[0], found[1]


@pytest.mark.parametrize("words", BYTES_A_KEY)
def test_a_key_more_adds_little(peaks: tuple[Peaks, Peaks], words: str) -> None:
    (few_code, few), (many_code, many) = peaks[0][words], peaks[1][words]
    assert few_code == many_code
    assert (many - few) / (MANY - FEW) <= BYTES_A_KEY[words]


@pytest.mark.parametrize("command", ["list", "validate", "cleanup --dry-run"])
def test_a_damaged_bucket_gives_one_envelope_without_a_result(tmp_path: Path, command: str) -> None:
    program = Program(tmp_path)
    program.ok("generate", "many", "--no-license", "--count", "40")
    desk = Desk(tmp_path)
    desk.folder = program.keystore
    assert desk.edit("UPDATE record SET revision = revision + 1 WHERE bucket = (SELECT max(bucket) FROM record)") > 0

    done = program.run(*command.split(), "--json")

    assert done.returncode == 4
    (line,) = done.stdout.splitlines()
    assert (json.loads(line)["result"], json.loads(line)["error"]["code"]) == (None, "integrity")
