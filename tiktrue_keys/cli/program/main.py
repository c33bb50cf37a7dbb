"""The program: the root group with its error boundary, and the run of one command from arguments to exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from tiktrue_keys.cli.program.boundary import BROKEN_PIPE, Reporter, first_guess, guarded
from tiktrue_keys.cli.program.catalog import CATALOG, OLD_NAMES, PROGRAM_EXAMPLES
from tiktrue_keys.cli.program.hygiene import catch_signals, encode_anything, forbid_dumps, open_standard_streams
from tiktrue_keys.cli.program.options import CommonOptions, take_common
from tiktrue_keys.cli.program.parser import LazyGroup, typer_app
from tiktrue_keys.cli.view.streams import abandon_stdout, write_err
from tiktrue_keys.errors import UsageError

if TYPE_CHECKING:
    from tiktrue_keys.cli.context.context import CommandContext
    from tiktrue_keys.cli.view.outcome import Outcome

PROGRAM = "tiktrue-keys"
COMPLETION_VARIABLE = "_TIKTRUE_KEYS_COMPLETE"
_NO_VARIABLE = "_TIKTRUE_KEYS_NO_COMPLETION_BY_TYPER"


class ProgramRun:
    """One run of the program. It is `ctx.obj` until the command gets its CommandContext."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def run_command(self, ctx: Any, call: Callable[[Any], Any]) -> int:
        """Give the command its context, call it, report its outcome; returns the exit code."""
        from tiktrue_keys.cli.context.context import CommandContext

        forbid_dumps()
        options = _merged_options(ctx)
        command = ctx.command_path.removeprefix(ctx.find_root().command_path).strip()
        context = CommandContext(options, command=command, environment=os.environ)
        self.reporter.adopt(context)
        ctx.obj = context
        try:
            return self._report(context, call(ctx))
        finally:
            context.close()

    def _report(self, context: CommandContext, outcomes: Outcome | Iterator[Outcome]) -> int:
        """Report the outcome; of a command that streams each one as it comes, its warnings once."""
        code = 0
        for outcome in outcomes if isinstance(outcomes, Iterator) else [outcomes]:
            code = self.reporter.succeeded(outcome)
            context.warnings.clear()
            context.tell_programs()
        return code


class Root(LazyGroup):
    """The root group, whose `main` and `invoke` are the error boundary."""

    entries = CATALOG
    old_names = OLD_NAMES
    examples = PROGRAM_EXAMPLES

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run `args` and exit with the exit code, or return it when not `standalone_mode`."""
        words = list(sys.argv[1:] if args is None else args)
        asked_for = os.environ.get(COMPLETION_VARIABLE, "")
        if asked_for.startswith("source_"):  # how Typer's programs are asked for their completion script
            words = ["completion", "--", asked_for.removeprefix("source_")]
        run = ProgramRun(first_guess(words))
        code = guarded(
            run.reporter,
            lambda: (
                super(Root, self).main(
                    words, prog_name or PROGRAM, _NO_VARIABLE, False, windows_expand_args, obj=run, **extra
                )
                or 0
            ),
        )
        if standalone_mode:
            sys.exit(code)
        return code

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments. When the reader of --help closed the pipe, only the exit code tells."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except BrokenPipeError:
            abandon_stdout()
            raise typer.Exit(BROKEN_PIPE) from None

    def invoke(self, ctx: Any) -> int:
        """Run the command inside the boundary; Typer would use exit codes of its own for Ctrl-C and closed pipes."""
        reporter = ctx.obj.reporter
        if ctx.invoked_subcommand is None and not ctx._protected_args:
            return guarded(reporter, lambda: _explain_usage(ctx, reporter))
        return guarded(reporter, lambda: super(Root, self).invoke(ctx) or 0)


app = typer_app(Root, name=PROGRAM)


def main() -> None:
    """Run the program; the entry point of the console script."""
    open_standard_streams()
    encode_anything()
    catch_signals()
    typer.main.get_command(app).main()


def _explain_usage(ctx: Any, reporter: Reporter) -> int:
    """Without a command: the help, on standard error because it is not a result; with --json, an envelope."""
    if reporter.json:
        raise UsageError("missing command", f"see {PROGRAM} --help")
    write_err(f"{ctx.get_help()}\n")
    return UsageError.exit_code


def _merged_options(ctx: Any) -> CommonOptions:
    """Return the common options; those after the command win over those before it."""
    options = take_common(ctx.params)
    outer = ctx.parent
    while outer is not None:
        options = options.over(take_common(dict(outer.params)))
        outer = outer.parent
    return options
