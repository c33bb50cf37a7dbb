"""A wrong clock (libfaketime under the unmodified program): back a day and ten years, forward ten years, right again.

    python -m tests.faults.clock

Nothing revives, every status is as before, nothing is destroyed, and the program says what is wrong with the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.campaign import Options, Tally, ViolationError, main, scratch, watched
from tests.faults.shop import LICENSE, REPOSITORY
from tests.waiting import PATIENCE
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.manager import KeyManager

DAY = 86_400
_NOON = 1_795_608_000  # 2026-11-25T12:00:00Z
_REFUSED = 5


class Desk:
    """The program with a clock of our own."""

    def __init__(self, base: Path, library: Path) -> None:
        self.base = base
        self._library = library
        (base / "host").mkdir(mode=0o700)

    def run(self, when: int, *words: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, envelope and standard error of a run at that instant."""
        shown = (rfc3339(when) or "").replace("T", " ").rstrip("Z")
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.base),
            "TZ": "UTC",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPOSITORY),
            "TIKTRUE_KEYS_HOME": str(self.base / "keys"),
            "TIKTRUE_EPHEMERAL": "1",
            "TIKTRUE_HOST_SECRET_FILE": str(self.base / "host/secret"),
            "TIKTRUE_LICENSE_KEY": LICENSE,
            "LD_PRELOAD": str(self._library),
            "FAKETIME": shown,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "tiktrue_keys", *words, "--json"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, json.loads(done.stdout), done.stderr

    def manager(self, when: int) -> KeyManager:
        """The library on the same keystore, at that instant."""
        secret = self.base / "host/secret"
        return KeyManager(
            self.base / "keys", host_secret_file=secret, clock=lambda: float(when), pbkdf2_rounds=PBKDF2_MIN_ROUNDS
        )

    def ok(self, when: int, *words: str) -> dict[str, Any]:
        """The envelope of a run that must succeed."""
        code, envelope, errors = self.run(when, *words)
        if code != 0:
            raise ViolationError(f"{words}: exit {code}: {envelope.get('error')} {errors}")
        return envelope

    def statuses(self, when: int) -> dict[str, str]:
        """Every key and its status, as `list` says then."""
        keys = self.ok(when, "list", "--all")["result"]["keys"]
        return {key["key_id"]: key["status"] for key in keys}


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """One keystore with a key in each status, then the clocks."""
    folder = scratch("clock")
    library = _library()
    assert library is not None
    now = _NOON + 200 * DAY
    desk = Desk(folder, library)
    if options.control is not None:
        now = _NOON + 40 * DAY
        _stock(desk, until=0)  # no record is newer than what a clock ten years back says
    else:
        _stock(desk)
    before = desk.statuses(now)
    tally.figures["statuses"] = sorted(set(before.values()))
    wanted = {"active", "rotating", "deprecated", "expired", "revoked"}
    if options.control is None and not wanted <= set(before.values()):
        tally.broken("clock", f"the stock lacks {wanted - set(before.values())}")
    for name, when in (("a day back", now - DAY), ("ten years back", now - 3653 * DAY)):
        tally.cases += 1
        with watched(tally, name):
            _must_be(before, desk.statuses(when))
            code, envelope, _ = desk.run(when, "doctor")
            said = json.dumps(envelope).lower()
            if "behind the newest record; using" not in said:
                raise ViolationError(f"doctor (exit {code}) does not say that the clock is behind")
            _may_not_destroy(desk, when)
            _must_be(before, desk.statuses(now))
    tally.cases += 1
    with watched(tally, "ten years forward"):
        later = now + 3653 * DAY
        for words in (["generate", "later"], ["cleanup", "--yes", "--after", "0s"], ["rotate", "--all"]):
            code, envelope, _ = desk.run(later, *words)
            if code != _REFUSED or "clock" not in envelope["error"]["message"]:
                raise ViolationError(f"{words} ten years later: exit {code}: {envelope['error']}")
        if "destroyed" in desk.statuses(later).values():
            raise ViolationError("something was destroyed")
    tally.cases += 1
    with watched(tally, "right again"):
        _must_be(before, desk.statuses(now))
        desk.ok(now, "generate", "again")
        desk.ok(now, "audit", "verify")


def _stock(desk: Desk, until: int = 200) -> None:
    """Keys of every status, made in the order of time."""
    # The keystore is made by the library, with the fewest rounds of PBKDF2 for all that follows.
    with desk.manager(_NOON) as manager:
        manager.generate("expired", license_key=LICENSE)
    ages = (
        (0, ("generate", "chain")),
        (20, ("rotate", "chain")),
        (25, ("generate", "lost")),
        (26, ("revoke", "--model", "lost", "--reason", "a test", "--yes")),
        (198, ("generate", "fresh")),
        (199, ("rotate", "fresh")),
        (200, ("generate", "active")),
    )
    for day, words in ages:
        if day <= until:
            desk.ok(_NOON + day * DAY, *words)


def _must_be(expected: dict[str, str], found: dict[str, str]) -> None:
    differing = {key: (status, found.get(key)) for key, status in expected.items() if found.get(key) != status}
    if differing:
        raise ViolationError(f"statuses differ: {differing}")


def _may_not_destroy(desk: Desk, when: int) -> None:
    desk.run(when, "cleanup", "--dry-run", "--after", "0s")
    if "destroyed" in desk.statuses(when).values():
        raise ViolationError("something was destroyed")


def _library() -> Path | None:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return found[0] if found else None


def skip_reason() -> str | None:
    """Why the clock cannot be set here, or None."""
    return None if _library() else "a wrong clock needs libfaketime (apt-get install libfaketime)"


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=10, skip=skip_reason, controls=("no-newer-record",))
