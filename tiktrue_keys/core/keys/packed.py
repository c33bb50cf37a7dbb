"""Holds many managed keys in little memory: packed to about 200 bytes each, and unpacked one at a time when read.

Come here for how `list`, `validate` and `cleanup` go through 100,000 keys. They pack keys while the rows are verified,
so that every error comes before the first key is used, and they close the snapshot before they use one.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from types import MappingProxyType
from typing import Any, overload

from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status
from tiktrue_keys.core.names import KeyId

_NAMES = tuple(field.name for field in fields(ManagedKey))
_ID, _STATUS, _LABELS = _NAMES.index("key_id"), _NAMES.index("status"), _NAMES.index("labels")
_members_of = attrgetter(*_NAMES)
_STATUSES = {status.value: status for status in Status}


class PackedKeys(Sequence[ManagedKey]):
    """An immutable sequence of keys. Each access makes the key again."""

    def __init__(
        self, keys: Iterable[ManagedKey] = (), *, order: Callable[[ManagedKey], tuple[Any, ...]] | None = None
    ) -> None:
        self._packed: list[bytes] = []
        ranks = []
        for key in keys:
            self._packed.append(_packed(key))
            if order is not None:
                ranks.append(order(key))
        if order is not None:
            self._packed = [self._packed[at] for at in sorted(range(len(ranks)), key=ranks.__getitem__)]

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[ManagedKey]:
        return map(_unpacked, self._packed)

    def ids(self) -> Iterator[KeyId]:
        """Yield the id of each key, without making the key."""
        return (marshal.loads(packed)[_ID] for packed in self._packed)  # noqa: S302  as in _unpacked

    @overload
    def __getitem__(self, at: int) -> ManagedKey: ...
    @overload
    def __getitem__(self, at: slice) -> PackedKeys: ...
    def __getitem__(self, at: int | slice) -> ManagedKey | PackedKeys:
        if isinstance(at, int):
            return _unpacked(self._packed[at])
        part = PackedKeys()
        part._packed = self._packed[at]
        return part


def _packed(key: ManagedKey) -> bytes:
    members = list(_members_of(key))
    members[_STATUS] = key.status.value
    members[_LABELS] = dict(key.labels)
    return marshal.dumps(members)


def _unpacked(packed: bytes) -> ManagedKey:
    members = marshal.loads(packed)  # noqa: S302  these bytes are this process's own and are never stored
    members[_STATUS] = _STATUSES[members[_STATUS]]
    members[_LABELS] = MappingProxyType(members[_LABELS])
    return ManagedKey(*members)
