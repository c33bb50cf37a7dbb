"""The completion script of fish (3 and later)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tiktrue_keys.cli.docs.reference import Description, Parameter
from tiktrue_keys.cli.docs.shells.lists import LISTS

_HEAD = """\
# fish completion for tiktrue-keys; generated from the parser, do not edit.

# The words of the command line that are commands, as far as they go.
function __tiktrue_keys_path
    set -l path
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        if string match -q -- '-*' $word
            if contains -- $word $__tiktrue_keys_valued
                set skip 1
            end
            continue
        end
        switch "$path"
"""

_TAIL_OF_PATH = """\
        end
    end
    echo "$path"
end

function __tiktrue_keys_at
    test (__tiktrue_keys_path) = "$argv"
end

complete -c tiktrue-keys -f
"""

_ACTIONS = {
    "file": "-rF",
    "folder": "-xa '(__fish_complete_directories)'",
    "text": "-x",
    **{kind: f"-xa '({words})'" for kind, words in LISTS.items()},
}


def fish_script(commands: Sequence[Description]) -> str:
    """Return the whole script."""
    return "\n".join(_lines(commands)) + "\n"


def _lines(commands: Sequence[Description]) -> Iterator[str]:
    valued = sorted({name for each in commands for option in each.options if option.kind for name in option.names})
    head, marker, rest = _HEAD.partition("# The words")
    yield head + f"set -g __tiktrue_keys_valued {' '.join(valued)}\n\n" + marker + rest.rstrip("\n")
    for each in (each for each in commands if each.children):
        names = " ".join(name for name, _ in each.children)
        yield f"            case '{each.name}'"
        yield f"                if contains -- $word {names}"
        yield "                    set -a path $word"
        yield "                end"
    yield _TAIL_OF_PATH.rstrip("\n")
    for each in commands:
        yield ""
        condition = f"-n '__tiktrue_keys_at {each.name}'".replace("at '", 'at ""\'')
        yield from _command(each, condition)


def _command(command: Description, condition: str) -> Iterator[str]:
    for name, summary in command.children:
        yield f"complete -c tiktrue-keys {condition} -a {name} -d {_quoted(summary)}"
    for option in command.options:
        yield f"complete -c tiktrue-keys {condition} {_names(option)}{_value(option)} -d {_quoted(option.help)}"
    for argument in command.arguments[:1]:
        yield f"complete -c tiktrue-keys {condition} {_argument(argument)}"


def _names(option: Parameter) -> str:
    return " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)


def _value(parameter: Parameter) -> str:
    if not parameter.kind:
        return ""
    if parameter.kind == "choice":
        return f" -xa '{' '.join(parameter.offered)}'"
    return " " + _ACTIONS[parameter.kind]


def _argument(argument: Parameter) -> str:
    if argument.kind == "file":
        return "-F"
    if argument.kind == "text":
        return "-f"
    return _value(argument).strip().replace("-xa", "-fa", 1)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
