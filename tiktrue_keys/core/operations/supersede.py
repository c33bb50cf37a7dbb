"""A release follows a re-encryption: it names the new container beside the old one before the file gets its name.

Come here for what readers may open while a container is re-encrypted in their storage. The new entry is part of the
open intent, so that after a kill the old one is named alone or together with the new one: never the new one alone while
the old file may lie there, and never neither. The old entry leaves with the outcome: after the overlap, or at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tiktrue_keys.core.containers.intents import FileIntent, get_intent, put_intent
from tiktrue_keys.core.containers.settlement import OK, Ending
from tiktrue_keys.core.dispatch.releases import STAYS, Release, ReleaseEntry, get_release
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.lifecycle import DEFAULT_OVERLAP
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.operations.release import issue_releases
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import IntegrityError

AFTER_OVERLAP, AT_ONCE = "after-overlap", "at-once"


def name_successor(session: KeystoreSession, operation_id: OperationId, root: bytes) -> int | None:
    """Name the output of an open operation beside what it supersedes; `root` is its root or manifest digest.

    Returns the number of the release, or None when no release of this keystore names the superseded one. Raises
    RefusedError when the release has no room.
    """
    with session.read() as (view, now):
        if _followed(view.rows, get_intent(view.rows, operation_id), now) is None:
            return None
    with session.write(operation_id) as transaction:
        intent = get_intent(transaction.rows, operation_id)
        if intent is None:
            raise IntegrityError(f"operation {operation_id} was settled by another process")
        release = _followed(transaction.rows, intent, transaction.now)
        if release is None:
            return None
        entry = ReleaseEntry(intent.file_id, root, name=intent.name)
        named = release.amended([entry], (), transaction.now)
        put_intent(transaction, replace(intent, root=root.hex()))
        (made,) = issue_releases(transaction, [named], [release])
        return made.number


def let_go(transaction: Transaction, intent: FileIntent, ending: Ending) -> None:
    """Let the superseded entry leave when the operation is done, or the new one when its output does not exist.

    The containers of a folder that may be named on their own go with it: the replaced ones, or those of the new folder.
    """
    release = get_release(transaction.rows, intent.model_id) if intent.supersedes else None
    if release is None:
        return
    then, gone = release, {*ending.others.gone}
    if ending.outcome == OK:
        old = {bytes.fromhex(intent.supersedes)} if intent.root else set()
        then = _leaving(release, old | gone, intent.leaves, transaction.now)
    elif not (ending.keys or ending.others.moved):
        then = release.without({intent.file_id} | gone)
    if then != release:
        issue_releases(transaction, [then], [release])


def _followed(rows: Rows, intent: FileIntent | None, now: Instant) -> Release | None:
    """Return the release that names what the operation supersedes."""
    if intent is None or not intent.supersedes:
        return None
    release, old = get_release(rows, intent.model_id), bytes.fromhex(intent.supersedes)
    named = release is not None and any(each.file_id == old and each.counts(now) for each in release.entries)
    return release if named else None


def _leaving(release: Release, old: Collection[bytes], leaves: str, now: Instant) -> Release:
    if leaves == "":
        return release
    if leaves == AT_ONCE:
        return release.without(old)
    end = Instant(now + DEFAULT_OVERLAP)
    entries = (
        replace(each, until=end if each.until == STAYS else min(each.until, end)) if each.file_id in old else each
        for each in release.entries
    )
    return replace(release, entries=tuple(entries))
