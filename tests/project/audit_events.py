"""Finds every name of an audit event in the source, by following what is recorded back to the string that names it.

It begins where records are made (`Transaction.record`, `noting`, a FileIntent's act). A parameter that is handed on to
such a place is one itself, so that the names at its callers count. A name that is neither a string, nor a constant of
a module, nor handed on, is an UntraceableEventError with its place: no name escapes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVENT = r"[a-z0-9][a-z0-9.-]*"
HANDED_ON = frozenset({"act", "event"})
"""Members of a FileIntent and of a record: whatever they hold was found where that was made."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class UntraceableEventError(Exception):
    """An event whose name cannot be told from the source."""


@dataclass(frozen=True)
class Taker:
    """A parameter of a function that ends up as an event; a private function's is looked for in its module only."""

    module: str
    function: str
    parameter: str
    position: int | None
    """None: by its name only."""


def events(package: Path) -> dict[str, str]:
    """The names below `package`, each with a place that gives it. The command line records nothing itself."""
    files = [path for path in sorted(package.rglob("*.py")) if "cli" not in path.relative_to(package).parts]
    modules = {str(path.relative_to(package.parent)): ast.parse(path.read_text("utf-8")) for path in files}
    return Search(modules).run()


class Search:
    """One search over parsed modules, by their paths."""

    def __init__(self, modules: dict[str, ast.Module]) -> None:
        self.modules = modules
        self.constants = {name: dict(_constants(tree)) for name, tree in modules.items()}
        self.found: dict[str, str] = {}
        self.takers: list[Taker] = []
        self.calls = [(name, *each) for name, tree in modules.items() for each in _calls(tree)]
        self.functions = [node for tree in modules.values() for node in ast.walk(tree) if isinstance(node, Function)]

    def run(self) -> dict[str, str]:
        """Follow every taker, those that come up on the way too."""
        self.takers = [taker for name, tree in self.modules.items() for taker in _first_takers(name, tree)]
        for taker in self.takers:  # grows while it is gone through
            for module, inside, call in self.calls:
                if _is_call_of(call, taker, module) and (given := _argument(call, taker)) is not None:
                    self._follow_argument(taker, given, inside, module)
        return self.found

    def _follow_argument(self, taker: Taker, given: ast.expr, inside: Function | None, module: str) -> None:
        """Another function of the same name, without such a parameter, may be the one that is called."""
        same_name = [each for each in self.functions if each.name == taker.function]
        try:
            self._follow(given, inside, module)
        except UntraceableEventError:
            if all(taker.parameter in _parameters(each) for each in same_name):
                raise

    def _follow(self, given: ast.expr, inside: Function | None, module: str) -> None:
        where = f"{module}:{given.lineno}"
        if isinstance(given, ast.IfExp):
            self._follow(given.body, inside, module)
            self._follow(given.orelse, inside, module)
        elif isinstance(given, ast.Constant) and re.fullmatch(EVENT, str(given.value)):
            self.found.setdefault(str(given.value), where)
        elif isinstance(given, ast.Name) and inside is not None and given.id in _parameters(inside):
            self._hand_on(given.id, inside, module)
        elif isinstance(given, ast.Name) and (value := self._constant(given.id, module)) is not None:
            self.found.setdefault(value, where)
        elif values := list(_values(given, inside, self.modules[module])):
            for value_of in values:
                self._follow(*value_of, module)
        elif not (isinstance(given, ast.Attribute) and given.attr in HANDED_ON):
            raise UntraceableEventError(f"{where}: {ast.unparse(given)} is no string, constant or parameter")

    def _hand_on(self, parameter: str, function: Function, module: str) -> None:
        taker = Taker(module, function.name, parameter, _position(function, parameter))
        if taker not in self.takers:
            self.takers.append(taker)
            default = _defaults(function).get(parameter)
            if default is not None:
                self._follow(default, None, module)

    def _constant(self, name: str, module: str) -> str | None:
        """The string of a module's constant, or of one that it imports."""
        value = self.constants.get(module, {}).get(name)
        if isinstance(value, str) or value is None:
            return value
        return self._constant(value[1], value[0])


def _values(given: ast.expr, inside: Function | None, tree: ast.Module) -> Iterator[tuple[ast.expr, Function | None]]:
    """What a local variable was assigned in its function, or what a function of the module returns."""
    if isinstance(given, ast.Name) and inside is not None:
        for node in ast.walk(inside):
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [given.id]:
                yield node.value, inside
    if isinstance(given, ast.Call) and isinstance(given.func, ast.Name):
        for function in tree.body:
            if isinstance(function, Function) and function.name == given.func.id:
                returns = (node for node in ast.walk(function) if isinstance(node, ast.Return))
                yield from ((node.value, function) for node in returns if node.value is not None)


def _first_takers(module: str, tree: ast.Module) -> Iterator[Taker]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == "FileIntent":
            yield Taker(module, node.name, "act", 0)
        if isinstance(node, ast.ClassDef) and node.name == "OperationRequest":
            yield Taker(module, "OperationRequest.of", "act", 0)
        if isinstance(node, Function) and node.name in ("record", "noting") and "event" in _parameters(node):
            yield Taker(module, node.name, "event", _position(node, "event"))


def _calls(tree: ast.AST, inside: Function | None = None) -> Iterator[tuple[Function | None, ast.Call]]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Call):
            yield inside, child
        yield from _calls(child, child if isinstance(child, Function) else inside)


def _is_call_of(call: ast.Call, taker: Taker, module: str) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if ast.unparse(call.func).endswith("system_log.record"):  # it takes a whole record
        return False
    if "." in taker.function:
        return ast.unparse(call.func) == taker.function
    return name == taker.function and (module == taker.module or not name.startswith("_"))


def _argument(call: ast.Call, taker: Taker) -> ast.expr | None:
    """What a call gives for the parameter; None where it leaves that to the default."""
    named = [each.value for each in call.keywords if each.arg == taker.parameter]
    if named:
        return named[0]
    return call.args[taker.position] if taker.position is not None and taker.position < len(call.args) else None


def _positional(function: Function) -> list[str]:
    every = (*function.args.posonlyargs, *function.args.args)
    return [each.arg for each in every if each.arg not in ("self", "cls")]


def _parameters(function: Function) -> list[str]:
    return [*_positional(function), *(each.arg for each in function.args.kwonlyargs)]


def _position(function: Function, parameter: str) -> int | None:
    names = _positional(function)
    return names.index(parameter) if parameter in names else None


def _defaults(function: Function) -> dict[str, ast.expr]:
    positional = [*function.args.posonlyargs, *function.args.args]
    given = function.args.defaults
    found = {each.arg: value for each, value in zip(positional[len(positional) - len(given) :], given, strict=True)}
    keywords = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return found | {each.arg: value for each, value in keywords if value is not None}


def _constants(tree: ast.Module) -> Iterator[tuple[str, str | tuple[str, str]]]:
    """Names of a module for strings, and for what it imports: the other module's path and the name there."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            path = f"{node.module.replace('.', '/')}.py"
            yield from ((each.asname or each.name, (path, each.name)) for each in node.names)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from ((each.id, node.value.value) for each in node.targets if isinstance(each, ast.Name))
