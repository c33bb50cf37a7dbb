"""The completion script of zsh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tiktrue_keys.cli.docs.reference import Description, Parameter
from tiktrue_keys.cli.docs.shells.lists import LISTS

_HEAD = """\
#compdef tiktrue-keys
# zsh completion for tiktrue-keys; generated from the parser, do not edit.
"""
_LIST = """
_tiktrue_keys_list_{name}() {{
    local -a ids
    ids=(${{(f)"$({words})"}})
    _describe -t {name} '{kind}' ids
}}
"""

_TAIL = """
if [[ $funcstack[1] == _tiktrue-keys ]]; then
    _tiktrue_keys "$@"
else
    compdef _tiktrue_keys tiktrue-keys
fi
"""

_ACTIONS = {"file": "_files", "folder": "_files -/", "text": " "}
_ACTIONS |= {kind: f"_tiktrue_keys_list_{kind.replace('-', '_')}" for kind in LISTS}


def zsh_script(commands: Sequence[Description]) -> str:
    """Return the whole script: one function per command, each an `_arguments` call."""
    lists = [_LIST.format(name=kind.replace("-", "_"), kind=kind, words=words) for kind, words in LISTS.items()]
    return _HEAD + "".join(lists) + "".join("\n" + "\n".join(_function(each)) + "\n" for each in commands) + _TAIL


def _function(command: Description) -> Iterator[str]:
    yield f"{_function_name(command.path)}() {{"
    if command.children:
        yield "    local curcontext=$curcontext state line"
        yield "    typeset -A opt_args"
        yield "    local -a commands"
        yield "    commands=("
        yield from (f"        {_quoted(f'{name}:{summary}')}" for name, summary in command.children)
        yield "    )"
    yield f"    _arguments {'-C ' if command.children else ''}-s -S \\"
    specs = [spec for option in command.options for spec in _option(option)]
    specs += [_argument(argument) for argument in command.arguments]
    if command.children:
        specs += ["': :->command'", "'*:: :->rest'"]
    yield from (f"        {spec} \\" for spec in specs[:-1])
    yield f"        {specs[-1]}"
    if command.children:
        yield "    case $state in"
        yield "        command) _describe -t commands 'command' commands ;;"
        yield "        rest)"
        yield "            case $line[1] in"
        yield from (
            f"                {name}) {_function_name((*command.path, name))} ;;" for name, _ in command.children
        )
        yield "            esac ;;"
        yield "    esac"
    yield "}"


def _function_name(path: tuple[str, ...]) -> str:
    return "_".join(("_tiktrue_keys", *path)).replace("-", "_")


def _option(option: Parameter) -> Iterator[str]:
    names = " ".join(option.names)
    others = "*" if option.multiple else f"({names})" if len(option.names) > 1 else ""
    text = _escaped(option.help)
    value = f":{_escaped(option.metavar)}:{_action(option)}" if option.kind else ""
    for name in option.names:
        joined = "=" if option.kind and name.startswith("--") else "+" if option.kind else ""
        yield _quoted(f"{others}{name}{joined}[{text}]{value}")


def _argument(argument: Parameter) -> str:
    many = "*" if argument.multiple else ""
    optional = "" if argument.required or argument.multiple else ":"
    return _quoted(f"{many}:{optional}{_escaped(argument.metavar)}:{_action(argument)}")


def _action(parameter: Parameter) -> str:
    return f"({' '.join(parameter.offered)})" if parameter.kind == "choice" else _ACTIONS[parameter.kind]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:").replace("[", "\\[").replace("]", "\\]")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
