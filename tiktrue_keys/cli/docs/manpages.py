"""The man pages of section 1 in man(7) macros, generated from the parser, the error classes and the settings."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from tiktrue_keys import __version__
from tiktrue_keys.cli.context.settings import FILE_NAME, KNOWN
from tiktrue_keys.cli.docs.program_page import CONFIGURATION, ENVIRONMENT, FILES, LICENSE, OUTPUT, STORAGE, VALUES
from tiktrue_keys.cli.docs.reference import Description, Parameter
from tiktrue_keys.cli.program.boundary import BROKEN_PIPE
from tiktrue_keys.errors import ERRORS

PROGRAM = "tiktrue-keys"
DATE = "2026-11-30"
"""Of the last change to the pages' words; a date that came from the clock would make every build differ."""

_LONGEST = 80  # mandoc(1) reports longer input lines

OLD_NAMES_WITH_A_PAGE = frozenset({"fingerprint"})


def pages(commands: Sequence[Description], old: Sequence[Description], guides: Sequence[str] = ()) -> dict[str, str]:
    """Each page's file name and text: the program's, one a command (a family's children are on its page), and those of
    old names that keep one. `guides` are the names of the pages written by hand, such as tiktrue-keys-format.5.
    """
    program, *rest = commands
    see_also = [_reference(name) for name in sorted(guides, key=lambda name: (name.rpartition(".")[2], name))]
    made = {f"{PROGRAM}.1": _text(_program_page(program, rest, see_also))}
    for each in (each for each in rest if len(each.path) == 1):
        children = [child for child in rest if child.path[:1] == each.path and len(child.path) > 1]
        made[f"{PROGRAM}-{each.path[0]}.1"] = _text(_command_page(each, children or [each], see_also))
    for each in (each for each in old if each.name in OLD_NAMES_WITH_A_PAGE):
        made[f"{PROGRAM}-{each.name}.1"] = _text(_command_page(each, [each], see_also))
    return made


def _program_page(program: Description, rest: Sequence[Description], see_also: Sequence[str]) -> Iterator[str]:
    yield from _title(PROGRAM, "keys for large language models, bound to the machine and to a license")
    yield from _synopsis([(PROGRAM, "[OPTIONS] COMMAND [ARGS]...")])
    yield ".SH DESCRIPTION"
    yield from _paragraphs(program.help)
    yield ".SH COMMANDS"
    for section in dict.fromkeys(each.section for each in rest if len(each.path) == 1):
        yield f".SS {_roff(section)}"
        for each in (each for each in rest if each.section == section and len(each.path) == 1):
            yield from _item(f"\\fB{_roff(each.path[0])}\\fR", each.summary)
    yield ".SH OPTIONS"
    yield from _sentences(
        "Every command takes these, before or after its name. No option takes several values: repeat it."
    )
    yield from _parameters(program.options)
    yield from _table_section("VALUES", VALUES)
    yield from _text_section("LICENSE", LICENSE)
    yield from _text_section("OUTPUT", OUTPUT)
    yield from _text_section("OBJECT STORAGE", *STORAGE)
    yield ".SH EXIT STATUS"
    yield from _exit_codes()
    yield from _text_section("CONFIGURATION", f"{FILE_NAME} may set: {', '.join(KNOWN)}. {CONFIGURATION}")
    yield from _table_section("ENVIRONMENT", ENVIRONMENT)
    yield from _table_section("FILES", FILES)
    yield from _examples([program])
    yield ".SH SEE ALSO"
    yield from _references([*(f"{PROGRAM}-{each.path[0]}(1)" for each in rest if len(each.path) == 1), *see_also])


def _command_page(command: Description, described: Sequence[Description], see_also: Sequence[str]) -> Iterator[str]:
    """The page of a command, `described` alone, or of a family, whose commands are `described`."""
    family = described[0] is not command
    yield from _title(f"{PROGRAM}-{command.path[0]}", _sentence(command.summary))
    yield from _synopsis([(f"{PROGRAM} {each.name}", _usage(each)) for each in described])
    yield ".SH DESCRIPTION"
    if command.new_name:
        yield from _sentences(f"This is the old name of {PROGRAM} {command.new_name}.")
        yield ".PP"
    yield from _paragraphs(command.help)
    yield from _family_commands(command, described) if family else _options_section(command)
    yield ".SH COMMON OPTIONS"
    names = sorted(
        {
            name
            for each in described
            for option in each.options
            for name in option.names
            if option.common and name.startswith("--")
        }
    )
    yield from _sentences(f"{', '.join(names)}: see {PROGRAM}(1).")
    for each in described:
        for title, rows in each.page_sections.items():
            yield from _table_section(title, rows)
    yield from _exit_status(described, family=family)
    yield from _examples(described)
    yield ".SH SEE ALSO"
    new = [f"{PROGRAM}-{command.new_name.partition(' ')[0]}(1)"] if command.new_name else []
    yield from _references([f"{PROGRAM}(1)", *new, *see_also])


def _family_commands(family: Description, children: Sequence[Description]) -> Iterator[str]:
    yield ".PP"
    yield f"Without a further word it is \\fB{_roff(f'{family.name} {family.default}')}\\fR."
    yield ".SH COMMANDS"
    for child in children:
        yield f".SS {_roff(child.name)}"
        yield from _paragraphs(child.help)
        yield from _own_parameters(child)


def _options_section(command: Description) -> Iterator[str]:
    own = list(_own_parameters(command))
    if own:
        yield ".SH OPTIONS"
        yield from own


def _exit_codes() -> Iterator[str]:
    yield from _item("\\fB0\\fR", "Done, or nothing to do.")
    for error in ERRORS:
        yield from _item(f"\\fB{error.exit_code}\\fR \\fI{_roff(error.code)}\\fR", (error.__doc__ or "").strip())
    yield from _item(f"\\fB{BROKEN_PIPE}\\fR", "Standard output was closed; nothing is printed.")


def _exit_status(described: Sequence[Description], *, family: bool) -> Iterator[str]:
    """The codes that mean something particular here; the program's page has all of them."""
    yield ".SH EXIT STATUS"
    for each in described:
        for code, meaning in each.exit_status.items():
            yield from _item(f"\\fB{code}\\fR{f' ({_roff(each.name)})' if family else ''}", meaning)
    if any(each.exit_status for each in described):
        yield ".PP"
    yield from _sentences(f"All exit codes are listed in {PROGRAM}(1).")


def _examples(described: Sequence[Description]) -> Iterator[str]:
    yield ".SH EXAMPLES"
    for number, (purpose, line) in enumerate(example for each in described for example in each.examples):
        if number:
            yield ".PP"
        yield from _filled(_roff(purpose))
        yield ".PP"
        yield ".RS 4"
        yield ".EX"
        yield from _continued(_verbatim(line))
        yield ".EE"
        yield ".RE"


def _text_section(title: str, *paragraphs: str) -> Iterator[str]:
    yield f".SH {title}"
    yield from _paragraphs("\n\n".join(paragraphs))


def _table_section(title: str, rows: Mapping[str, str]) -> Iterator[str]:
    yield f".SH {title}"
    for name, text in rows.items():
        yield from _item(f"\\fI{_roff(name)}\\fR" if "/" in name else f"\\fB{_roff(name)}\\fR", text)


def _own_parameters(command: Description) -> Iterator[str]:
    yield from _parameters([*command.arguments, *(option for option in command.options if not option.common)])


def _parameters(parameters: Sequence[Parameter]) -> Iterator[str]:
    for each in parameters:
        value = f" \\fI{_roff(each.metavar)}\\fR" if each.metavar else ""
        names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in each.names)
        yield from _item(names + value if names else value.strip(), each.help)


def _usage(command: Description) -> str:
    return " ".join(["[OPTIONS]", *(_argument_usage(argument) for argument in command.arguments)])


def _argument_usage(argument: Parameter) -> str:
    name = argument.metavar if argument.required else f"[{argument.metavar}]"
    return f"{name}..." if argument.multiple else name


def _title(name: str, summary: str) -> Iterator[str]:
    yield '.\\" Generated by make generate; do not edit.'
    yield f'.TH {name.upper()} 1 {DATE} "tiktrue-keys {__version__}" "User Commands"'
    yield ".SH NAME"
    yield from _filled(f"{_roff(name)} \\- {_roff(summary)}")


def _synopsis(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield ".SH SYNOPSIS"
    for number, (words, usage) in enumerate(lines):
        if number:
            yield ".br"
        yield from _filled(f"\\fB{_roff(words)}\\fR {_roff(usage)}")


def _item(tag: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield from _continued(tag)
    yield from _sentences(text)


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        yield from _sentences(paragraph)


def _sentences(text: str) -> Iterator[str]:
    """Begin each sentence on a line of its own, so that roff sets the space after it."""
    for sentence in re.split(r"(?<=[.:?]) (?=[A-Z`0-9-])", " ".join(text.split())):
        yield from _filled(_roff(sentence))


def _reference(page: str) -> str:
    """tiktrue-keys-format.5 as tiktrue-keys-format(5)."""
    name, _, section = page.rpartition(".")
    return f"{name}({section})"


def _references(names: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(names):
        page, _, section = name.rstrip(")").partition("(")
        comma = "," if number + 1 < len(names) else ""
        yield f".BR {_roff(page)} ({section}){comma}"


def _sentence(summary: str) -> str:
    return summary[:1].lower() + summary[1:].rstrip(".")


def _roff(text: str) -> str:
    """Escape what roff would read as a command, and the characters that it would replace with typographic ones."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    return _protected(escaped.replace("`", "\\(ga").replace("…", "\\&..."))


def _verbatim(text: str) -> str:
    """Escape text to be typed: the apostrophe too, which _roff leaves to be set as a quotation mark."""
    return _roff(text.replace("'", "\0")).replace("\0", "\\(aq")


def _protected(line: str) -> str:
    """Keep a text line from being read as a request, which begins with a dot or an apostrophe."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _filled(line: str) -> Iterator[str]:
    """Break an escaped text line between words. No part but the last looks like the end of a sentence."""
    parts = textwrap.wrap(line, _LONGEST - 2, break_long_words=False, break_on_hyphens=False)
    for number, part in enumerate(parts, start=1):
        yield _protected(part) + ("\\&" if number < len(parts) and part.endswith((".", "?", "!")) else "")


def _continued(line: str) -> Iterator[str]:
    """Break an escaped line that roff must read as one: each part but the last ends with a backslash."""
    parts = textwrap.wrap(line, _LONGEST - 2, break_long_words=False, break_on_hyphens=False, drop_whitespace=False)
    yield from (f"{part}\\" for part in parts[:-1])
    yield parts[-1]


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"
