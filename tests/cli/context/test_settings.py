"""tiktrue-keys.toml: sources and their order, strictness, and who may have written it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.program import Program
from tiktrue_keys.cli.context.settings import KNOWN, Setting, load_settings, read_settings
from tiktrue_keys.errors import InsecureError, UsageError
from tiktrue_keys.roots.ways import WAYS


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def load(
    folder: Path, flags: dict[str, Any] | None = None, environment: dict[str, str] | None = None
) -> dict[str, Setting]:
    return load_settings(
        flags or {}, environment or {}, user_file=folder / "user.toml", system_file=folder / "system.toml"
    ).values


def test_a_flag_wins_over_the_environment_and_that_over_the_files(tmp_path: Path) -> None:
    write(tmp_path / "user.toml", 'keystore = "/user"\nlock_timeout = "1s"\n')
    write(tmp_path / "system.toml", 'keystore = "/system"\nlock_timeout = "2s"\nhost_secret = "/s"\n')

    found = load(tmp_path, {"keystore": "/flag", "lock_timeout": None}, {"TIKTRUE_KEYS_HOME": "/environment"})

    assert found["keystore"] == Setting("/flag", "--keystore")
    assert found["lock_timeout"] == Setting("1s", str(tmp_path / "user.toml"))
    assert found["host_secret"] == Setting("/s", str(tmp_path / "system.toml"))
    assert load(tmp_path, {}, {"TIKTRUE_KEYS_HOME": "/environment"})["keystore"].source == "TIKTRUE_KEYS_HOME"


def test_the_keystores_own_file_wins_over_the_users(program: Program) -> None:
    write(program.folder / ".config/tiktrue-keys/tiktrue-keys.toml", '[rotate]\nwithin = "1d"\noverlap = "2d"\n')
    write(program.keystore / "tiktrue-keys.toml", '[rotate]\nwithin = "3d"\n')

    settings = {each["name"]: each for each in program.json("config")["result"]["settings"]}

    assert (settings["rotate.within"]["value"], settings["rotate.overlap"]["value"]) == ("3d", "2d")
    assert settings["rotate.within"]["source"] == str(program.keystore / "tiktrue-keys.toml")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('keystor = "/k"\n', "'keystor' is not a setting in ", "did you mean keystore?"),
        ('license = "x"\n', "'license' is not a setting in ", "a license does not belong in this file"),
        ("[rotate]\nwithin = 7\n", "'rotate.within' in ", "write it like"),
        ('[rotate]\nwithin = "soon"\n', "'rotate.within' in ", "write it like"),
        ('color = "yes"\n', "'color' in ", ""),
        ('[audit]\nsinks = "syslog"\n', "'audit.sinks' in ", "write it like"),
        ('[audit]\nsinks = ["file:log"]\n', "'audit.sinks' in ", "one of syslog, journal"),
        ('[events]\nexec = ["/bin/true"]\n', "'events.exec' in ", "write it like"),
        ("[events]\nexec = [[]]\n", "'events.exec' in ", "write it like"),
        ('[events]\nexec = [["true"]]\n', "names the program 'true'", "give its absolute path"),
        ('keystore = ""\n', "'keystore' in ", ""),
        ("keystore = \n", "is not valid TOML: ", ""),
        ("[rotate.deeper]\nwithin = 1\n", "'rotate.deeper' is not a setting in ", ""),
    ],
)
def test_a_malformed_file_is_refused_by_name(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(write(tmp_path / "c.toml", text))

    assert message in caught.value.message
    assert str(tmp_path / "c.toml") in caught.value.message
    assert caught.value.hint.startswith(hint)


def test_every_setting_can_be_set(tmp_path: Path) -> None:
    values = {"keystore": '"/k"', "host_secret": '"/h"', "license_file": '"/l"', "color": "false"}
    values |= {"audit.sinks": '["syslog"]', "events.exec": '[["/bin/true"]]'}
    lines = [f"{name} = {values.get(name, chr(34) + '5d' + chr(34))}" for name in KNOWN]

    assert set(read_settings(write(tmp_path / "c.toml", "\n".join(lines)))) == set(KNOWN)


def test_a_file_that_others_can_write_is_insecure(tmp_path: Path) -> None:
    with pytest.raises(InsecureError):
        read_settings(write(tmp_path / "c.toml", 'keystore = "/k"\n', 0o620))


def test_a_file_that_is_not_utf8_or_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "bytes.toml").chmod(0o600)
    with pytest.raises(UsageError, match="not UTF-8"):
        read_settings(tmp_path / "bytes.toml")
    with pytest.raises(UsageError, match="longer than 65536 bytes"):
        read_settings(write(tmp_path / "long.toml", "#" * 70_000))


def test_an_empty_variable_is_a_mistake_not_a_default(program: Program) -> None:
    done = program.run("list", env={"TIKTRUE_KEYS_HOME": ""})

    assert done.returncode == 2
    assert done.stderr == "error: TIKTRUE_KEYS_HOME is set but empty\nhint: give it a path, or unset it\n"


def test_the_keystores_file_cannot_name_the_keystore(program: Program) -> None:
    write(program.keystore / "tiktrue-keys.toml", 'keystore = "/elsewhere"\n')

    done = program.run("list")

    assert done.returncode == 2
    assert "'keystore' cannot be set in" in done.stderr


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("roots.pkcs11", 'module = "/tmp/evil.so"'),
        ("roots.transit", 'url = "https://evil.example:8200"'),
        ("fleet", 'via = "etcd://evil.example:2379/x"'),
    ],
)
def test_the_keystores_file_chooses_neither_code_nor_servers(program: Program, table: str, line: str) -> None:
    write(program.keystore / "tiktrue-keys.toml", f"[{table}]\n{line}\n")

    done = program.run("list")

    assert done.returncode == 2
    name = line.split(" ")[0]
    assert f"'{table}.{name}' cannot be set in {program.keystore}/tiktrue-keys.toml" in done.stderr
    assert "hint: that file lies in the keystore itself" in done.stderr


def test_a_users_file_enables_no_device(program: Program) -> None:
    write(program.folder / ".config/tiktrue-keys/tiktrue-keys.toml", '[roots.tpm2]\ntcti = "device"\n')

    done = program.run("list")

    assert done.returncode == 2
    assert "tiktrue-keys.toml sets it, or the environment: TIKTRUE_TPM2_TCTI" in done.stderr


def test_every_setting_of_a_device_has_a_name_here_and_a_variable(tmp_path: Path) -> None:
    names = {f"roots.{way}.{name}" for way, known in WAYS.items() for name in known.settings}
    variables = {name: f"TIKTRUE_{name.removeprefix('roots.').replace('.', '_').upper()}" for name in names}
    found = load(tmp_path, environment=dict.fromkeys(variables.values(), "/x"))

    assert {name for name in KNOWN if name.startswith("roots.")} == names
    assert {name: each.source for name, each in found.items() if name in names} == variables
    assert variables["roots.pkcs11.pin_file"] == "TIKTRUE_PKCS11_PIN_FILE"


def test_config_show_never_shows_the_license(program: Program) -> None:
    done = program.run("config", "show", "--json")

    assert program.variables["TIKTRUE_LICENSE_KEY"] not in done.stdout
    assert '"source": "TIKTRUE_LICENSE_KEY"' in done.stdout


def test_a_setting_reaches_its_command(program: Program) -> None:
    write(program.keystore / "tiktrue-keys.toml", '[generate]\nlifetime = "3d"\ndecrypt_for = "0s"\n')
    program.keystore.chmod(0o700)

    key = program.json("generate", "m")["result"]["keys"][0]

    assert key["expires_at"] == key["decrypt_until"]


def test_what_runs_and_where_records_go_is_not_for_everybody_to_set(tmp_path: Path, program: Program) -> None:
    sinks, programs = '[audit]\nsinks = ["journal"]\n', '[events]\nexec = [["/bin/true"]]\n'
    write(tmp_path / "system.toml", sinks + programs, 0o644)
    assert load(tmp_path)["audit.sinks"].value == ["journal"]
    write(tmp_path / "user.toml", programs)
    assert load(tmp_path)["events.exec"].source == str(tmp_path / "user.toml")
    write(tmp_path / "user.toml", programs, 0o640)
    with pytest.raises(InsecureError, match="can be read by others"):
        load(tmp_path)
    write(tmp_path / "user.toml", sinks)
    with pytest.raises(UsageError, match=r"'audit\.sinks' cannot be set in"):
        load(tmp_path)
    for text in (sinks, programs):
        write(program.keystore / "tiktrue-keys.toml", text)
        done = program.run("config")
        assert (done.returncode, "cannot be set in" in done.stderr) == (2, True)
