"""Parses arguments into text, integers, choices, switches and lists of these.

Typer would do it through pydantic, whose import takes as long as all of Typer's (58 of the 140 ms of `validate KEY`).
Parameters of other types are left to Typer.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import typer

Reader = Callable[[str], Any]


def read_plainly(param: Any) -> Any:
    """Return `param`, changed to parse its value here when its type is one of ours."""
    if "get_runtime_param" in vars(param):
        return param
    annotation = param.type_descriptor.annotation
    if get_origin(annotation) is list:
        (annotation,) = get_args(annotation)
    reader = _reader(annotation, param)
    if reader is not None:
        coercion = _Coercion(reader)
        param.get_runtime_param = lambda: coercion
    return param


class _Coercion:
    """Replaces Typer's conversion of one parameter."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the parsed value. Raises BadParameter with the reason."""
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        try:
            return tuple(self._reader(word) for word in value) if many else self._reader(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None


def _reader(annotation: Any, param: Any) -> Reader | None:
    if annotation in (str, bool):
        return lambda value: value
    if annotation is int:
        return _whole_number(param.min, param.max)
    if get_origin(annotation) is Literal:
        return _choice({each: each for each in get_args(annotation)})
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _choice({each.value: each for each in annotation})
    return None


def _whole_number(least: int | None, most: int | None) -> Reader:
    def read(word: Any) -> int:
        text = str(word)
        if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 18:
            raise ValueError(f"'{text[:40]}' is not a whole number")
        if least is not None and int(text) < least:
            raise ValueError(f"{text} is less than {least}")
        if most is not None and int(text) > most:
            raise ValueError(f"{text} is more than {most}")
        return int(text)

    return read


def _choice(choices: dict[str, Any]) -> Reader:
    def read(word: Any) -> Any:
        if isinstance(word, Enum):  # a default
            return word
        if word not in choices:
            raise ValueError(f"'{str(word)[:40]}' is not one of {', '.join(choices)}")
        return choices[word]

    return read
