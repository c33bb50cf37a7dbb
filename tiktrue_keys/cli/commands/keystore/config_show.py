"""`config show`: every setting, its value and its source."""

from __future__ import annotations

import typer

from tiktrue_keys.cli.context.context import DEFAULT_LOCK_TIMEOUT, CommandContext
from tiktrue_keys.cli.context.default_places import default_host_secret
from tiktrue_keys.cli.context.settings import KNOWN
from tiktrue_keys.cli.view.outcome import Line, Outcome, Table
from tiktrue_keys.core.instants import duration_text
from tiktrue_keys.core.keys.lifecycle import (
    DEFAULT_DECRYPT_FOR,
    DEFAULT_DESTROY_AFTER,
    DEFAULT_LIFETIME,
    DEFAULT_OVERLAP,
    DEFAULT_WITHIN,
)
from tiktrue_keys.core.limits import DEFAULT_BACKUP_AGE

EXAMPLES = (
    ("Show the settings in force:", "tiktrue-keys config show"),
    ("Show those of another keystore, as JSON:", "tiktrue-keys config show --keystore /srv/keys --json"),
)


DEFAULTS = {
    "lock_timeout": duration_text(DEFAULT_LOCK_TIMEOUT),
    "generate.lifetime": duration_text(DEFAULT_LIFETIME),
    "generate.decrypt_for": duration_text(DEFAULT_DECRYPT_FOR),
    "rotate.within": duration_text(DEFAULT_WITHIN),
    "rotate.overlap": duration_text(DEFAULT_OVERLAP),
    "rotate.lifetime": "that of the old key",
    "cleanup.after": duration_text(DEFAULT_DESTROY_AFTER),
    "limits.backup_age": duration_text(DEFAULT_BACKUP_AGE),
    "limits.key_age": "no limit",
}
"""In words where the default is not a value."""


def command(ctx: typer.Context) -> Outcome:
    """Show each setting and where it comes from.

    An option wins over the environment, the environment over the files. Of these, tiktrue-keys.toml in the keystore's
    folder wins over the one in the user's configuration folder, which wins over the one in /etc/tiktrue-keys. The
    license itself is never shown, only where it would be read from.
    """
    context: CommandContext = ctx.obj
    rows = [_setting(context, name) for name in KNOWN]
    rows.append(("license", "(hidden)" if context.license_origin else "", context.license_origin or "not given"))
    return Outcome(
        result={
            "settings": [{"name": name, "value": value or None, "source": source} for name, value, source in rows],
            "files": [str(path) for path in context.settings.files],
        },
        view=[
            Table(("setting", "value", "source"), rows, spare=("source",)),
            *(Line(f"read: {path}") for path in context.settings.files),
        ],
    )


def _setting(context: CommandContext, name: str) -> tuple[str, str, str]:
    setting = context.settings.setting(name)
    if setting is not None:
        value = str(setting.value).lower() if isinstance(setting.value, bool) else str(setting.value)
        return name, value, setting.source
    return name, _default(context, name), "default"


def _default(context: CommandContext, name: str) -> str:
    """Return what holds where a setting is not set; empty for one that has no default."""
    if name == "keystore":
        return str(context.keystore)
    if name == "host_secret":
        return context.host_secret or default_host_secret(context.environment) or ""
    if name == "color":
        return "on a terminal"
    return DEFAULTS.get(name, "")
