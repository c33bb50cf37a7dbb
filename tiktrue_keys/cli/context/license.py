"""Finds the license: option, environment, systemd credential, configuration, hidden prompt. It is never an argument.

It is read once, when a licensed key has to be created or opened, and passed to core as bytes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tiktrue_keys.cli.context.prompts import ask_hidden, can_ask
from tiktrue_keys.cli.context.trusted_files import read_trusted
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import UsageError

CREDENTIAL = "tiktrue-license"
_LIMIT = 64 * 1024
_SOURCES = "use --license-file FILE or -, or set TIKTRUE_LICENSE_FILE or TIKTRUE_LICENSE_KEY"


@dataclass
class LicenseSource:
    """The license of this run; `read` asks for it at most once."""

    option: str | None
    environment: Mapping[str, str]
    configured: str | None
    warn: Callable[[Notice], None]
    ask_twice: bool = False
    _license: bytes | None = None

    def reads_stdin(self) -> bool:
        """Return whether the license comes on standard input."""
        return self._file() == "-"

    def files(self) -> list[Path]:
        """Return the paths of the license files that are named anywhere, whether or not they are read."""
        credentials = credential(self.environment, CREDENTIAL)
        named = (self.option, self.environment.get("TIKTRUE_LICENSE_FILE"), credentials, self.configured)
        return [Path(file) for file in named if file and file != "-"]

    def origin(self) -> str | None:
        """Return where the license would come from, in words; None when only the prompt remains, or nothing."""
        if self.option is not None:
            return "--license-file"
        for variable in ("TIKTRUE_LICENSE_FILE", "TIKTRUE_LICENSE_KEY"):
            if variable in self.environment:
                return variable
        if credential(self.environment, CREDENTIAL):
            return f"credential {CREDENTIAL}"
        return None if self.configured is None else f"license_file {self.configured}"

    def read(self) -> bytes:
        """Return the license. Raises UsageError when it is empty or missing."""
        if self._license is None:
            self._license = self._find()
        return self._license

    def _file(self) -> str | None:
        """Return the file to read, `-` for standard input, or None when the next source applies."""
        if self.option is not None:
            return self.option
        return self.environment.get("TIKTRUE_LICENSE_FILE")

    def _sources(self) -> list[str]:
        """Return the places that name a license without an option, the one that counts first."""
        named = [name for name in ("TIKTRUE_LICENSE_FILE", "TIKTRUE_LICENSE_KEY") if name in self.environment]
        if credential(self.environment, CREDENTIAL):
            named.append(f"the credential {CREDENTIAL}")
        return named if self.configured is None else [*named, f"license_file = {self.configured}"]

    def _find(self) -> bytes:
        named = self._sources()
        if self.option is None and len(named) > 1:
            words = f"the license is named in {len(named)} places, {' and '.join(named)}: {named[0]} is used"
            self.warn(Notice("license-named-twice", words))
        file = self._file()
        if file is not None:
            return self._from_stdin() if file == "-" else self._from_file(file)
        variable = self.environment.get("TIKTRUE_LICENSE_KEY")
        if variable is not None:
            return _cleaned(os.fsencode(variable), "TIKTRUE_LICENSE_KEY")
        later = credential(self.environment, CREDENTIAL) or self.configured
        if later is not None:
            return self._from_file(later)
        if not can_ask():
            raise UsageError("no license was given", _SOURCES)
        return _cleaned(ask_hidden("License", twice=self.ask_twice), "the license")

    def _from_stdin(self) -> bytes:
        data = sys.stdin.buffer.read(_LIMIT + 1)
        if len(data) > _LIMIT:
            raise UsageError(f"the license on standard input is longer than {_LIMIT} bytes", "check what is piped in")
        return _cleaned(data, "the license on standard input")

    def _from_file(self, path: str) -> bytes:
        if not path:
            raise UsageError("the name of the license file is empty", _SOURCES)
        found = read_trusted(Path(path), limit=_LIMIT, what="license file")
        if found.read_by_others:
            self.warn(
                Notice("license-readable", f"the license file {path} can be read by others: run chmod 600 {path}")
            )
        return _cleaned(found.data, f"the license file {path}")


def credential(environment: Mapping[str, str], name: str) -> str | None:
    """Return the path of a systemd credential, or None when the service did not get it."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    path = os.path.join(folder, name) if folder else ""
    return path if path and os.path.exists(path) else None


def _cleaned(data: bytes, what: str) -> bytes:
    for newline in (b"\r\n", b"\n"):
        if data.endswith(newline):
            data = data[: -len(newline)]
            break
    if not data.strip():
        raise UsageError(f"{what} is empty", _SOURCES)
    return data
