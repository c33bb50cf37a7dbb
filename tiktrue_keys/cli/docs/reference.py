"""The parser described as values, for the man pages and the completion scripts. Loads every command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from tiktrue_keys.cli.program.catalog import CATALOG, OLD_NAMES, CatalogEntry, Examples, PageSections
from tiktrue_keys.cli.program.options import COMMON_PANEL
from tiktrue_keys.core.audit.events import EVENTS
from tiktrue_keys.core.audit.record import OUTCOMES

_KINDS = {
    "FILE": "file",
    "PATH": "file",
    "SRC": "file",
    "DST": "file",
    "CONTAINER": "file",
    "STATEFILE": "file",
    "FILE... -- CMD": "file",
    "DIR": "folder",
    "KEY": "key",
    "KEY_ID": "key",
    "MODEL": "model",
    "NODE": "node",
    "ISSUER": "node",
    "FILE_ID": "file-id",
}
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "EVENT": EVENTS,
    "OUTCOME": OUTCOMES,
    "SINK": ("syslog", "journal"),
}
"""What completions offer for values of which there are more, or that the command checks itself."""


@dataclass(frozen=True)
class Parameter:
    """An option or argument. `kind` is the type of its value: file, folder, key, model, node, file-id,
    choice, text; empty for a flag."""

    names: tuple[str, ...]
    metavar: str
    help: str
    kind: str
    choices: tuple[str, ...]
    offered: tuple[str, ...]
    multiple: bool
    required: bool
    common: bool


@dataclass(frozen=True)
class Description:
    """One command: `path` is () for the program, ("audit", "show") for a child of a family."""

    path: tuple[str, ...]
    summary: str
    help: str
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]
    children: tuple[tuple[str, str], ...]
    default: str
    section: str
    new_name: str
    examples: Examples
    exit_status: Mapping[int, str]
    page_sections: PageSections

    @property
    def name(self) -> str:
        """The words after the program's name."""
        return " ".join(self.path)


def descriptions() -> tuple[Description, ...]:
    """Return the program first, then every command in the order of the catalog, families before their children."""
    return tuple(_walk(_program(), (), CatalogEntry("", children=CATALOG), None))


def old_descriptions() -> tuple[Description, ...]:
    """The commands under their old names, which `descriptions` leaves out."""
    _, *old = _walk(_program(), (), CatalogEntry("", children=OLD_NAMES), None)
    return tuple(old)


def _program() -> Any:
    from tiktrue_keys.cli.program.main import app

    return typer.main.get_command(app)


def _walk(command: Any, path: tuple[str, ...], entry: CatalogEntry, parent: Any) -> Iterator[Description]:
    context = command.context_class(
        command, info_name=path[-1] if path else "tiktrue-keys", parent=parent, **command.context_settings
    )
    parameters = [(param, _parameter(param, context, command)) for param in command.get_params(context)]
    yield Description(
        path=path,
        summary=entry.summary,
        help=command.help or "",
        arguments=tuple(each for param, each in parameters if param.param_type_name == "argument"),
        options=tuple(each for param, each in parameters if param.param_type_name == "option"),
        children=tuple((name, child.summary) for name, child in entry.children.items()),
        default=entry.default,
        section=entry.section,
        new_name=entry.new_name,
        examples=command.examples,
        exit_status=command.exit_status,
        page_sections=command.page_sections,
    )
    for name, child in entry.children.items():
        yield from _walk(command.get_command(context, name), (*path, name), child, context)


def _parameter(param: Any, context: Any, command: Any) -> Parameter:
    flag = param.param_type_name == "option" and (param.is_flag or param.count)
    metavar = "" if flag else param.metavar or param.name.upper()
    columns = command.columns if "--column" in param.opts else ()
    choices = tuple(str(getattr(each, "value", each)) for each in param.type_descriptor.choices or ())
    offered = choices or tuple(name.replace(" ", "-") for name in columns) or _CHOICES.get(metavar, ())
    names = (*param.opts, *param.secondary_opts) if param.param_type_name == "option" else ()
    return Parameter(
        names=tuple(sorted(names, key=lambda name: name.startswith("--"))),
        metavar=metavar,
        help=param.help or "",
        kind="" if flag else _kind(metavar, offered),
        choices=choices,
        offered=offered,
        multiple=param.multiple or param.nargs == -1,
        required=param.required,
        common=getattr(param, "rich_help_panel", None) == COMMON_PANEL or "--help" in names,
    )


def _kind(metavar: str, choices: tuple[str, ...]) -> str:
    if choices:
        return "choice"
    word = metavar.partition("|")[0].rstrip(".")
    return _KINDS.get(word, "text")
