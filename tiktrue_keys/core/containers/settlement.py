"""How a file operation ended, and its effects on other rows of the registry.

Come here for what one operation changes in the rows of many containers. intents.py records it with the operation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, Generic, TypeVar, overload

from tiktrue_keys.core.containers.registry import ContainerRecord, delete_container, get_container, put_container
from tiktrue_keys.core.keystore.transaction import Transaction

ROWS_AT_ONCE = 500
"""How many containers one transaction changes, so that neither memory nor the time that it locks the keystore grows."""

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class NewContainer:
    """A container that an operation on a folder made: its row, and the event and detail of its audit record."""

    record: ContainerRecord
    event: str
    detail: Mapping[str, Any]


class NewContainers(Sequence[NewContainer], Generic[_Item]):
    """New containers that are built from `items` when they are asked for: those of 20,000 files take 15 MB."""

    def __init__(self, items: Sequence[_Item], build: Callable[[_Item], NewContainer]) -> None:
        self._items = items
        self._build = build

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, at: int) -> NewContainer: ...

    @overload
    def __getitem__(self, at: slice) -> list[NewContainer]: ...

    def __getitem__(self, at: int | slice) -> NewContainer | list[NewContainer]:
        if isinstance(at, slice):
            return [self._build(item) for item in self._items[at]]
        return self._build(self._items[at])


@dataclass(frozen=True)
class Settlement:
    """The effect of an operation on other rows of the registry.

    `made` are the containers of a new folder; one that has a row already only gets its path. `moved` gives file ids (16
    bytes) their new path; `gone` are the file ids that no longer exist. A row of `gone` stays when it names another
    place: neither the path or temporary path of the operation nor anything below them.
    """

    moved: Mapping[bytes, str] = field(default_factory=dict)
    gone: Collection[bytes] = ()
    made: Sequence[NewContainer] = ()

    @property
    def count(self) -> int:
        """Return how many rows it concerns."""
        return len(self.made) + len(self.moved) + len(self.gone)

    def parts(self, size: int) -> Iterator[Settlement]:
        """Yield it in parts of at most `size` rows, to be applied in that order; at least one."""
        if self.count <= size:
            yield self
            return
        moved, gone = list(self.moved.items()), list(self.gone)
        yield from (Settlement(made=self.made[at : at + size]) for at in range(0, len(self.made), size))
        yield from (Settlement(dict(moved[at : at + size])) for at in range(0, len(moved), size))
        yield from (Settlement(gone=gone[at : at + size]) for at in range(0, len(gone), size))


NO_OTHERS = Settlement()
OK, FAILED = "ok", "failed"


@dataclass(frozen=True)
class Ending:
    """How a file operation ended.

    `keys` are the ids of the keys that now open the file; None means that the file does not exist. `others` is the
    effect on other containers.
    """

    outcome: str
    keys: frozenset[str] | None
    detail: Mapping[str, Any] = field(default_factory=dict)
    others: Settlement = NO_OTHERS


def apply_settlement(transaction: Transaction, settlement: Settlement, places: Collection[str]) -> None:
    """Change the rows and record each change. `places` are the path and the temporary path of the operation."""
    for made in settlement.made:
        _add(transaction, made)
    for file_id, path in settlement.moved.items():
        _move(transaction, get_container(transaction.rows, file_id), path)
    for file_id in settlement.gone:
        known = get_container(transaction.rows, file_id)
        if known is not None and any(PurePath(known.path).is_relative_to(place) for place in places):
            delete_container(transaction, known)
            detail = {"file_id": file_id.hex(), "path": known.path}
            transaction.record("forget", model_id=known.model_id, detail=detail)


def _add(transaction: Transaction, made: NewContainer) -> None:
    known = get_container(transaction.rows, made.record.file_id)
    if known is not None:
        _move(transaction, known, made.record.path)
        return
    put_container(transaction, made.record)
    transaction.record(
        made.event,
        key_id=single(made.record.keys),
        model_id=made.record.model_id,
        detail={"file_id": made.record.file_id.hex(), "path": made.record.path, **made.detail},
    )


def _move(transaction: Transaction, known: ContainerRecord | None, path: str) -> None:
    if known is None or known.path == path:
        return
    put_container(transaction, replace(known, path=path))
    detail = {"file_id": known.file_id.hex(), "path": path, "keys": sorted(known.keys)}
    transaction.record("move", model_id=known.model_id, detail=detail)


def single(keys: Collection[str]) -> str | None:
    """Return the key id of a record that has room for one; None for several keys or none."""
    return next(iter(keys)) if len(keys) == 1 else None
