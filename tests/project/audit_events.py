"""Finds every name of an audit event in the source, by following what is recorded back to the string that names it.

It begins at every parameter and field `event` or `operation` that is a `str`. A parameter that is handed on to such a
place is one itself, so that the names at its callers count. A name that is neither a string, nor a constant of a
module, nor the result of a function of the module, nor handed on, is an UntraceableEventError with its place: no name
escapes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVENT = r"[a-z0-9][a-z0-9.-]*"
NAMES = frozenset({"event", "operation"})
"""What the parameters and fields are called. A member of an object is one, too: it was found where that was made."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class UntraceableEventError(Exception):
    """An event whose name cannot be told from the source."""


@dataclass(frozen=True)
class Taker:
    """A parameter of a function (of class `owner`) that ends up as an event, or a field of class `function`.

    A private function's is looked for in its module only. `position` None: by its name only.
    """

    module: str
    owner: str
    function: str
    parameter: str
    position: int | None


@dataclass(frozen=True)
class Call:
    """A call, and the function that it stands in."""

    module: str
    inside: Function | None
    node: ast.Call


def events(package: Path) -> dict[str, str]:
    """The names below `package`, each with a place that gives it. The command line records nothing itself."""
    files = [path for path in sorted(package.rglob("*.py")) if "cli" not in path.relative_to(package).parts]
    modules = {str(path.relative_to(package.parent)): ast.parse(path.read_text("utf-8")) for path in files}
    return Search(modules).run()


class Search:
    """One search over parsed modules, by their paths."""

    def __init__(self, modules: dict[str, ast.Module]) -> None:
        self.names = {name: dict(_names_of(tree)) for name, tree in modules.items()}
        self.calls = [call for name, tree in modules.items() for call in _calls(name, tree)]
        self.owners = dict(pair for tree in modules.values() for pair in _functions(tree))
        self.functions = {name: {each.name: each for each, _ in _functions(tree)} for name, tree in modules.items()}
        self.classes = {owner for owner in self.owners.values() if owner}
        self.takers = [taker for name, tree in modules.items() for taker in self._first_takers(name, tree)]
        self.found: dict[str, str] = {}

    def run(self) -> dict[str, str]:
        """Follow every taker, those that come up on the way too."""
        for taker in self.takers:  # grows while it is gone through
            self._follow_default(taker)
            for call in self.calls:
                if self._may_be_of(call, taker) and (given := _argument(call.node, taker)) is not None:
                    self._follow_argument(taker, given, call)
        return self.found

    def _first_takers(self, module: str, tree: ast.Module) -> Iterator[Taker]:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
                for position, field in enumerate(fields):
                    if ast.unparse(field.target) in NAMES and ast.unparse(field.annotation) == "str":
                        yield Taker(module, "", node.name, ast.unparse(field.target), position)
            if isinstance(node, Function):
                for each in (*node.args.args, *node.args.kwonlyargs):
                    if each.arg in NAMES and each.annotation is not None and ast.unparse(each.annotation) == "str":
                        yield self._taker(module, node, each.arg)

    def _taker(self, module: str, function: Function, parameter: str) -> Taker:
        names = _positional(function)
        position = names.index(parameter) if parameter in names else None
        return Taker(module, self.owners[function], function.name, parameter, position)

    def _may_be_of(self, call: Call, taker: Taker) -> bool:
        func = call.node.func
        name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
        if name != taker.function or (name.startswith("_") and call.module != taker.module):
            return False
        receiver = func.value.id if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) else ""
        return receiver not in self.classes or receiver == taker.owner

    def _follow_argument(self, taker: Taker, given: ast.expr, call: Call) -> None:
        """Another function of the same name, without such a parameter, may be the one that is called."""
        same_name = [each for each in self.owners if each.name == taker.function]
        try:
            self._follow(given, call.inside, call.module)
        except UntraceableEventError:
            if all(taker.parameter in _parameters(each) for each in same_name):
                raise

    def _follow_default(self, taker: Taker) -> None:
        function = self.functions[taker.module].get(taker.function)
        default = _defaults(function).get(taker.parameter) if function is not None else None
        if default is not None and ast.unparse(default) != "None":
            self._follow(default, None, taker.module)

    def _follow(self, given: ast.expr, inside: Function | None, module: str) -> None:
        if isinstance(given, ast.IfExp):
            self._follow(given.body, inside, module)
            self._follow(given.orelse, inside, module)
        elif isinstance(given, ast.Constant) and re.fullmatch(EVENT, str(given.value)):
            self.found.setdefault(str(given.value), f"{module}:{given.lineno}")
        elif isinstance(given, ast.Call) and isinstance(given.func, ast.Name):
            self._follow_results(given, module)
        elif isinstance(given, ast.Name) and inside is not None and given.id in _parameters(inside):
            taker = self._taker(module, inside, given.id)
            if taker not in self.takers:
                self.takers.append(taker)
        elif isinstance(given, ast.Name) and (assigned := _assigned(inside, given.id)) is not None:
            self._follow(assigned, inside, module)
        elif (value := self._constant(given, module)) is not None:
            self.found.setdefault(value, f"{module}:{given.lineno}")
        elif not (isinstance(given, ast.Attribute) and given.attr in NAMES):
            raise UntraceableEventError(f"{module}:{given.lineno}: {ast.unparse(given)} is not a string or a constant")

    def _follow_results(self, given: ast.Call, module: str) -> None:
        function = self.functions[module].get(ast.unparse(given.func))
        results = [each.value for each in ast.walk(function) if isinstance(each, ast.Return)] if function else []
        if not results:
            raise UntraceableEventError(
                f"{module}:{given.lineno}: {ast.unparse(given)} is not a function of the module"
            )
        for value in results:
            self._follow(value or ast.Constant(None), function, module)

    def _constant(self, given: ast.expr, module: str) -> str | None:
        """The string of a module's constant, of one that it imports, or of one of a module that it imports."""
        names = self.names.get(module, {})
        if isinstance(given, ast.Name):
            value = names.get(given.id)
            return self._constant(ast.Name(value[1]), value[0]) if isinstance(value, tuple) else value
        if isinstance(given, ast.Attribute) and isinstance(given.value, ast.Name):
            imported = names.get(given.value.id)
            if isinstance(imported, tuple):
                inner = f"{imported[0].removesuffix('.py')}/{imported[1]}.py"
                return self._constant(ast.Name(given.attr), inner)
        return None


def _functions(tree: ast.AST, owner: str = "") -> Iterator[tuple[Function, str]]:
    """Every function with the name of its class."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, Function):
            yield child, owner
        yield from _functions(child, child.name if isinstance(child, ast.ClassDef) else owner)


def _calls(module: str, tree: ast.AST, inside: Function | None = None) -> Iterator[Call]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Call):
            yield Call(module, inside, child)
        yield from _calls(module, child, child if isinstance(child, Function) else inside)


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


def _defaults(function: Function) -> dict[str, ast.expr]:
    positional = [*function.args.posonlyargs, *function.args.args]
    given = function.args.defaults
    found = {each.arg: value for each, value in zip(positional[len(positional) - len(given) :], given, strict=True)}
    keywords = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return found | {each.arg: value for each, value in keywords if value is not None}


def _assigned(inside: Function | None, name: str) -> ast.expr | None:
    """What a function gives to a local name, once."""
    assignments = [each for each in ast.walk(inside) if isinstance(each, ast.Assign)] if inside else []
    values = [each.value for each in assignments if [ast.unparse(target) for target in each.targets] == [name]]
    return values[0] if len(values) == 1 else None


def _names_of(tree: ast.Module) -> Iterator[tuple[str, str | tuple[str, str]]]:
    """Names of a module for strings, and for what it imports: the other module's path and the name there."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            path = f"{node.module.replace('.', '/')}.py"
            yield from ((each.asname or each.name, (path, each.name)) for each in node.names)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from ((each.id, node.value.value) for each in node.targets if isinstance(each, ast.Name))
