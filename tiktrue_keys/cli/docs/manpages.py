"""The man pages of section 1, in man(7) macros, generated from the parser, the error classes and the settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tiktrue_keys import __version__
from tiktrue_keys.cli.context.settings import FILE_NAME, KNOWN
from tiktrue_keys.cli.docs.reference import Description, Parameter
from tiktrue_keys.cli.program.boundary import BROKEN_PIPE
from tiktrue_keys.errors import ERRORS

PROGRAM = "tiktrue-keys"
DATE = "2026-11-24"
"""Of the last change to the pages' words; a date that came from the clock would make every build differ."""

ENVIRONMENT: Mapping[str, str] = {
    "TIKTRUE_KEYS_HOME": "The keystore's folder, unless --keystore is given.",
    "TIKTRUE_HOST_SECRET_FILE": "The host secret's file, unless --host-secret is given.",
    "TIKTRUE_LICENSE_FILE": "The license's file (- for standard input), unless --license-file is given.",
    "TIKTRUE_LICENSE_KEY": "The license itself, unless a file is named. Processes of the same user can read it.",
    "CREDENTIALS_DIRECTORY": "Set by systemd: the credentials tiktrue-license and tiktrue-host-secret lie in it.",
    "STATE_DIRECTORY": "Set by systemd: the service's keystore is /var/lib/tiktrue-keys even when it is not root.",
    "XDG_CONFIG_HOME": "Where the user's configuration lies (~/.config).",
    "XDG_DATA_HOME": "Where a user's keystore lies (~/.local/share).",
    "NO_COLOR": "When not empty: no colour.",
}
FILES: Mapping[str, str] = {
    "/var/lib/tiktrue-keys/keystore.db": "The keystore of root and of services: 0600 in a 0700 folder.",
    "~/.local/share/tiktrue-keys/keystore.db": "The keystore of any other user.",
    "/var/lib/tiktrue-keys-host/secret": "The host secret of root and services: never back it up with the keystore.",
    "~/.local/state/tiktrue-keys-host/secret": "The host secret of any other user.",
    f"/etc/tiktrue-keys/{FILE_NAME}": "Settings for everybody.",
    f"~/.config/tiktrue-keys/{FILE_NAME}": "The user's settings; they win over those in /etc.",
    f"KEYSTORE/{FILE_NAME}": "The keystore's settings; they win over both.",
}


OLD_NAMES_WITH_A_PAGE = frozenset({"fingerprint"})


def pages(commands: Sequence[Description], old: Sequence[Description]) -> dict[str, str]:
    """Each page's file name and text: the program's, one a command (a family's children are on its page), and those of
    old names that keep one.
    """
    program, *rest = commands
    made = {f"{PROGRAM}.1": _text(_program_page(program, rest))}
    for each in (each for each in rest if len(each.path) == 1):
        children = [child for child in rest if child.path[:1] == each.path and len(child.path) > 1]
        made[f"{PROGRAM}-{each.path[0]}.1"] = _text(_command_page(each, children))
    for each in (each for each in old if each.name in OLD_NAMES_WITH_A_PAGE):
        made[f"{PROGRAM}-{each.name}.1"] = _text(_command_page(each, ()))
    return made


def _program_page(program: Description, rest: Sequence[Description]) -> Iterator[str]:
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
    yield "Every command takes these, before or after its name. No option takes several values: repeat it."
    yield from _parameters(program.options)
    yield from _license_section()
    yield from _output_section()
    yield from _storage_section()
    yield from _exit_status()
    yield ".SH CONFIGURATION"
    yield from _sentences(f"{FILE_NAME} may set: {', '.join(KNOWN)}. A dot stands for a table.")
    yield from _sentences(
        "Durations are written 30s, 12h, 90d, 2w or in ISO 8601 (P30D). Unknown settings are refused."
    )
    yield from _sentences("A flag wins over the environment, the environment over files.")
    yield from _table_section("ENVIRONMENT", ENVIRONMENT)
    yield from _table_section("FILES", FILES)
    yield ".SH SEE ALSO"
    names = [f"{PROGRAM}-{each.path[0]}(1)" for each in rest if len(each.path) == 1]
    yield from _references([*names, f"{PROGRAM}-format(5)", f"{PROGRAM}-security(7)"])


def _command_page(command: Description, children: Sequence[Description]) -> Iterator[str]:
    yield from _title(f"{PROGRAM}-{command.path[0]}", _sentence(command.summary))
    described = children or [command]
    yield from _synopsis([(f"{PROGRAM} {each.name}", _usage(each)) for each in described])
    if children:
        yield ".SH DESCRIPTION"
        yield from _paragraphs(command.help)
        if command.default:
            yield ".PP"
            yield f"Without a further word it is \\fB{_roff(f'{command.name} {command.default}')}\\fR."
        yield ".SH COMMANDS"
        for child in children:
            yield f".SS {_roff(child.name)}"
            yield from _paragraphs(child.help)
            yield from _own_parameters(child)
    else:
        yield ".SH DESCRIPTION"
        if command.new_name:
            yield from _sentences(f"This is the old name of {PROGRAM} {command.new_name}.")
            yield ".PP"
        yield from _paragraphs(command.help)
        own = list(_own_parameters(command))
        if own:
            yield ".SH OPTIONS"
            yield from own
    yield ".SH COMMON OPTIONS"
    names = sorted(
        name for option in described[0].options if option.common for name in option.names if name.startswith("--")
    )
    yield from _sentences(f"{', '.join(names)}: see {PROGRAM}(1).")
    yield from _exit_status()
    yield ".SH SEE ALSO"
    new = [f"{PROGRAM}-{command.new_name.partition(' ')[0]}(1)"] if command.new_name else []
    yield from _references([f"{PROGRAM}(1)", *new, f"{PROGRAM}-format(5)", f"{PROGRAM}-security(7)"])


def _license_section() -> Iterator[str]:
    yield ".SH LICENSE"
    yield from _sentences(
        "Only commands that make or open licensed keys read the license; their page says so. It is looked for in this"
        " order: --license-file, TIKTRUE_LICENSE_FILE, TIKTRUE_LICENSE_KEY, systemd's credential tiktrue-license, the"
        " setting license_file, a hidden prompt on a terminal. One newline at its end is dropped. No option takes the"
        " license itself: everybody can read a command line. A license file that others can write is refused;"
        " one that others can read is warned about."
    )


def _output_section() -> Iterator[str]:
    yield ".SH OUTPUT"
    yield from _sentences(
        "Results go to standard output, messages and progress to standard error. On a terminal there are tables, trees"
        " and progress bars; elsewhere plain aligned text. With --json standard output carries one object:"
        " schema, version, command, ok, exit, changed, operation_id, keystore, result,"
        " error (code, message, hint, key_id),"
        " warnings (code, message, key_id). Where standard output carries data it goes to standard error."
        " It may grow; nothing in it changes its meaning."
    )


def _storage_section() -> Iterator[str]:
    yield ".SH OBJECT STORAGE"
    yield from _sentences(
        "A model or container file may be the URL of an object, such as s3://BUCKET/NAME.ttm, wherever fsspec has a"
        " package for it: pip install 'tiktrue-keys[remote]' s3fs. encrypt-model, decrypt-model, inspect-model,"
        " verify-model, rewrap-model, sign-model, exec-model and models scan take one; reencrypt-model does not."
        " encrypt-model puts a folder below a URL, decrypt-model takes it from a URL that ends with a slash."
        " Credentials and address come from the storage's own environment or configuration, for S3"
        " AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and so on, and so does how long it is waited for. A URL with a password"
        " or a query is refused. A storage that cannot be reached is exit code 12."
    )
    yield ".PP"
    yield from _sentences(
        "Models are streamed in parts of 5 MiB or more and never lie on a local disk; an object appears whole or not"
        " at all. rewrap-model and sign-model write a small object NAME.ttmh beside the container, which readers"
        " follow: whoever copies or removes a container does so with both. On S3 the reader needs the right to list the"
        " bucket too, or a missing NAME.ttmh looks like a forbidden one. Give the bucket a lifecycle rule that ends"
        " incomplete uploads."
    )


def _exit_status() -> Iterator[str]:
    yield ".SH EXIT STATUS"
    yield from _item("\\fB0\\fR", "Done, or nothing to do.")
    for error in ERRORS:
        yield from _item(f"\\fB{error.exit_code}\\fR \\fI{_roff(error.code)}\\fR", (error.__doc__ or "").strip())
    yield from _item(f"\\fB{BROKEN_PIPE}\\fR", "Standard output was closed; silently.")


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
    yield f"{_roff(name)} \\- {_roff(summary)}"


def _synopsis(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield ".SH SYNOPSIS"
    for number, (words, usage) in enumerate(lines):
        if number:
            yield ".br"
        yield f"\\fB{_roff(words)}\\fR {_roff(usage)}"


def _item(tag: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield tag
    yield from _sentences(text)


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        yield from _sentences(paragraph)


def _sentences(text: str) -> Iterator[str]:
    """One sentence a line, as roff wants it."""
    for sentence in re.split(r"(?<=[.:?]) (?=[A-Z`0-9-])", " ".join(text.split())):
        yield _roff(sentence)


def _references(names: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(names):
        page, _, section = name.rstrip(")").partition("(")
        comma = "," if number + 1 < len(names) else ""
        yield f".BR {_roff(page)} ({section}){comma}"


def _sentence(summary: str) -> str:
    return summary[:1].lower() + summary[1:].rstrip(".")


def _roff(text: str) -> str:
    """Escape what roff would read as a command."""
    escaped = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha").replace("…", "\\&...")
    )
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"
