"""Takes a keystore of an older schema version to the present one, before the first operation that writes.

Come here when the schema changes. The step is one transaction: a kill leaves the old version or the new one. A copy of
the keystore as it was stays beside it, for the way back with the older program. Readers do not upgrade; they read
older versions as they are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.dispatch.peers import ISSUER, peers, put_peer
from tiktrue_keys.core.dispatch.scopes import ALL, MAX_ENTRIES, parse_scope
from tiktrue_keys.core.durable import NewFile
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import (
    MAX_ENDED,
    all_key_ids,
    head_ids,
    must_get_key,
    origin_in_version_1,
    put_key,
)
from tiktrue_keys.core.keys.license_entries import carry_over
from tiktrue_keys.core.keystore import schema
from tiktrue_keys.core.keystore.clock import TimeRule
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.leftovers import sweep_backup
from tiktrue_keys.core.keystore.permissions import FILE_MODE
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.store import Keystore
from tiktrue_keys.core.keystore.transaction import ReadClock, Transaction
from tiktrue_keys.core.names import KeyId, ModelId, new_operation_id
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import DiskFullError

EVENT = "schema-upgrade"
COPY = "schema"
"""The name of the record of the copy that the newest upgrade has left."""


def upgrade(keystore: Keystore, read_clock: ReadClock, actor: Actor, time_rule: TimeRule) -> Notice:
    """Upgrade the keystore, and return the notice that says so. The caller has no transaction open.

    Raises DiskFullError when the copy of the older keystore does not fit on the disk.
    """
    before = keystore.document_now()
    copy = keystore.folder / copy_name(before)
    make_copy = partial(_write_copy, keystore, copy)
    with keystore.write(
        read_clock, actor=actor, operation_id=new_operation_id(), time_rule=time_rule, before=make_copy
    ) as transaction:
        if transaction.document.version < schema.VERSION:  # else another process has done it meanwhile
            _upgrade(keystore, transaction, copy)
    words = f"the keystore was upgraded to schema version {schema.VERSION}; {shown(copy)} is a copy of the older one"
    return Notice(EVENT, words, remedy="schema-copy", about={"path": str(copy)}, urgent=True)


def copy_name(document: Document) -> str:
    """Return the file name of the copy. A keystore that was restored from an older version gets another one."""
    again = "" if document.epoch == 1 else f".epoch-{document.epoch}"
    return f"keystore.schema-{document.version}{again}.db"


def older_copies(folder: Path) -> list[str]:
    """Return the paths of the copies of older schema versions that lie in the keystore's folder."""
    return sorted(str(path) for path in folder.glob("keystore.schema-*.db"))


def _write_copy(keystore: Keystore, copy: Path) -> None:
    if not keystore.is_outdated():
        return
    try:
        sweep_backup(copy)
        with NewFile(copy, FILE_MODE, gate=None, what="the copy") as output:
            keystore.copy_to(output.temporary)
            output.commit(replace=True)
    except DiskFullError as error:
        raise DiskFullError(
            f"no space left for {shown(copy)}, the copy of the keystore before its upgrade",
            "free some space; until then only revoke works",
            remedy="no-room-to-upgrade",
        ) from error


def _upgrade(keystore: Keystore, transaction: Transaction, copy: Path) -> None:
    """Put every key on the agenda, with its origin, list the licenses, and give every issuer its scope.

    The copy holds each key, so their audit numbers are those of the last record.
    """
    older = transaction.document.version
    size = transaction.audit.size
    keystore.raise_version(transaction)
    carry_over(transaction.rows, keystore.keys)
    newest: dict[ModelId, list[KeyId]] = {}
    sent: dict[str, set[str]] = {}
    for key_id in all_key_ids(transaction.rows):
        stored = must_get_key(transaction.rows, key_id, Instant(0))
        origin = origin_in_version_1(transaction.rows, key_id)
        put_key(transaction.rows, replace(stored.key, audit_number=size - 1, **origin), stored.wrapped)
        if origin:
            transaction.rows.delete(RecordKind.WITNESS, f"origin {key_id}")
            sent.setdefault(origin["origin"], set()).add(stored.key.model_id)
        if stored.key.successor is None:
            newest.setdefault(stored.key.model_id, []).append(key_id)
    for model_id, key_ids in newest.items():
        heads = head_ids(transaction.rows, model_id)
        ended = [key_id for key_id in key_ids if key_id not in heads]
        payload = {"model_id": model_id, "heads": heads, "ended": ended if len(ended) <= MAX_ENDED else None}
        transaction.rows.put(RecordKind.MODEL, model_id, payload)
    _give_scopes(transaction, sent)
    note = {"at": transaction.now, "path": str(copy), "done": True, "size": size, "epoch": transaction.document.epoch}
    transaction.rows.put(RecordKind.BACKUP, COPY, note)
    transaction.record(EVENT, detail={"from": older, "to": schema.VERSION, "path": str(copy)})


def _give_scopes(transaction: Transaction, sent: dict[str, set[str]]) -> None:
    """Give the only issuer every model, and each of several issuers the models whose keys have come from it.

    A model that several have sent keys of goes to none: which of them is its authority is for an administrator to say.
    """
    issuers = list(peers(transaction.rows, ISSUER))
    for issuer in issuers:
        others = set().union(*(sent.get(other.origin, set()) for other in issuers if other != issuer))
        models = sorted(sent.get(issuer.origin, set()) - others)
        scope = ALL if len(issuers) == 1 else parse_scope(models[:MAX_ENTRIES])
        put_peer(transaction.rows, replace(issuer, scope=scope, scope_assumed=len(issuers) > 1))
