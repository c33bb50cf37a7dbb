"""What one command runs in: settings, keystore, license, confirmation. Each is looked up when first needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tiktrue_keys.cli.context.default_places import default_host_secret, default_keystore, is_root
from tiktrue_keys.cli.context.devices import devices_of
from tiktrue_keys.cli.context.license import LicenseSource, credential
from tiktrue_keys.cli.context.prompts import can_ask, confirm
from tiktrue_keys.cli.context.settings import FILE_NAME, SYSTEM_FILE, Level, Settings, load_settings, user_config_file
from tiktrue_keys.cli.program.options import CommonOptions
from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.streams import message_line, write_err
from tiktrue_keys.core.instants import Seconds, parse_duration
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import RefusedError, TikTrueKeysError, UsageError

if TYPE_CHECKING:
    from tiktrue_keys.core.audit.record_sinks import Sink
    from tiktrue_keys.core.manager import KeyManager
    from tiktrue_keys.core.outputs import OutputGate

DEFAULT_LOCK_TIMEOUT = Seconds(10)
MAX_LOCK_TIMEOUT = Seconds(86_400)


class CommandContext:
    """What a command asks for instead of reading the environment or the terminal itself."""

    def __init__(self, options: CommonOptions, *, command: str, environment: Mapping[str, str]) -> None:
        self.options = options
        self.command = command
        self.environment = environment
        self.warnings: list[Notice] = []
        self.stdout_is_data = False
        self.needs_keystore = True
        self._stdin_reader = ""
        self._opened = False

    @cached_property
    def settings(self) -> Settings:
        """The settings of flags, environment and configuration files, merged."""
        names = ("keystore", "host_secret", "marks", "license_file", "lock_timeout")
        flags = {name: getattr(self.options, name) for name in names}
        settings = load_settings(flags, self.environment, user_file=user_config_file(), system_file=SYSTEM_FILE)
        settings.add_file(
            self._keystore_of(settings) / FILE_NAME, Level.KEYSTORE, over=(user_config_file(), SYSTEM_FILE)
        )
        return settings

    @cached_property
    def keystore(self) -> Path:
        """The absolute path of the keystore's folder."""
        return self._keystore_of(self.settings)

    @property
    def known_keystore(self) -> str | None:
        """The keystore's folder for reports; None when the command does not use it or it is unknown."""
        try:
            return str(self.keystore) if self.needs_keystore else None
        except TikTrueKeysError:
            return None

    @property
    def uses_keystore(self) -> bool:
        """Whether the command has opened the keystore or tried to."""
        return self._opened

    @cached_property
    def host_secret(self) -> str | None:
        """The host secret's path that the caller chose, a service's for a new keystore, or None for the default."""
        from tiktrue_keys.core.keystore.database import FILE_NAME as KEYSTORE_FILE

        given = self.settings.get("host_secret")
        if given is not None:
            return str(given)
        chosen = credential(self.environment, "tiktrue-host-secret")
        is_new = not (self.keystore / KEYSTORE_FILE).exists()  # a keystore records the path of its own
        return chosen or (default_host_secret(self.environment) if is_new else None)

    @property
    def marks(self) -> Path | None:
        """The folder of the high-water marks that the caller chose, or None for the recorded one."""
        given = self.settings.get("marks")
        return None if given is None else Path(os.path.abspath(given))

    @cached_property
    def manager(self) -> KeyManager:
        """The key manager of this keystore. Creating it does not open the keystore."""
        self._opened = True
        return self.manager_of(self.keystore, marks=self.marks)

    def manager_of(self, folder: Path, *, marks: Path | None = None) -> KeyManager:
        """Return a key manager of the keystore in `folder`, with this command's host secret and approval."""
        from tiktrue_keys.cli.context.actor import current_actor
        from tiktrue_keys.core.manager import KeyManager

        actor = current_actor(self.command, self.environment)
        manager = KeyManager(
            folder,
            host_secret_file=self.host_secret,
            lock_timeout=self.lock_timeout,
            actor=actor,
            protected=self._protected,
            approval=self.options.approval,
            marks_dir=marks,
            devices=devices_of(self.settings, self.environment, self.warn),
        )
        self._mirror(manager)
        return manager

    def _mirror(self, manager: KeyManager) -> None:
        """Let the sinks of the configuration get each record after its commit."""
        names = self.settings.get("audit.sinks")
        if names:
            from tiktrue_keys.core.operations.mirror import mirroring

            manager.session.after_commit = mirroring([self.sink(name) for name in names])

    def sink(self, name: str) -> Sink:
        """Return a sink by its name. Its file may not be one that the program lives on."""
        from tiktrue_keys.core.audit.record_sinks import FileSink, parse_sink

        sink = parse_sink(name)
        return replace(sink, check=self.gate_without_keystore.check) if isinstance(sink, FileSink) else sink

    @property
    def tells_others(self) -> bool:
        """Whether programs or sinks of the configuration want to know what happens."""
        return bool(self.settings.get("events.exec") or self.settings.get("audit.sinks"))

    def tell_programs(self) -> None:
        """Run the programs of the configuration with what this command has done, and warn of those that failed."""
        if not self._opened or self.manager.session.first_recorded is None or not self.settings.get("events.exec"):
            return
        from tiktrue_keys.cli.context.event_programs import tell_programs

        commands = [tuple(command) for command in self.settings.get("events.exec")]
        try:
            if self.manager.document().rehearsal:
                return
            failed = tell_programs(self.manager, commands)
        except (TikTrueKeysError, OSError) as error:
            failed = [str(error)]
        if failed and not self.options.quiet:
            write_err("".join(message_line(f"warning: events were not told: {escaped(each)}") for each in failed))

    @cached_property
    def writer(self) -> KeyManager:
        """The key manager for a command that writes; operations of dead processes are settled first."""
        self.settle()
        return self.manager

    def settle(self) -> None:
        """Settle the file operations that dead processes left open; a single read when there are none."""
        if self.manager.exists() and self.manager.open_intents():
            from tiktrue_keys.models.settle.interrupted import settle_intents

            self.warnings.extend(settle_intents(self.manager).warnings)

    @property
    def gate_without_keystore(self) -> OutputGate:
        """The gate for outputs of a command that opens no keystore."""
        from tiktrue_keys.core.outputs import KEYSTORES_ONLY

        secret = None if self.host_secret is None else Path(self.host_secret)
        marks = () if self.marks is None else (self.marks,)
        return KEYSTORES_ONLY.also_all(self._protected).of_keystore(self.keystore, secret, *marks)

    @property
    def _protected(self) -> dict[str, Path]:
        """The files that steer this command, by names for messages."""
        licenses = {f"the license file {path}": path for path in self._license_source(twice=False).files()}
        return licenses | {f"the configuration {path}": path for path in (user_config_file(), SYSTEM_FILE)}

    @cached_property
    def lock_timeout(self) -> float:
        """How long to wait for another process, in seconds."""
        given = self.settings.get("lock_timeout")
        timeout = DEFAULT_LOCK_TIMEOUT if given is None else parse_duration(given)
        if timeout > MAX_LOCK_TIMEOUT:
            raise UsageError("the lock timeout is longer than a day", "use at most --lock-timeout 1d")
        return float(timeout)

    @property
    def operation_id(self) -> str | None:
        """The operation id that the caller chose, validated; None without one."""
        from tiktrue_keys.core.names import parse_operation_id

        given = self.options.operation_id
        return None if given is None else parse_operation_id(given)

    @property
    def color(self) -> bool:
        """Whether colour is wanted; Rich reads NO_COLOR itself."""
        return not self.options.no_color and self.settings.get("color") is not False

    def license(self, *, twice: bool = False) -> Callable[[], bytes]:
        """Return the license as a function, which core calls only when a licensed key must be created or opened."""
        source = self._license_source(twice=twice)
        if source.reads_stdin():
            self.claim_stdin("the license")
        return source.read

    @property
    def license_origin(self) -> str | None:
        """Where the license would be read from, without reading it."""
        return self._license_source(twice=False).origin()

    def claim_stdin(self, purpose: str) -> None:
        """Reserve standard input for `purpose`. Raises UsageError for a second reader."""
        if self._stdin_reader:
            raise UsageError(
                f"standard input cannot be both {self._stdin_reader} and {purpose}", "give one of them as a file"
            )
        self._stdin_reader = purpose

    def confirm(self, question: str) -> None:
        """Return when --yes was given or the user answers yes. Raises RefusedError otherwise."""
        if not self.options.yes:
            confirm(question)

    def confirm_storage(self, *, ephemeral: bool) -> None:
        """Ask before a keystore is created on storage that vanishes, unless it is meant to be `ephemeral`.

        Raises RefusedError when that is not confirmed.
        """
        if ephemeral or self.environment.get("TIKTRUE_EPHEMERAL") == "1" or self.manager.exists():
            return
        found = self.manager.session.volatile_parts()
        if found and not self.options.yes and not can_ask():
            raise RefusedError(
                found.words,
                "name places that last: --keystore DIR --host-secret FILE; if it may vanish, add --ephemeral",
            )
        if found:
            self.confirm(f"{found.words}. Create it there?")

    def warn(self, notice: Notice) -> None:
        """Add a warning to the command's report."""
        self.warnings.append(notice)

    @property
    def all_warnings(self) -> tuple[Notice, ...]:
        """The warnings of the command, and those of the keystore's session."""
        manager: KeyManager | None = self.__dict__.get("manager")
        return (*self.warnings, *(manager.session.notices if manager is not None else ()))

    @property
    def idle_approval(self) -> tuple[Notice, ...]:
        """A warning about an approval that was given and that nothing has used: it may be meant for something else."""
        manager: KeyManager | None = self.__dict__.get("manager")
        if manager is None or not manager.approval_is_idle:
            return ()
        words = f"approval {self.options.approval} was not used: nothing that was done needs one"
        return (Notice("idle-approval", words, remedy="list-approvals"),)

    def duration(self, option: str | None, setting: str, default: Seconds) -> Seconds:
        """Return a duration from its option, else from the configuration, else the default."""
        given = option if option is not None else self.settings.get(setting)
        return default if given is None else parse_duration(given)

    def close(self) -> None:
        """Close the keystore if it was opened."""
        manager = self.__dict__.get("manager")
        if manager is not None:
            manager.close()

    def _license_source(self, *, twice: bool) -> LicenseSource:
        configured = self.settings.get("license_file") if self.options.license_file is None else None
        return LicenseSource(self.options.license_file, self.environment, configured, self.warn, ask_twice=twice)

    def _keystore_of(self, settings: Settings) -> Path:
        given = settings.get("keystore")
        if given is None:
            return default_keystore(self.environment, root=is_root())
        if not given or "\0" in given:
            raise UsageError("the name of the keystore's folder is empty", "use --keystore DIR")
        return Path(os.path.abspath(given))
