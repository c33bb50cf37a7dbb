"""`config show`: every setting, its value and its source."""

from __future__ import annotations

import typer

from tiktrue_keys.cli.blocks import Line, Outcome, Table
from tiktrue_keys.cli.session import DEFAULT_LOCK_TIMEOUT, Session
from tiktrue_keys.cli.settings import KNOWN
from tiktrue_keys.core.instants import duration_text


def command(ctx: typer.Context) -> Outcome:
    """Show each setting and where it comes from.

    A flag wins over the environment, the environment over tiktrue-keys.toml in the keystore's folder, in the user's
    configuration folder, in /etc/tiktrue-keys. The license itself is never shown, only where it would be read from.
    """
    session: Session = ctx.obj
    rows = [_setting(session, name) for name in KNOWN]
    rows.append(("license", "(hidden)" if session.license_origin else "", session.license_origin or "not given"))
    return Outcome(
        result={
            "settings": [{"name": name, "value": value or None, "source": source} for name, value, source in rows],
            "files": [str(path) for path in session.settings.files],
        },
        view=[
            Table(("setting", "value", "source"), rows),
            *(Line(f"read: {path}") for path in session.settings.files),
        ],
    )


def _setting(session: Session, name: str) -> tuple[str, str, str]:
    setting = session.settings.values.get(name)
    if setting is not None:
        value = str(setting.value).lower() if isinstance(setting.value, bool) else str(setting.value)
        return name, value, setting.source
    defaults = {"keystore": str(session.keystore), "lock_timeout": duration_text(DEFAULT_LOCK_TIMEOUT)}
    return name, defaults.get(name, ""), "default"
