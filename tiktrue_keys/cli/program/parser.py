"""The parser: Typer groups that load a command's module when it is called and add the common options to it.

It does not know what a command does. Errors become exit codes in boundary.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from tiktrue_keys.cli.program.catalog import CatalogEntry, Examples
from tiktrue_keys.cli.program.options import COMMON_PANEL, common_options
from tiktrue_keys.cli.program.values import read_plainly
from tiktrue_keys.errors import UsageError

HELP = ("-h", "--help")
CONTEXT_SETTINGS = {"help_option_names": list(HELP), "max_content_width": 100}
EXIT_CODES_NOTE = "Exit codes and files: man tiktrue-keys."


class Command(TyperCommand):
    """A command whose result goes to the context in `ctx.obj`."""

    examples: Examples = ()
    exit_status: Mapping[int, str] = {}
    page_sections: Mapping[str, Mapping[str, str]] = {}
    columns: tuple[str, ...] = ()

    def invoke(self, ctx: Any) -> Any:
        """Run the command and return its exit code."""
        return ctx.obj.run_command(ctx, super().invoke)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, which parse their values without pydantic."""
        return [read_plainly(param) for param in super().get_params(ctx)]

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What the usage line shows after the command's name, as the man page does."""
        arguments = [param for param in self.get_params(ctx) if param.param_type_name == "argument"]
        return ["[OPTIONS]", *(f"{spelled(each)}" if each.required else f"[{spelled(each)}]" for each in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the command's own options and the common ones under three headings."""
        _format_parameters(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _format_examples(self.examples, formatter)


class ProgramCommand(Command):
    """A command whose arguments end with `--` and another program with its arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; the parser removes the first `--`, so another one is added."""
        at = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [*args[:at], *["--"] * (at < len(args)), *args[at:]])


class LazyGroup(TyperGroup):
    """A group of catalog entries, which loads a command when it is needed."""

    entries: Mapping[str, CatalogEntry]
    old_names: Mapping[str, CatalogEntry] = {}
    default = ""
    exit_status: Mapping[int, str] = {}
    page_sections: Mapping[str, Mapping[str, str]] = {}
    columns: tuple[str, ...] = ()

    @property
    def examples(self) -> Examples:
        """The first example of each of the first two commands; of a single one both."""
        first = [self.get_command(None, name).examples for name in list(self.entries)[:2]]
        return tuple(each[0] for each in first) if len(first) > 1 else first[0]

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, which parse their values without pydantic."""
        return [read_plainly(param) for param in super().get_params(ctx)]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the catalog."""
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load one command; return None for an unknown name."""
        entry = self.entries.get(cmd_name) or self.old_names.get(cmd_name)
        if entry is None:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = _family(cmd_name, entry) if entry.children else _command(cmd_name, entry)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that `args` begin with. Raises UsageError with the nearest names for an unknown one."""
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            near = get_close_matches(args[0], list(self.entries), n=2)
            hint = (
                f"did you mean {' or '.join(near)}?" if near else f"run {ctx.command_path} --help to list the commands"
            )
            path = ctx.command_path.removeprefix(ctx.find_root().command_path).strip()
            raise UsageError(f"there is no command '{f'{path} {args[0]}'.strip()}'", hint)
        return args[0] if command else None, command, args[1:]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, adding the default command where a family was called without one."""
        if self.default and not ctx.resilient_parsing and not self._first_word(args):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then the commands."""
        _format_parameters(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write where to read on, and the examples."""
        super().format_epilog(ctx, formatter)
        _format_examples(self.examples, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under the headings of their sections, from the catalogue alone."""
        for section in dict.fromkeys(entry.section for entry in self.entries.values()):
            rows = [(name, entry.summary) for name, entry in self.entries.items() if entry.section == section]
            with formatter.section(section or "Commands"):
                formatter.write_dl(rows)

    def _first_word(self, args: Sequence[str]) -> str:
        """The word that should name a command: the first that is not an option, or -h; empty before any other option.

        No default command takes arguments, so that such a word never belongs to one.
        """
        takes_value = {name for option in self.params if not getattr(option, "is_flag", False) for name in option.opts}
        flags = {name for option in self.params for name in option.opts} - takes_value
        words = iter(args)
        for word in words:
            if word in takes_value:
                next(words, None)
            elif word not in flags and word.partition("=")[0] not in takes_value:
                return "" if word.startswith("-") and word not in HELP else word
        return ""


def typer_app(cls: type[LazyGroup], *, name: str, summary: str | None = None) -> typer.Typer:
    """Return a Typer app whose group has class `cls` and takes the common options."""
    return typer.Typer(
        name=name,
        cls=cls,
        help=summary or common_options.__doc__,
        callback=common_options,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        context_settings=CONTEXT_SETTINGS,
        epilog=EXIT_CODES_NOTE,
    )


def _family(name: str, entry: CatalogEntry) -> Any:
    members = {"entries": entry.children, "default": entry.default, "__doc__": entry.summary}
    family = type("Family", (LazyGroup,), members)
    return typer.main.get_command(typer_app(family, name=name, summary=entry.summary))


def _command(name: str, entry: CatalogEntry) -> Any:
    module = import_module(f"tiktrue_keys.cli.commands.{entry.module}")
    function: Callable[..., Any] = module.command
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    cls = ProgramCommand if getattr(module, "takes_program", False) else Command
    app.command(name, cls=cls, context_settings=CONTEXT_SETTINGS, short_help=entry.summary)(function)
    command: Any = typer.main.get_command(app)
    takes_approval = getattr(module, "TAKES_APPROVAL", False)
    command.params.extend(param for param in _common_parameters() if takes_approval or param.name != "approval")
    command.examples = module.EXAMPLES
    command.exit_status = getattr(module, "EXIT_STATUS", {})
    command.page_sections = getattr(module, "PAGE_SECTIONS", {})
    command.columns = getattr(module, "COLUMNS", ())
    return command


def _common_parameters() -> list[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(common_options)
    return list(typer.main.get_command(app).params)


def _format_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], COMMON_PANEL: []}
    for param in command.get_params(ctx):
        kind = "Arguments" if param.param_type_name == "argument" else "Options"
        name = COMMON_PANEL if "--help" in param.opts else getattr(param, "rich_help_panel", None) or kind
        panels.setdefault(name, []).append((spelled(param), param.help or ""))
    for title, records in panels.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def _format_examples(examples: Examples, formatter: Any) -> None:
    with formatter.section("Examples"):
        indent = " " * formatter.current_indent
        for purpose, line in examples:
            formatter.write(f"{indent}{purpose}\n{indent}  {line}\n")


def spelled(param: Any) -> str:
    """Return a parameter as the help shows it: `-n, --dry-run`, `--label K=V`, `KEY...`."""
    if param.param_type_name == "argument":
        return f"{param.metavar or param.name.upper()}{'...' if param.nargs == -1 else ''}"
    names = ", ".join(sorted((*param.opts, *param.secondary_opts), key=lambda name: name.startswith("--")))
    return names if param.is_flag or param.count else f"{names} {param.metavar or param.name.upper()}"
