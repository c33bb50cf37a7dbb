"""What a restore takes away, or has taken away: keys, rotations and containers, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tiktrue_keys.cli.view.keys import container_json
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.operations.preview_restore import Lost
from tiktrue_keys.errors import PartialError

_NAMED = 8
_WAY_BACK = (
    "use a newer backup; afterwards the replaced keystore lies beside the new one as keystore-*.replaced.db,"
    " and tiktrue-keys restore FILE puts it back"
)


def lost_json(lost: Lost | None) -> dict[str, Any] | None:
    """Return the member `result.lost`; None where it is not known."""
    if lost is None:
        return None
    return {
        "keys": [key.key_id for key in lost.keys],
        "rotations": [{"old": old, "new": new} for old, new in lost.rotations],
        "containers": [container_json(record) for record in lost.containers],
    }


def lost_words(lost: Lost | None) -> str:
    """Return what would be lost, for a question; empty for nothing."""
    if lost is None or not lost.keys:
        return ""
    return f"It loses {plural(len(lost.keys), 'key')}; {plural(len(lost.containers), 'container')} will not open. "


def lost_notices(lost: Lost | None) -> Iterator[Notice]:
    """Yield what a restore would take away, and how that is avoided."""
    if lost is None or not lost.keys:
        return
    words = f"the backup lacks {plural(len(lost.keys), 'key')}: {_listed(key.key_id for key in lost.keys)}"
    if lost.rotations:
        words += f"; {plural(len(lost.rotations), 'rotation')} would be undone"
    yield Notice("keys-lost", words, urgent=True)
    if lost.containers:
        words = f"these containers would not open any more: {_listed(record.path for record in lost.containers)}"
        yield Notice("containers-lost", f"{words}; {_WAY_BACK}", urgent=True)


def locked_error(locked: Sequence[ContainerRecord], replaced: str | None) -> PartialError | None:
    """Return the error of a restore after which containers do not open; None if all that are there do."""
    if not locked:
        return None
    words = f"restored, but {plural(len(locked), 'container')} cannot be opened with the keys of this backup"
    named = _listed(record.path for record in locked)
    if replaced is None:
        return PartialError(f"{words}: {named}", remedy="restore-newer")
    return PartialError(f"{words}: {named}", remedy="restore-replaced", about={"replaced": replaced})


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
