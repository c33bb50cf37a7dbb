"""The completion script of bash (4 and later); it needs no bash-completion package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tiktrue_keys.cli.docs.reference import Description, Parameter
from tiktrue_keys.cli.docs.shells.lists import LISTS

_HEAD = "# bash completion for tiktrue-keys; generated from the parser, do not edit.\n"

_BODY = r"""
_tiktrue_keys_reply() {
    local kind=$1 cur=$2
    case $kind in
        file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
LISTED        words:*) mapfile -t COMPREPLY < <(compgen -W "${kind#words:}" -- "$cur") ;;
    esac
}

_tiktrue_keys() {
    local cur=${COMP_WORDS[COMP_CWORD]} path="" option="" word at commands
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ $word == "=" ]]; then continue; fi # bash splits --name=value into three words
        if [[ -n $option ]]; then option=""; continue; fi
        if [[ $word == -* ]]; then
            if [[ -n $(_tiktrue_keys_value "$path" "$word") ]]; then option=$word; fi
        else
            commands=$(_tiktrue_keys_of "$path" commands)
            if [[ " $commands " == *" $word "* ]]; then path=${path:+$path }$word; fi
        fi
    done
    if [[ $cur == "=" ]]; then cur=""; fi
    if [[ -n $option ]]; then
        _tiktrue_keys_reply "$(_tiktrue_keys_value "$path" "$option")" "$cur"
        return
    fi
    commands=$(_tiktrue_keys_of "$path" commands)
    if [[ $cur == -* ]]; then
        _tiktrue_keys_reply "words:$(_tiktrue_keys_of "$path" options)" "$cur"
    elif [[ -n $commands ]]; then
        _tiktrue_keys_reply "words:$commands" "$cur"
    else
        _tiktrue_keys_reply "$(_tiktrue_keys_of "$path" argument)" "$cur"
    fi
}

complete -F _tiktrue_keys tiktrue-keys
"""


def bash_script(commands: Sequence[Description]) -> str:
    """Return the whole script."""
    listed = "".join(
        f'        {kind}) mapfile -t COMPREPLY < <(compgen -W "$({words})" -- "$cur") ;;\n'
        for kind, words in LISTS.items()
    )
    return "\n".join([_HEAD, *_words(commands), "", *_values(commands)]) + "\n" + _BODY.replace("LISTED", listed)


def _kind(parameter: Parameter) -> str:
    return f"words:{' '.join(parameter.offered)}" if parameter.kind == "choice" else parameter.kind


def _words(commands: Sequence[Description]) -> Iterator[str]:
    yield "# What may follow a command: its children, its options, the kind of its first argument."
    yield "_tiktrue_keys_of() {"
    yield '    case "$1:$2" in'
    for each in commands:
        options = " ".join(name for option in each.options for name in option.names)
        children = " ".join(name for name, _ in each.children)
        yield f'        "{each.name}:commands") echo "{children}" ;;'
        yield f'        "{each.name}:options") echo "{options}" ;;'
        if each.arguments:
            yield f'        "{each.name}:argument") echo "{_kind(each.arguments[0])}" ;;'
    yield "    esac"
    yield "}"


def _values(commands: Sequence[Description]) -> Iterator[str]:
    yield "# The kind of an option's value; nothing for a flag."
    yield "_tiktrue_keys_value() {"
    yield '    case "$1:$2" in'
    for each in commands:
        for option in (option for option in each.options if option.kind and not option.common):
            yield f'        {"|".join(_quoted(each.name, name) for name in option.names)}) echo "{_kind(option)}" ;;'
    for option in (option for option in commands[0].options if option.kind):
        yield f'        {"|".join(f"*:{name}" for name in option.names)}) echo "{_kind(option)}" ;;'
    yield "    esac"
    yield "}"


def _quoted(path: str, name: str) -> str:
    return f'"{path}:{name}"'
