"""Turns every exception into one error line, one hint and an exit code, or into the JSON envelope.

Come here to change how errors are reported. Nothing below calls sys.exit. A bug is reported by the class of its
exception and the place in our code; its message is not shown, because it could quote a secret.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tiktrue_keys.cli.program.limits_of_process import memory_limit, thread_limit
from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.hints import hint_of, message_of
from tiktrue_keys.cli.view.outcome import OnDemand
from tiktrue_keys.cli.view.streams import abandon_stdout, message_line, write_err, write_out, write_pieces
from tiktrue_keys.errors import (
    InternalError,
    OperationInterruptedError,
    TerminatedError,
    Termination,
    TikTrueKeysError,
    UnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from tiktrue_keys.cli.context.context import CommandContext
    from tiktrue_keys.cli.view.outcome import Outcome
    from tiktrue_keys.core.notices import Notice

BROKEN_PIPE = 141
_MOST_IDS = 8
_NO_THREAD = "can't start new thread"
"""The whole message of the interpreter's error, which has no class of its own."""
OWN_FAILURE = {"exec-model": 125}
"""As of env(1), nohup(1), timeout(1): every other code is the program's."""
_PACKAGE = Path(__file__).parent.parent


class Reporter:
    """Reports how a command ended, as text or as JSON."""

    def __init__(self, *, json: bool, quiet: bool, verbose: bool) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self.command = ""
        self.context: CommandContext | None = None
        self._begun = False

    def adopt(self, context: CommandContext) -> None:
        """Report for this context from now on."""
        self.context = context
        self.command = context.command
        self.json, self.quiet, self.verbose = context.options.json, context.options.quiet, context.options.verbose

    def succeeded(self, outcome: Outcome) -> int:
        """Show an outcome and return its exit code. Raises UnavailableError when standard output cannot be written."""
        try:
            return self._shown(outcome)
        except UnavailableError as error:
            if not outcome.changed:
                raise
            unshown = _unshown(outcome, error)
            if not self.json:
                raise unshown from error
            return self._shown(replace(outcome, error=unshown, shows_data=True))  # the envelope on standard error

    def _shown(self, outcome: Outcome) -> int:
        context = self.context
        earlier = (*context.all_warnings, *context.idle_approval) if context else ()
        warnings = OnDemand(lambda: chain(earlier, outcome.warnings))
        if self.json:
            self._write_envelope(outcome.error, warnings, outcome)
        else:
            self._show(outcome)
            self._show_warnings(warnings)
            if outcome.error is not None:
                self._show_error(outcome.error)
        return outcome.code

    def failed(self, error: TikTrueKeysError) -> int:
        """Show an error and return its exit code."""
        warnings = self.context.all_warnings if self.context else ()
        if self.json and not self._begun:  # a second envelope after half of one would be read as its rest
            self._write_envelope(error, warnings, None)
        else:
            self._show_warnings(warnings)
            self._show_error(error)
        if self.verbose:
            write_err(_trace(error))
        return self._code(error)

    def _code(self, error: TikTrueKeysError) -> int:
        """Return an error's exit code, or the code reserved for our own failures in a command that returns another
        program's status.
        """
        if isinstance(error, OperationInterruptedError | TerminatedError):
            return error.exit_code
        return OWN_FAILURE.get(self.command, error.exit_code)

    def _show(self, outcome: Outcome) -> None:
        from tiktrue_keys.cli.view.render import render

        color = self.context is not None and self.context.color
        ids = outcome.ids
        if self.quiet and ids is not None:
            write_pieces((f"{escaped(each)}\n" for each in ids), write_out)
        else:
            render(outcome.view, color=color, verbose=self.verbose)
        if not self.quiet:
            write_err("".join(message_line(escaped(message)) for message in outcome.messages))

    def _show_warnings(self, warnings: Iterable[Notice]) -> None:
        shown = (each for each in warnings if each.urgent or not self.quiet)
        write_pieces((message_line(f"warning: {escaped(message_of(each))}") for each in shown), write_err)

    def _show_error(self, error: TikTrueKeysError) -> None:
        message, hint = error.message, hint_of(error)
        if self.context is not None and self.context.uses_keystore and not isinstance(error, UsageError):
            place = str(self.context.keystore)
            if place not in message and place not in hint:
                message += f" (keystore {place})"
        write_err(message_line(f"error: {escaped(message)}"))
        if hint:
            write_err(message_line(f"hint: {escaped(hint)}"))

    def _write_envelope(
        self, error: TikTrueKeysError | None, warnings: Iterable[Notice], outcome: Outcome | None
    ) -> None:
        from tiktrue_keys.cli.view.envelope import envelope, pieces

        context = self.context
        value = envelope(
            command=self.command,
            keystore=context.known_keystore if context else None,
            result=outcome.result if outcome else None,
            changed=outcome.changed if outcome else False,
            operation_id=outcome.operation_id if outcome else context.options.operation_id if context else None,
            error=error,
            exit_code=outcome.code if outcome else self._code(error) if error else 0,
            warnings=warnings,
        )
        aside = (context is not None and context.stdout_is_data) or (outcome is not None and outcome.shows_data)
        write_pieces(pieces(value), write_err if aside else self._write)
        self._begun = False

    def _write(self, text: str) -> None:
        self._begun = True
        write_out(text)


def guarded(reporter: Reporter, work: Callable[[], int]) -> int:
    """Run `work` and return the exit code; report whatever it raises."""
    try:
        return _exit_code(reporter, work)
    except BrokenPipeError:
        abandon_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _last_words(reporter, OperationInterruptedError("interrupted"))
    except Termination as error:
        return _last_words(reporter, error.error(error.message))
    except TikTrueKeysError as error:  # while reporting: standard output is full
        return _last_words(reporter, error)


def _exit_code(reporter: Reporter, work: Callable[[], int]) -> int:
    try:
        return work()
    except TikTrueKeysError as error:
        return reporter.failed(error)
    except typer.Exit as finished:
        return finished.exit_code
    except typer.TyperException as error:
        reporter.command = reporter.command or _command_of(getattr(error, "ctx", None))
        return reporter.failed(usage_error(error))
    except (KeyboardInterrupt, typer.Abort, EOFError) as error:
        return reporter.failed(_caused(OperationInterruptedError("interrupted"), error))
    except Termination as error:
        return reporter.failed(_caused(error.error(error.message), error))
    except BrokenPipeError:
        raise
    except OSError as error:
        return reporter.failed(_caused(_outside(error), error))
    except MemoryError as error:
        return reporter.failed(_caused(UnavailableError("out of memory", memory_limit()), error))
    except RuntimeError as error:
        if str(error) != _NO_THREAD:
            return _bug(reporter, error)
        return reporter.failed(_caused(UnavailableError("no further thread can be started", thread_limit()), error))
    except Exception as error:  # noqa: BLE001  the last resort: a bug must not end in a traceback either
        return _bug(reporter, error)


def _bug(reporter: Reporter, error: Exception) -> int:
    hint = "" if reporter.verbose else "run it again with -v and report what it prints"
    return reporter.failed(_caused(InternalError(f"internal error: {_place(error)}", hint), error))


def _last_words(reporter: Reporter, error: TikTrueKeysError) -> int:
    if not reporter.json:
        write_err(f"error: {escaped(error.message)}\n")
    return error.exit_code


def usage_error(error: typer.TyperException) -> UsageError:
    """Return a parser error as ours: one line, lower case, no full stop, with the help to read as the hint."""
    message = " ".join(error.format_message().split()).rstrip(".")
    message = re.sub(r" \(Possible options: (.*)\)$", "", message)
    near = get_close_matches(getattr(error, "option_name", ""), getattr(error, "possibilities", None) or (), n=1)
    ctx = getattr(error, "ctx", None)
    command = "tiktrue-keys" if ctx is None else ctx.command_path
    hint = f"did you mean {near[0]}?" if near else f"see {command} --help"
    return UsageError(message[:1].lower() + message[1:], hint)


def _unshown(outcome: Outcome, error: UnavailableError) -> UnavailableError:
    """Return the error of a change that cannot be shown: it says that it was made, and to what."""
    ids = list(outcome.ids or [f"operation {outcome.operation_id}"])
    more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
    return UnavailableError(
        f"the change was made ({', '.join(ids[:_MOST_IDS])}{more}), but {error.message}",
        "do not repeat the command; see what it did with tiktrue-keys audit show --last 10",
    )


def _command_of(ctx: Any) -> str:
    """Return the command whose arguments could not be parsed, or an empty string for the program itself."""
    return "" if ctx is None else str(ctx.command_path.removeprefix(ctx.find_root().command_path).strip())


def _outside(error: OSError) -> TikTrueKeysError:
    name = f": {error.filename}" if isinstance(error.filename, str) else ""
    return UnavailableError(f"the system refused{name}: {error.strerror or type(error).__name__}")


def _caused(ours: TikTrueKeysError, cause: BaseException) -> TikTrueKeysError:
    ours.__cause__ = cause
    return ours


def _place(error: BaseException) -> str:
    """Return the class of an exception and the last line of our code that it passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)] or list(frames)
    where = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{where}"


def _trace(error: BaseException) -> str:
    """Return files, lines and exception classes, the cause first, without messages and values."""
    parts: list[str] = []
    each: BaseException | None = error
    while each is not None:
        lines = traceback.StackSummary.from_list(traceback.extract_tb(each.__traceback__)[-25:]).format()
        parts.append("".join(lines) + f"{type(each).__module__}.{type(each).__qualname__}\n")
        each = each.__cause__
    return "traceback (cause first):\n" + "".join(reversed(parts))


def first_guess(arguments: list[str]) -> Reporter:
    """Return a reporter for failures before the options are parsed; it looks for --json and -v in the arguments."""
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return Reporter(json="--json" in words, quiet=False, verbose="-v" in words or "--verbose" in words)
