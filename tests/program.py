"""Runs the unmodified program as a subprocess, with surroundings of its own: keystore, host secret, license, home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.faked_clock import of_the_clock
from tests.keystores import FULL_RUN
from tests.waiting import PATIENCE
from tests.warm import REPOSITORY, WarmInterpreter
from tiktrue_keys.cli.context.actor import current_actor
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.manager import KeyManager

LICENSE = "a-license-for-tests"
TIMEOUT_SECONDS = 2 * PATIENCE
MEASURED = "tests/cli/"
"""The tests whose programs take part in the measurement of coverage. What all others run is run there as well."""
FRESH = ("tests/cli/program/test_boundary.py", "tests/cli/commands/models/test_exec_model.py")
"""Those of how a process starts and ends, which run fresh interpreters. All others fork theirs from a warm one."""
UNMEASURED = (*FRESH, "tests/cli/docs/")
"""Those that run what others run. A fresh interpreter that is measured takes twice as long."""


def unmeasured() -> dict[str, str]:
    """The environment of the tests without what measures coverage: a program in it runs as it is shipped."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def _is_measured() -> bool:
    """Whether the programs of the test that runs now take part in the measurement of coverage."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "")
    return test.startswith(MEASURED) and not test.startswith(UNMEASURED)


def _limit(limits: Mapping[int, int]) -> None:
    import resource

    for limit, amount in limits.items():
        resource.setrlimit(limit, (amount, amount))


def _is_about_the_process() -> bool:
    return os.environ.get("PYTEST_CURRENT_TEST", "").startswith(FRESH)


@cache
def _warm() -> WarmInterpreter:
    return WarmInterpreter(os.environ)


def _may_be_warm(environment: Mapping[str, str]) -> bool:
    """Whether a program needs no interpreter of its own: for its start, or for what an interpreter reads then."""
    read_at_the_start = {name for name in environment if name.startswith(("PYTHON", "LD_", "LC_", "TZ"))}
    is_usual = read_at_the_start == {"PYTHONPATH"} and environment["PYTHONPATH"] == str(REPOSITORY)
    return is_usual and sys.platform == "linux" and not (FULL_RUN or _is_about_the_process())


@dataclass
class Program:
    """The program in one folder. `variables` are added to a nearly empty environment."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.chmod(0o700)
        self.variables = {
            "TIKTRUE_KEYS_HOME": str(self.keystore),
            "TIKTRUE_HOST_SECRET_FILE": str(self.folder / "host" / "secret"),
            "TIKTRUE_LICENSE_KEY": LICENSE,
            "TIKTRUE_EPHEMERAL": "1",
            **self.variables,
        }

    @property
    def keystore(self) -> Path:
        return self.folder / "keystore"

    @property
    def environment(self) -> dict[str, str]:
        """What the program sees. PYTHONPATH lets it be found from any working folder."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        is_measured = _is_measured()
        measuring = {name: value for name, value in os.environ.items() if is_measured and name.startswith("COVERAGE_")}
        surroundings = {"PATH": path, "HOME": str(self.folder), "LANG": "C.UTF-8", "PYTHONPATH": str(REPOSITORY)}
        return {**measuring, **of_the_clock(), **surroundings, **self.variables}

    def without(self, *names: str) -> Program:
        """The same program without some variables."""
        other = Program(self.folder)
        other.variables = {name: value for name, value in self.variables.items() if name not in names}
        return other

    def run(
        self,
        *words: str,
        stdin: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        limits: Mapping[int, int] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run it, under limits of resources (setrlimit(2)); output as text."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        environment = {**self.environment, **(env or {})}
        done = None
        if _may_be_warm(environment):
            done = _warm().run(
                words,
                data,
                folder=self.folder,
                environment=environment,
                timeout=TIMEOUT_SECONDS,
                measured=_is_measured(),
                limits=limits,
            )
        if done is None:
            done = subprocess.run(
                self.argv(*words),
                input=data,
                stdin=subprocess.DEVNULL if data is None else None,
                capture_output=True,
                cwd=self.folder,
                env=environment,
                timeout=TIMEOUT_SECONDS,
                preexec_fn=partial(_limit, limits) if limits else None,
                check=False,
            )
        out, err = done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode("utf-8", "surrogateescape")
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def manager(self, **options: Any) -> KeyManager:
        """The library on the program's keystore. A keystore that it makes takes the fewest rounds of PBKDF2."""
        secret = self.folder / "host" / "secret"
        return KeyManager(self.keystore, host_secret_file=secret, pbkdf2_rounds=PBKDF2_MIN_ROUNDS, **options)

    def generate(self, model_id: str = "llama", **options: Any) -> ManagedKey:
        """Make what `generate` would make, by the library: a tenth of the program's time, and every later command that
        takes the license is faster too. For tests that are not about `generate`.
        """
        with self.manager(actor=current_actor("generate", {})) as manager:
            return manager.generate(model_id, license_key=LICENSE, **options).keys[0]

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tiktrue_keys", *words]

    def ok(self, *words: str, stdin: str | bytes | None = None) -> str:
        """Standard output of a run that must succeed."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *words: str, code: int = 0, stdin: str | bytes | None = None) -> dict[str, Any]:
        """The envelope of a run that must end in `code`."""
        done = self.run(*words, "--json", stdin=stdin)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found
