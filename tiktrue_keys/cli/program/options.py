"""The options that every command takes, before or after its name, and how the two places are merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

COMMON_PANEL = "Common options"


@dataclass(frozen=True)
class CommonOptions:
    """The common options as given; None and False mean "not given"."""

    keystore: str | None = None
    host_secret: str | None = None
    marks: str | None = None
    license_file: str | None = None
    lock_timeout: str | None = None
    operation_id: str | None = None
    approval: int | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    no_color: bool = False
    yes: bool = False

    def over(self, outer: CommonOptions) -> CommonOptions:
        """These options where given, else those of `outer` (given before the command's name)."""
        return CommonOptions(**{each.name: self._given(each.name, outer) for each in fields(self)})

    def _given(self, name: str, outer: CommonOptions) -> Any:
        mine = getattr(self, name)
        return getattr(outer, name) if mine is None or mine is False else mine


_NAMES = frozenset(each.name for each in fields(CommonOptions))


def take_common(params: dict[str, Any]) -> CommonOptions:
    """Remove the common options from a command's parsed parameters and return them."""
    values: Mapping[str, Any] = {name: params.pop(name) for name in list(params) if name in _NAMES}
    params.pop("version", None)
    return CommonOptions(**values)


def _print_version(value: bool) -> None:
    if value:
        from tiktrue_keys import __version__

        typer.echo(f"tiktrue-keys {__version__}")
        raise typer.Exit


def common_options(
    keystore: Annotated[
        str | None,
        typer.Option(
            "--keystore",
            metavar="DIR",
            help="Folder of the keystore (default: see FILES in tiktrue-keys(1)).",
            rich_help_panel=COMMON_PANEL,
        ),
    ] = None,
    host_secret: Annotated[
        str | None,
        typer.Option(
            "--host-secret",
            metavar="FILE",
            help="File of the host secret (default: see FILES in tiktrue-keys(1)).",
            rich_help_panel=COMMON_PANEL,
        ),
    ] = None,
    marks: Annotated[
        str | None,
        typer.Option(
            "--marks",
            metavar="DIR",
            help="Folder of the high-water marks (default: the one that the keystore records).",
            rich_help_panel=COMMON_PANEL,
        ),
    ] = None,
    license_file: Annotated[
        str | None,
        typer.Option(
            "--license-file",
            metavar="FILE|-",
            help="File with the license, or - for standard input.",
            rich_help_panel=COMMON_PANEL,
        ),
    ] = None,
    lock_timeout: Annotated[
        str | None,
        typer.Option(
            "--lock-timeout",
            metavar="DURATION",
            help="How long to wait for the keystore lock (default: 10s).",
            rich_help_panel=COMMON_PANEL,
        ),
    ] = None,
    operation_id: Annotated[
        str | None,
        typer.Option(
            "--operation-id",
            metavar="ID",
            help="Idempotency key: repeating the command with it returns the first result.",
            rich_help_panel=COMMON_PANEL,
        ),
    ] = None,
    approval: Annotated[
        int | None,
        typer.Option(
            "--approval",
            metavar="ID",
            min=1,
            help="Number of the approved plan to use: see approvals list.",
            rich_help_panel=COMMON_PANEL,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Answer yes to every question.", rich_help_panel=COMMON_PANEL)
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object.", rich_help_panel=COMMON_PANEL)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only ids and errors.", rich_help_panel=COMMON_PANEL)
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Print more, and a traceback for a bug.", rich_help_panel=COMMON_PANEL),
    ] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="Print without colour, as with NO_COLOR.", rich_help_panel=COMMON_PANEL)
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            is_eager=True,
            callback=_print_version,
            help="Print the version and exit.",
            rich_help_panel=COMMON_PANEL,
        ),
    ] = False,
) -> None:
    """Manage keys for large language models, bound to this machine and to a license.

    tiktrue-keys creates, rotates, revokes and destroys keys, and encrypts model weights with them.
    """
