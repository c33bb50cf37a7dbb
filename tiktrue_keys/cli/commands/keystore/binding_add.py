"""`binding add`: a secret that a device seals, in the host secret's place."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.devices import device_settings
from tiktrue_keys.cli.context.settings import KNOWN, ROOTS, SYSTEM_FILE, Setting
from tiktrue_keys.cli.view.bound_ways import configuration, name_of
from tiktrue_keys.cli.view.outcome import REPEATED, Line, Outcome
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import UsageError

EXAMPLES = (
    ("Bind the keystore to this machine's TPM:", "tiktrue-keys binding add tpm2 --set tcti=device:/dev/tpmrm0"),
    ("Let the PKCS#11 token of the configuration open it too:", "tiktrue-keys binding add pkcs11 --alternative"),
)
TAKES_APPROVAL = True
_OPTION = "--set"


def command(
    ctx: typer.Context,
    way: Annotated[str, typer.Argument(metavar="WAY", help="Way that seals the secret: tpm2, pkcs11 or transit.")],
    setting: Annotated[
        list[str] | None,
        typer.Option(_OPTION, metavar="NAME=VALUE", help="A setting of it, as in the table [roots.WAY] (repeatable)."),
    ] = None,
    alternative: Annotated[
        bool, typer.Option("--alternative", help="Keep what opens the keystore now beside it.")
    ] = False,
) -> Outcome:
    """Bind the keystore to a TPM, a PKCS#11 token or a transit server.

    The device seals a new random secret, which takes the place of the host secret; a new process unseals it once before
    anything changes. The old host secret then opens only older copies of the keystore, until rekey. A TPM stands for
    the whole machine; with a token or a server the machine's facts count as before. Needs a verified escrow, because a
    device that breaks takes every key along, unless --alternative keeps the old way too: the keystore is then as strong
    as the weaker of the two.

    Prints the lines that /etc/tiktrue-keys/tiktrue-keys.toml has to keep: what is not enabled there, or in the
    environment, is not used. A PIN or token is read from the file that pin_file or token_file names, from the systemd
    credential tiktrue-pkcs11 or tiktrue-transit, or typed; it is never an argument.
    """
    context: CommandContext = ctx.obj
    _take_settings(context, way, setting or [])
    done = context.writer.bind_device(way, alternative=alternative, operation_id=context.operation_id)
    lines = configuration(way, device_settings(context.settings).get(way, {}))
    return Outcome(
        result={
            "way": way,
            "ways": [name_of(each) for each in done.ways],
            "alternative": alternative,
            "configuration": lines,
        },
        view=[Line(f"# {SYSTEM_FILE}"), *map(Line, lines)],
        messages=[f"Bound to {way}." if done.changed else REPEATED],
        ids=[],
        changed=done.changed,
        operation_id=done.operation_id,
        warnings=[*done.warnings, *_not_kept(context, way)],
    )


def _take_settings(context: CommandContext, way: str, given: list[str]) -> None:
    """Add the settings of the command line. Raises UsageError for one that the way does not have."""
    names = [name.removeprefix(f"{ROOTS}.{way}.") for name in KNOWN if name.startswith(f"{ROOTS}.{way}.")]
    if not names:
        raise UsageError(f"'{way}' is not a way to bind a keystore", "use tpm2, pkcs11 or transit")
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in names:
            raise UsageError(f"'{name}' is not a setting of {way}", f"use {_OPTION} with {', '.join(names)}")
        if value and (name in ("module", "ca") or name.endswith("_file")):
            value = os.path.abspath(value)
        _check(name, f"{ROOTS}.{way}.{name}", value)
        context.settings.values[f"{ROOTS}.{way}.{name}"] = Setting(value, _OPTION)


def _check(name: str, setting: str, value: str) -> None:
    try:
        KNOWN[setting](value)
    except UsageError as error:
        raise UsageError(f"'{name}' {error.message}", error.hint) from None


def _not_kept(context: CommandContext, way: str) -> tuple[Notice, ...]:
    """Return a notice for settings that the next command will not have."""
    values = context.settings.values
    lost = [name for name, each in values.items() if name.startswith(f"{ROOTS}.{way}.") and each.source == _OPTION]
    words = f"{', '.join(lost)} were given for this command alone: without the lines above the keystore does not open"
    return (Notice("settings-not-kept", words),) if lost else ()
