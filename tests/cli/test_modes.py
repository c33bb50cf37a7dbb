"""Every file that the program makes has its mode whatever the umask, and under umask 777 an ordinary user gets on.

As nobody on a made-up machine: root may read and enter what a umask has closed.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from tests.machines import REPOSITORY, SERVER, give_to_nobody, skip_reason
from tests.program import LICENSE

pytestmark = pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason()))

COMMANDS = """
generate llama
encrypt-model plain.bin --key llama -o plain.ttm
encrypt-model model --key llama -o model.ttm --plain *.json
rotate llama
reencrypt-model plain.ttm
decrypt-model plain.ttm -o plain.again
decrypt-model model.ttm -o model.again
export-public llama -o llama.pub
encrypt-model plain.bin --recipient llama.pub -o ci.ttm
fleet init admin
fleet card -o card
metrics --textfile metrics.prom
audit export --format tlog -o tlog
backup copy.db
restore copy.db --yes
generate mistral
revoke --model mistral --reason test --yes
fleet sync --via spool:spool
cleanup --after 0s --yes
validate
"""

ONE_AFTER_THE_OTHER = """
import os, sys
from tiktrue_keys.cli.program.main import main
os.umask(int(sys.argv[1], 8))
for line in sys.stdin.read().split("\\n"):
    sys.argv = ["tiktrue-keys", *line.split(), "--quiet"]
    try:
        if line:
            main()
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"{line}: {ended.code}")
"""
"""The command line as it is, without an interpreter of its own for each line."""

PUBLIC = {"llama.pub": 0o644, "card": 0o644, "metrics.prom": 0o644}
"""What others are meant to read. Every other file is 0600, every folder 0700."""

NOT_OURS = ("plain.bin", "model", "spool")
"""What was there before; a spool is open to whom the umask opens it, because nodes of other users share it."""


@pytest.mark.parametrize("umask", ["000", "777"])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: str) -> None:
    home = tmp_path / "home"
    (home / "model/sub").mkdir(parents=True)
    (home / "spool").mkdir()
    (home / "model/config.json").write_text("{}")
    (home / "model/sub/weights.bin").write_bytes(bytes(3_000))
    (home / "plain.bin").write_bytes(bytes(3_000))
    give_to_nobody(home)

    done = SERVER.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, umask],
        input=COMMANDS,
        user="nobody",
        cwd=home,
        env=environment(home),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert (home / "plain.again").read_bytes() == bytes(3_000)
    made = [path for path in home.rglob("*") if path.relative_to(home).parts[0] not in NOT_OURS]
    wrong = {str(path.relative_to(home)): oct(mode) for path in made if (mode := mode_of(path)) != wanted(path)}
    assert wrong == {}
    assert {"keystore.db", "keystore.reserve", "keystore.lock", "secret", "tiktrue-manifest.json", "copy.db"} <= {
        path.name for path in made
    }


def environment(home: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(REPOSITORY),
        "TIKTRUE_KEYS_HOME": f"{home}/keys/keystore",
        "TIKTRUE_HOST_SECRET_FILE": f"{home}/host/secret",
        "TIKTRUE_LICENSE_KEY": LICENSE,
    }


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def wanted(path: Path) -> int:
    return 0o700 if path.is_dir() else PUBLIC.get(path.name, 0o600)
