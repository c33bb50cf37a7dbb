"""`python -m tests.project.interface`: adds what is new to the lists in `frozen/`, which may only grow.

They hold what others rely on: public Python names and their parameters, commands and their options (old names too),
exit codes, members of the JSON envelope, audit events. Each list is a flat table, a line an entry. Where something that
is listed was removed or changed the command writes nothing and ends in 1; a test says the same.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tiktrue_keys
from tests.project.audit_events import events
from tiktrue_keys.cli.docs.reference import Description, Parameter, descriptions, old_descriptions
from tiktrue_keys.cli.program.boundary import BROKEN_PIPE, OWN_FAILURE
from tiktrue_keys.errors import ERRORS

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "frozen"
SCHEMA = ROOT / "tiktrue_keys" / "cli" / "schema" / "envelope-1.json"
REQUIRED = "required"
"""Begins the entry of what a caller must give: a new one of something that was there breaks every caller."""

NOT_PROMISED = frozenset(
    {
        "KeyManager.begin_file_operation",
        "KeyManager.begin_file_operations",
        "KeyManager.locations_by_id",
        "KeyManager.finish_file_operation",
        "KeyManager.finish_file_operations",
        "KeyManager.finished_file_operation",
        "KeyManager.name_successor",
        "KeyManager.noting",
        "KeyManager.open_intents",
        "KeyManager.open_key",
        "KeyManager.record_use",
        "KeyManager.record_uses",
        "KeyManager.register",
        "KeyManager.release",
        "KeyManager.release_of",
        "KeyManager.register_all",
        "KeyManager.session",
        "KeyManager.settle_part",
        "KeyManager.sign",
        "KeyManager.signer",
    }
)
"""Public by their spelling, but there for tiktrue_keys.models, .fleet and .recovery alone."""
_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", type(None): "null"}

Entries = Mapping[str, str]


def current() -> dict[str, Entries]:
    """Every list as the code has it now."""
    return {
        "python": dict(python_names()),
        "commands": dict(commands()),
        "exit-codes": exit_codes(),
        "envelope": envelope_members(json.loads(SCHEMA.read_text("utf-8"))),
        "audit-events": dict.fromkeys(events(ROOT / "tiktrue_keys"), "event"),
    }


def broken(frozen: Entries, now: Entries) -> list[str]:
    """What a reader of `frozen` would miss or trip over in `now`."""
    gone = [f"{name}: removed" for name in frozen if name not in now]
    changed = [f"{name}: was {was}, is {now[name]}" for name, was in frozen.items() if name in now and now[name] != was]
    added = [f"{name}: new, and required" for name in _added(frozen, now) if _demands_more(name, frozen, now)]
    return gone + changed + added


def _added(frozen: Entries, now: Entries) -> list[str]:
    return [name for name in now if name not in frozen]


def _demands_more(name: str, frozen: Entries, now: Entries) -> bool:
    return now[name].startswith(REQUIRED) and name.rpartition(" ")[0] in frozen


def python_names() -> Iterator[tuple[str, str]]:
    """`tiktrue_keys.__all__`, what each name is, its parameters, and the public members of its classes."""
    for name in sorted(tiktrue_keys.__all__):
        thing = getattr(tiktrue_keys, name)
        yield name, _kind(thing)
        if callable(thing):
            yield from _parameters(name, thing)
        if inspect.isclass(thing):
            yield from _members(name, thing)


def _members(name: str, cls: type) -> Iterator[tuple[str, str]]:
    fields = getattr(cls, "__dataclass_fields__", {})
    yield from ((f"{name}.{field}", "member") for field in fields if not field.startswith("_"))
    for member, value in inspect.getmembers_static(cls):
        if member.startswith("_") or member in fields or not _is_promised(f"{name}.{member}", cls):
            continue
        thing = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        yield f"{name}.{member}", _kind(thing)
        if callable(thing):
            yield from _parameters(f"{name}.{member}", thing)


def _is_promised(name: str, cls: type) -> bool:
    """Whether one of our classes defines it, not an exception's or a dictionary's, and for others to call."""
    member = name.rpartition(".")[2]
    owner = next(each for each in cls.__mro__ if member in vars(each))
    return owner.__module__.startswith("tiktrue_keys") and name not in NOT_PROMISED


def _kind(thing: Any) -> str:
    if inspect.isclass(thing):
        return "class"
    if inspect.iscoroutinefunction(thing):
        return "coroutine function"
    return "function" if callable(thing) else "member"


def _parameters(name: str, thing: Any) -> Iterator[tuple[str, str]]:
    place = 0
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.name == "self":
            continue
        how: dict[Any, str] = {
            parameter.KEYWORD_ONLY: "by name",
            parameter.VAR_POSITIONAL: "rest",
            parameter.VAR_KEYWORD: "more names",
        }
        place += parameter.kind not in how
        where = how.get(parameter.kind, f"number {place}")
        optional = parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        yield f"{name} {parameter.name}", f"{'optional' if optional else REQUIRED}, {where}"


def commands() -> Iterator[tuple[str, str]]:
    """Every command with its arguments and own options (the common ones are the program's); an old name says what it
    runs.
    """
    for command in (*descriptions(), *old_descriptions()):
        name = f"tiktrue-keys {command.name}".strip()
        yield name, _command(command)
        for number, argument in enumerate(command.arguments, 1):
            yield f"{name} ARGUMENT-{number}", _taken(argument)
        for option in (option for option in command.options if not (command.path and option.common)):
            for spelling in option.names:
                yield f"{name} {spelling}", _taken(option)
            for choice in option.choices:
                yield f"{name} {option.names[-1]}={choice}", "choice"
        for number, argument in enumerate(command.arguments, 1):
            for choice in argument.choices:
                yield f"{name} ARGUMENT-{number}={choice}", "choice"


def _command(command: Description) -> str:
    if command.children:
        return f"family, bare it is {command.default}" if command.default else "family"
    return f"old name of {command.new_name}" if command.new_name else "command"


def _taken(parameter: Parameter) -> str:
    kind = "value" if parameter.kind else "flag"
    return f"{REQUIRED if parameter.required else 'optional'} {kind}{', repeatable' * parameter.multiple}"


def exit_codes() -> dict[str, str]:
    """By name."""
    own = {f"own failure of {command}": str(code) for command, code in OWN_FAILURE.items()}
    return {error.code: str(error.exit_code) for error in ERRORS} | {"(closed pipe)": str(BROKEN_PIPE)} | own


def envelope_members(schema: Mapping[str, Any]) -> dict[str, str]:
    """Each member of the envelope, of every command's result and of the values that these share: its type, and whether
    it is always there.
    """
    found = dict(_members_of("", schema, schema))
    for name, part in schema["$defs"].items():
        if not _is_inlined(name):
            found |= dict(_members_of(f"({name})", part, schema))
    for rule in schema["allOf"]:
        wanted = rule["if"]["properties"].get("command", {})
        for command in wanted.get("enum", [wanted["const"]] if "const" in wanted else []):
            result = rule["then"]["properties"]["result"]
            found |= dict(_members_of(f"{command}: result", result, schema))
    return found


def _is_inlined(definition: str) -> bool:
    """Whether it belongs to one result; others have members of their own in the list."""
    return definition.startswith("result")


def _members_of(path: str, part: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "$ref" in part:
        name = _definition(part)
        if _is_inlined(name):
            yield from _members_of(path, schema["$defs"][name], schema)
        return
    for each in (*part.get("anyOf", ()), *part.get("oneOf", ()), *(part.get("allOf", ()) if path else ())):
        yield from _members_of(path, each, schema)
    yield from ((f"{path} = {value}", "value") for value in part.get("enum", ()))
    for name, member in part.get("properties", {}).items():
        place = f"{path}.{name}".lstrip(".")
        always = "always" if name in part.get("required", ()) else "sometimes"
        yield place, f"{always} {_type(member, schema)}"
        yield from _members_of(place, member, schema)
    if "items" in part:
        yield from _members_of(f"{path}[]", part["items"], schema)


def _type(part: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "$ref" in part:
        name = _definition(part)
        return _type(schema["$defs"][name], schema) if _is_inlined(name) else f"({name})"
    parts = (*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ()))
    types = {_type(each, schema) for each in parts} - {"anything"}
    given = part.get("type", ())
    types |= {given} if isinstance(given, str) else set(given)
    values = part.get("enum", [part["const"]] if "const" in part else ())
    types |= {_JSON_TYPES[type(value)] for value in values}
    listed = f" of {_type(part['items'], schema)}" if "items" in part else ""
    return (" or ".join(sorted(types)) or "anything") + listed


def _definition(part: Mapping[str, Any]) -> str:
    return str(part["$ref"]).removeprefix("#/$defs/")


def read(name: str) -> dict[str, str]:
    """A list as it is checked in; empty before it was written."""
    path = FOLDER / f"{name}.json"
    found: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def main() -> int:
    """Write what is new; returns the exit code."""
    lists = current()
    problems = [f"{name}: {problem}" for name, now in lists.items() for problem in broken(read(name), now)]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print("nothing was written: the interface may only grow", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    for name, now in lists.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(dict(sorted(now.items())), indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
