"""The runbook of tiktrue-keys-operations(7) for another disk, as it is written."""

from __future__ import annotations

import json
import shlex
import subprocess

from tests.program import Program
from tests.project.test_operations_page import display_after


def test_keystore_and_host_secret_move_to_another_disk(program: Program) -> None:
    key = program.generate("m")
    old, new = program.folder / "old", program.folder / "new"
    for folder in (old, new):
        folder.mkdir(mode=0o700)
    (program.folder / "keystore").rename(old / "tiktrue-keys")
    (program.folder / "host").rename(old / "tiktrue-keys-host")
    program.variables |= {
        "TIKTRUE_KEYS_HOME": str(old / "tiktrue-keys"),
        "TIKTRUE_HOST_SECRET_FILE": str(old / "tiktrue-keys-host/secret"),
    }
    assert program.json("rebind")["result"]["marks"] == str(old / "tiktrue-keys-host")

    lines = display_after("move").replace("/var/lib", str(old)).replace("/mnt/new", str(new)).splitlines()
    for line in [line.removeprefix("# ") for line in lines if "systemctl" not in line]:
        words = shlex.split(line)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            program.variables[name] = value
        elif words[0] == "tiktrue-keys":
            done = program.run(*words[1:])
            assert done.returncode in (0, 7), (line, done.stderr)  # 7: no backup was taken
        else:
            subprocess.run(words, check=True)

    shown = program.without("TIKTRUE_HOST_SECRET_FILE").json("show", "m")["result"]
    assert key.key_id in json.dumps(shown)
    assert sorted(path.name for path in old.iterdir()) == ["tiktrue-keys-host.old", "tiktrue-keys.old"]
