"""Every command with arguments that it takes, run one after the other in one process: for rules that hold everywhere.

The commands run in a forked child, because the program forbids its process to leave a core.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

import typer

from tests.keystores import in_a_child
from tests.program import Program
from tiktrue_keys.cli.program.main import app


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and the beginning of what it wrote to standard error."""

    exit: int
    words: str


ARGUMENTS: Mapping[str, str] = {
    "generate": "new --no-license",
    "list": "",
    "show": "m",
    "rotate": "m",
    "revoke": "KEY --reason leaked",
    "validate": "",
    "cleanup": "",
    "encrypt-model": "model -o new.ttm --key m",
    "decrypt-model": "model.ttm -o out",
    "rewrap-model": "model.ttm --to m",
    "reencrypt-model": "model.ttm",
    "verify-model": "model.ttm",
    "inspect-model": "model.ttm",
    "sign-model": "model.ttm --expect-root ROOT",
    "exec-model": "model.ttm -- true {}",
    "models list": "",
    "models scan": ".",
    "models release": "model.ttm",
    "models archive": "FILE_ID",
    "models forget": "FILE_ID",
    "status": "",
    "doctor": "",
    "metrics": "",
    "audit show": "",
    "audit verify": "",
    "audit export": "",
    "audit checkpoint": "",
    "audit prove": "0",
    "backup": "another.db",
    "restore": "copy.db",
    "escrow create": "--shares 3 --threshold 2 --output shares",
    "escrow verify": "--share share",
    "escrow show": "",
    "escrow recover": "copy.db --share share",
    "binding show": "",
    "rebind": "",
    "rekey": "",
    "relicense": "--old-license-file license --license-file another",
    "approvals policy": "",
    "approvals list": "",
    "approvals export": "1 -o plan",
    "approvals add": "plan.sig",
    "fleet init": "issuer --role issuer",
    "fleet card": "-o new.card",
    "fleet add": "own.card --expect x",
    "fleet list": "",
    "fleet show": "x",
    "fleet remove": "x",
    "fleet status": "",
    "fleet send": "m --all --via spool:spool",
    "fleet receive": "--via spool:spool",
    "fleet sync": "--via spool:spool",
    "fleet accept-epoch": "x --expect 00",
    "export-public": "m -o m.pub",
    "config show": "",
    "completion": "bash",
}


def outcomes(program: Program, names: Mapping[str, str], *options: str) -> dict[str, Outcome]:
    """The exit code and the messages of each command by its name, run with these options in the program's folder.

    `names` are the ids behind the capital letters of the arguments.
    """

    def run() -> bytes:
        os.chdir(program.folder)
        os.environ.clear()
        os.environ.update(program.environment)
        found = {}
        for name, arguments in ARGUMENTS.items():
            words = [names.get(word, word) for word in arguments.split()]
            found[name] = _outcome([*options, *name.split(), "--yes", *words])
        return json.dumps(found).encode()

    return {name: Outcome(*each) for name, each in json.loads(in_a_child(run)).items()}


def _outcome(words: list[str]) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = typer.main.get_command(app).main(words, standalone_mode=False)
    return code, err.getvalue()[:400]
