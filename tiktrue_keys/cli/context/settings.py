"""`tiktrue-keys.toml`: the settings that exist, where the files are, and which source wins.

A flag wins over the environment and the environment over the files. Among the files the keystore folder's wins over the
user's, and the user's over the one in /etc. An unknown setting is refused, so that a misspelt one is noticed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

from tiktrue_keys.cli.context.trusted_files import read_trusted
from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.core.instants import parse_duration
from tiktrue_keys.errors import InsecureError, UsageError

FILE_NAME = "tiktrue-keys.toml"
SYSTEM_FILE = Path("/etc/tiktrue-keys") / FILE_NAME
_LIMIT = 64 * 1024


def _is_path(value: Any) -> None:
    if not isinstance(value, str) or not value or "\0" in value:
        raise UsageError("must be a path")


def _is_text(value: Any) -> None:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise UsageError("must be a text")


def _is_duration(value: Any) -> None:
    if not isinstance(value, str):
        raise UsageError("must be a duration", 'write it like "30s", "12h", "90d", "2w" or "P30D"')
    parse_duration(value)


def _is_switch(value: Any) -> None:
    if not isinstance(value, bool):
        raise UsageError("must be true or false")


def _is_commands(value: Any) -> None:
    if not isinstance(value, list) or not all(_is_command(each) for each in value):
        raise UsageError("must be a list of commands", 'write it like [["/usr/local/bin/notify", "WORD"]]')
    for program, *_ in value:
        if not program.startswith("/"):
            raise UsageError(f"names the program '{escaped(program[:80])}'", "give its absolute path")


def _is_command(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(word, str) and word.isprintable() for word in value)
    )


def _is_sinks(value: Any) -> None:
    from tiktrue_keys.core.audit.record_sinks import parse_sink

    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise UsageError("must be a list of sinks", 'write it like ["syslog", "file:/var/log/tiktrue-keys.jsonl"]')
    for name in value:
        parse_sink(name)


KNOWN: Mapping[str, Callable[[Any], None]] = {
    "keystore": _is_path,
    "host_secret": _is_path,
    "marks": _is_path,
    "license_file": _is_path,
    "lock_timeout": _is_duration,
    "color": _is_switch,
    "generate.lifetime": _is_duration,
    "generate.decrypt_for": _is_duration,
    "rotate.within": _is_duration,
    "rotate.overlap": _is_duration,
    "rotate.lifetime": _is_duration,
    "cleanup.after": _is_duration,
    "limits.backup_age": _is_duration,
    "limits.key_age": _is_duration,
    "fleet.via": _is_text,
    "fleet.user": _is_text,
    "fleet.password_file": _is_path,
    "fleet.ca": _is_path,
    "fleet.cert": _is_path,
    "fleet.key": _is_path,
    "audit.sinks": _is_sinks,
    "events.exec": _is_commands,
    "roots.tpm2.tcti": _is_text,
    "roots.tpm2.pcrs": _is_text,
    "roots.pkcs11.module": _is_path,
    "roots.pkcs11.token": _is_text,
    "roots.pkcs11.pin_file": _is_path,
    "roots.transit.url": _is_text,
    "roots.transit.ca": _is_path,
    "roots.transit.mount": _is_text,
    "roots.transit.key": _is_text,
    "roots.transit.token_file": _is_path,
}
"""Every setting; a dot stands for a TOML table."""

ROOTS = "roots"


class Level(Enum):
    """Whose file sets something: the administrator's in /etc, the user's, or the one in the keystore's folder."""

    SYSTEM = 1
    USER = 2
    KEYSTORE = 3


_ONLY_IN: Mapping[str, Level] = {
    "audit.sinks": Level.SYSTEM,
    "events.exec": Level.USER,
    "keystore": Level.USER,
    **{name: Level.SYSTEM for name in KNOWN if name.startswith(f"{ROOTS}.")},
    **{name: Level.USER for name in KNOWN if name.startswith("fleet.")},
}
"""Settings and the last level that may set them. Who can write the keystore's folder does not choose what runs."""
_PRIVATE = ("events.exec",)
"""Settings that a user's file sets only if no other user can read or write it."""

_ENVIRONMENT = {
    "keystore": "TIKTRUE_KEYS_HOME",
    "host_secret": "TIKTRUE_HOST_SECRET_FILE",
    "marks": "TIKTRUE_MARKS_DIR",
} | {
    name: name.replace(f"{ROOTS}.", "TIKTRUE_").replace(".", "_").upper()
    for name in KNOWN
    if name.startswith(f"{ROOTS}.")
}


@dataclass(frozen=True)
class Setting:
    """A value and its source (`--keystore`, `TIKTRUE_KEYS_HOME`, the path of a file)."""

    value: Any
    source: str


@dataclass
class Settings:
    """The settings in force. `add_file` adds the keystore's own file once its folder is known."""

    values: dict[str, Setting] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def get(self, name: str) -> Any:
        """Return the value of a setting, or None."""
        setting = self.setting(name)
        return setting.value if setting else None

    def setting(self, name: str) -> Setting | None:
        """Return a setting with its source, or None when it is not set."""
        return self.values.get(name)

    def add_file(self, path: Path, level: Level, *, over: tuple[Path, ...] = ()) -> None:
        """Read one file if it exists. Its values win over those of the files in `over` and lose to all others."""
        if not os.path.exists(path):  # False also where the folder is closed to us: then the keystore says so itself
            return
        self.files.append(path)
        weaker = {str(each) for each in over}
        for name, value in read_settings(path).items():
            _must_be_settable(name, path, level)
            present = self.values.get(name)
            if present is None or present.source in weaker:
                self.values[name] = Setting(value, str(path))


def _must_be_settable(name: str, path: Path, level: Level) -> None:
    last, where = _ONLY_IN.get(name, Level.KEYSTORE), escaped(str(path))
    if level.value > last.value:
        others = f", or the environment: {_ENVIRONMENT[name]}" if name in _ENVIRONMENT else ""
        hint = (
            "that file lies in the keystore itself"
            if level is Level.KEYSTORE
            else f"only {SYSTEM_FILE} sets it{others}"
        )
        raise UsageError(f"'{name}' cannot be set in {where}", hint)
    if level is Level.USER and name in _PRIVATE and os.stat(path).st_mode & 0o077:
        raise InsecureError(f"{where} sets '{name}' and can be read by others", f"chmod 600 {where}")


def load_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], *, user_file: Path, system_file: Path
) -> Settings:
    """Merge flags, environment and the two files whose paths do not depend on the keystore."""
    settings = Settings()
    for name, value in flags.items():
        if value is not None:
            settings.values[name] = Setting(value, f"--{name.replace('_', '-')}")
    for name, variable in _ENVIRONMENT.items():
        if variable in environment and name not in settings.values:
            if not environment[variable]:
                raise UsageError(f"{variable} is set but empty", "give it a path, or unset it")
            settings.values[name] = Setting(environment[variable], variable)
    settings.add_file(user_file, Level.USER)
    settings.add_file(system_file, Level.SYSTEM)
    return settings


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings of one file, flattened and checked. Raises UsageError, InsecureError."""
    import tomllib

    data = read_trusted(path, limit=_LIMIT, what="configuration").data
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        line = str(error).replace("\n", " ") if isinstance(error, tomllib.TOMLDecodeError) else "it is not UTF-8 text"
        raise UsageError(f"{escaped(str(path))} is not valid TOML: {escaped(line)}") from error
    return {name: _checked(name, value, path) for name, value in _flattened(table).items()}


def _flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict) and prefix.count(".") < (2 if prefix.startswith(ROOTS) else 1):
            flat |= _flattened(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _checked(name: str, value: Any, path: Path) -> Any:
    where = f"in {escaped(str(path))}"
    if name in ("license", "license_key"):
        raise UsageError(
            f"'{name}' is not a setting {where}",
            "a license does not belong in this file; name its file with license_file",
        )
    check = KNOWN.get(name)
    if check is None:
        near = get_close_matches(name, KNOWN, n=1)
        hint = f"did you mean {near[0]}?" if near else "the settings are: " + ", ".join(KNOWN)
        raise UsageError(f"'{escaped(name)}' is not a setting {where}", hint)
    try:
        check(value)
    except UsageError as error:
        raise UsageError(f"'{name}' {where}: {error.message}", **error.advice) from None
    return value


def user_config_file() -> Path:
    """Return the user's file, in the configuration folder of the platform."""
    if os.uname().sysname != "Darwin":
        base = os.environ.get("XDG_CONFIG_HOME", "")
        folder = Path(base) if base.startswith("/") else Path(os.path.expanduser("~")) / ".config"
        return folder / "tiktrue-keys" / FILE_NAME
    import platformdirs

    return platformdirs.user_config_path("tiktrue-keys", appauthor=False) / FILE_NAME
