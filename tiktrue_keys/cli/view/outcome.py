"""The output of a command as values: lines, fields, tables, trees.

render.py draws them, for a terminal or for a pipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import TikTrueKeysError

_Item = TypeVar("_Item", covariant=True)


class OnDemand(Generic[_Item]):
    """A list whose items are made each time it is read: of a result or table that is as large as the keystore.

    `make` may not read the keystore: after the first byte of output it is too late for an error.
    """

    def __init__(self, make: Callable[[], Iterable[_Item]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[_Item]:
        return iter(self._make())


@dataclass(frozen=True)
class Line:
    """One line of text."""

    text: str


@dataclass(frozen=True)
class Fields:
    """Names and values, one pair a line."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class When:
    """An instant in a cell: relative on a terminal, RFC 3339 in a pipe and with --verbose. 0 or None is empty."""

    instant: int | None


Cell = str | When


@dataclass(frozen=True)
class Table:
    """Rows under headings; an empty cell is shown as `-`.

    On a terminal, `spare` columns are left out, the first one first, until a row fits on a line. The text of `prose`
    columns wraps at words; every other cell is shown whole, so that an id can be copied.
    """

    columns: tuple[str, ...]
    rows: Iterable[tuple[Cell, ...]]
    heading: bool = True
    spare: tuple[str, ...] = field(default=(), kw_only=True)
    prose: tuple[str, ...] = field(default=(), kw_only=True)
    csv: bool = field(default=False, kw_only=True)
    """Write RFC 4180 instead, on a terminal too."""


@dataclass(frozen=True)
class Tree:
    """A label with branches under it."""

    label: str
    branches: Sequence[Tree] = ()


@dataclass(frozen=True)
class Raw:
    """Text that is written byte for byte: a script, a signed note."""

    text: str


Block = Line | Fields | Table | Tree | Raw

REPEATED = "Nothing was done: this operation id was used before."
"""The message of an operation whose first result comes again."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command: `result` for JSON, `view` for standard output, `messages` for standard error.

    Lists among the members of `result`, and the other lists, may be made on demand. `ids`, where given, replace the
    view under --quiet. With `error`, the exit code is the error's, and the result is still shown.
    """

    result: Mapping[str, Any]
    view: Sequence[Block] = ()
    messages: Sequence[str] = ()
    ids: Iterable[str] | None = None
    changed: bool = False
    operation_id: str | None = None
    warnings: Iterable[Notice] = ()
    error: TikTrueKeysError | None = None
    shows_data: bool = field(default=False, kw_only=True)
    """Standard output carried the command's data, so the envelope goes to standard error."""
    exit_code: int = field(default=0, kw_only=True)
    """Without an error: another program's status, which becomes ours."""

    @property
    def code(self) -> int:
        """The exit code."""
        return self.exit_code if self.error is None else self.error.exit_code
