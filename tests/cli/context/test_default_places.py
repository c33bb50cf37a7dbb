"""Where keystore, host secret and settings lie when nobody says so, and who is named in the audit log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program import Program
from tiktrue_keys.cli.context.actor import current_actor
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.default_places import default_host_secret, default_keystore
from tiktrue_keys.cli.context.settings import user_config_file
from tiktrue_keys.cli.program.options import CommonOptions

SYSTEM = Path("/var/lib/tiktrue-keys")


def test_root_and_services_share_the_systems_folder() -> None:
    assert default_keystore({}, root=True) == SYSTEM
    assert default_keystore({"STATE_DIRECTORY": "/var/lib/tiktrue-keys"}, root=False) == SYSTEM


def test_anybody_else_has_a_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    assert default_keystore({"STATE_DIRECTORY": ""}, root=False) == tmp_path / "tiktrue-keys"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a home")
def test_a_user_without_a_home_is_told_to_name_one() -> None:
    code = (
        "import os, platformdirs.unix\n"
        "from tiktrue_keys.cli.context.default_places import UsageError, default_keystore\n"
        "os.environ.pop('HOME', None)\n"
        "os.setuid(54321)\n"
        "try: default_keystore({}, root=False)\n"
        "except UsageError as error: print(error.hint)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "use --keystore DIR\n"


def test_only_a_service_has_a_host_secret_of_its_own() -> None:
    assert default_host_secret({"STATE_DIRECTORY": "/x"}) == "/var/lib/tiktrue-keys-host/secret"
    assert default_host_secret({}) is None


def test_a_services_own_place_is_for_a_keystore_that_is_new(tmp_path: Path) -> None:
    service = {"STATE_DIRECTORY": "/x", "TIKTRUE_KEYS_HOME": str(tmp_path)}

    def host_secret() -> str | None:
        return CommandContext(CommonOptions(), command="list", environment=service).host_secret

    assert host_secret() == "/var/lib/tiktrue-keys-host/secret"
    (tmp_path / "keystore.db").touch(mode=0o600)
    assert host_secret() is None


def test_a_moved_host_secret_is_named_until_rebind_has_recorded_it(program: Program) -> None:
    program.generate("m")
    moved = program.folder / "moved/secret"
    moved.parent.mkdir(mode=0o700)
    moved.write_bytes((program.folder / "host/secret").read_bytes())
    moved.chmod(0o600)
    nowhere = program.without("TIKTRUE_HOST_SECRET_FILE")
    program.variables["TIKTRUE_HOST_SECRET_FILE"] = str(moved)

    planned, done = program.run("rebind", "--dry-run"), program.json("rebind")

    words = f"record the host secret at {moved} and record the marks in {moved.parent}"
    assert planned.stderr.startswith(f"Would {words}; nothing was changed.\n")
    result = done["result"]
    assert (done["changed"], result["host_secret"], result["marks"]) == (True, str(moved), str(moved.parent))
    assert program.json("rebind")["result"]["host_secret"] is None
    assert program.json("backup", "copy.db")["result"]["host_secret"] == str(moved)
    (program.folder / "host/secret").unlink()
    assert nowhere.json("show", "m")["ok"]


def test_the_users_settings_lie_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert user_config_file() == tmp_path / ".config/tiktrue-keys/tiktrue-keys.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/config")
    assert user_config_file() == Path("/config/tiktrue-keys/tiktrue-keys.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # which the XDG specification tells everybody to ignore
    assert user_config_file() == tmp_path / ".config/tiktrue-keys/tiktrue-keys.toml"


def test_the_actor_is_who_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("SUDO_USER", "somebody-else")

    actor = current_actor("rotate", os.environ)

    assert "somebody-else" not in actor.user
    assert (actor.host, actor.command, actor.uid) == (os.uname().nodename, "rotate", os.geteuid())
    assert actor.claimed_sudo_user == "somebody-else"
    assert current_actor("rotate", {}).claimed_sudo_user is None
