"""Stores managed keys as records, finds them by a KEY argument, and walks along their chains.

Come here to look up a key. Other modules of this package decide what may be done with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.key_record import WRAPPED, key_record, read_key_record
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status, next_change
from tiktrue_keys.core.keystore import agenda
from tiktrue_keys.core.keystore.rows import Owner, Rows
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import KeyArgumentKind, KeyId, ModelId, parse_key_argument, short_of
from tiktrue_keys.errors import IntegrityError, NotFoundError, UsageError

MAX_CHAIN = 100_000
MAX_ENDED = 64
"""The most ended chains of a model that are listed with it."""
_SINCE_VERSION_2 = frozenset({"audit_number", "origin", "origin_epoch", "promoted_at", "rotate_every", "rotate_before"})


@dataclass(frozen=True)
class StoredKey:
    """A managed key and its wrapped secret: 60 bytes, or none once the key is destroyed."""

    key: ManagedKey
    wrapped: bytes


def put_key(rows: Rows, key: ManagedKey, wrapped: bytes) -> None:
    """Store a key on the day of its next change."""
    payload = key_record(key, wrapped)
    if not rows.has_agenda:
        payload = {name: value for name, value in payload.items() if name not in _SINCE_VERSION_2}
    rows.put(RecordKind.KEY, key.key_id, payload, _agenda_day(key) if rows.has_agenda else None)


def add_key(transaction: Transaction, key: ManagedKey, wrapped: bytes) -> None:
    """Store a new key and index it by its short id. Call it before the record of the key's creation is appended."""
    rows = transaction.rows
    put_key(rows, replace(key, audit_number=transaction.audit.size), wrapped)
    short = short_of(key.key_id)
    known = rows.get(RecordKind.SHORT_ID, short)
    rows.put(RecordKind.SHORT_ID, short, {"keys": [*(known["keys"] if known else ()), key.key_id]})


def get_key(rows: Rows, key_id: str, now: Instant) -> StoredKey | None:
    """Return the key of that id with its status at `now`, or None."""
    payload = rows.get(RecordKind.KEY, key_id)
    return None if payload is None else _stored_key(rows, payload, now)


def must_get_key(rows: Rows, key_id: str, now: Instant) -> StoredKey:
    """Return the key of that id. Raises NotFoundError when there is none."""
    stored = get_key(rows, key_id, now)
    if stored is None:
        raise NotFoundError(f"no key {key_id}", "keys() lists every key", key_id=key_id, remedy="list-keys")
    return stored


def all_keys(rows: Rows, now: Instant, damaged: list[IntegrityError] | None = None) -> Iterator[StoredKey]:
    """Yield every key, in no order. Reading to the end verifies every row of the keystore.

    With the list `damaged`, a damaged part is left out and its error appended there; without it, IntegrityError is
    raised.
    """
    for payload in rows.scan(RecordKind.KEY, damaged):
        try:
            stored = _stored_key(rows, payload, now)
        except IntegrityError as error:
            if damaged is None:
                raise
            damaged.append(error)
        else:
            yield stored


def verify_keys(rows: Rows, now: Instant) -> None:
    """Read every key, and with that every row. Raises IntegrityError for the first that is not intact."""
    for _ in all_keys(rows, now):
        pass


def all_key_ids(rows: Rows) -> list[KeyId]:
    """Return the id of every key, in no order, for a caller that changes keys as it goes along."""
    return [payload["key_id"] for payload in rows.scan(RecordKind.KEY)]


def key_ids_of_license(rows: Rows, license_tag: str) -> list[KeyId]:
    """Return the ids of the keys that are wrapped under a license, in no order; destroyed keys are not."""
    return [
        payload["key_id"]
        for payload in rows.scan(RecordKind.KEY)
        if payload.get("license_tag") == license_tag and payload[WRAPPED]
    ]


def keys_of_day(rows: Rows, series: str, day: int, now: Instant) -> Iterator[StoredKey]:
    """Yield the keys that the agenda lists on one day of a series, verified to be complete."""
    for payload in agenda.keys_on(rows, series, day):
        yield _stored_key(rows, payload, now)


def find_key(rows: Rows, argument: str, now: Instant) -> StoredKey:
    """Return the key that a KEY argument names: a key id, a short id, or a model id (its active key).

    Raises NotFoundError when there is none, UsageError naming the candidates when there are several.
    """
    parsed = parse_key_argument(argument)
    if parsed.kind is KeyArgumentKind.KEY_ID:
        return must_get_key(rows, argument, now)
    if parsed.kind is KeyArgumentKind.SHORT_OR_MODEL:
        short = rows.get(RecordKind.SHORT_ID, argument)
        if short is not None and head_ids(rows, argument):
            names = [*short["keys"], *head_ids(rows, argument)]
            raise UsageError(f"'{argument}' is a key's short id and a model", "name one of " + ", ".join(names[:8]))
        if short is not None:
            return must_get_key(rows, _only(short["keys"], argument), now)
    heads = heads_of(rows, argument, now)
    if not heads:
        raise NotFoundError(f"no key or model '{argument}'", "keys() lists every key", remedy="list-keys")
    live = [head for head in heads if is_live(head.key)]
    chosen = must_get_key(rows, _only([head.key.key_id for head in live], argument), now) if live else heads[-1]
    if chosen.key.pending and chosen.key.predecessor:
        return must_get_key(rows, chosen.key.predecessor, now)
    return chosen


def is_live(key: ManagedKey) -> bool:
    """Return whether the chain that ends in `key` continues: the key is neither revoked nor destroyed."""
    return key.status not in (Status.REVOKED, Status.DESTROYED)


def heads_of(rows: Rows, model_id: str, now: Instant) -> list[StoredKey]:
    """Return the newest key of each chain of a model, oldest chain first."""
    return [must_get_key(rows, key_id, now) for key_id in head_ids(rows, model_id)]


def head_ids(rows: Rows, model_id: str) -> list[KeyId]:
    """Return the ids of the newest key of each chain of a model, without reading the keys."""
    model = rows.get(RecordKind.MODEL, model_id)
    return list(model["heads"]) if model else []


def put_heads(rows: Rows, model_id: ModelId, heads: list[KeyId], *, ended: Iterable[KeyId] = ()) -> None:
    """Store the ids of the newest key of each chain of a model; `ended` are those of chains that no longer count.

    Past MAX_ENDED ended chains, they are no longer listed: null stands for them.
    """
    payload: dict[str, Any] = {"model_id": model_id, "heads": list(heads)}
    if rows.has_agenda:
        known = rows.get(RecordKind.MODEL, model_id) or {"ended": []}
        listed = known.get("ended")
        if listed is not None:
            listed = [*listed, *ended]
        payload["ended"] = listed if listed is not None and len(listed) <= MAX_ENDED else None
    rows.put(RecordKind.MODEL, model_id, payload)


def keys_of_model(rows: Rows, model_id: str, now: Instant) -> list[StoredKey]:
    """Return every key of a model, those of ended chains too. Reads all keys only where they are not listed."""
    model = rows.get(RecordKind.MODEL, model_id)
    if model is None:
        return []
    ended = model.get("ended")
    if ended is None:
        return [stored for stored in all_keys(rows, now) if stored.key.model_id == model_id]
    newest = [must_get_key(rows, head, now) for head in (*ended, *model["heads"])]
    found = {stored.key.key_id: stored for head in newest for stored in _back_from(rows, head, now)}
    return list(found.values())


def generations_of(rows: Rows, model_id: str, now: Instant) -> list[StoredKey]:
    """Return every key of a model: each chain from its newest generation to its first."""
    generations = []
    for head in heads_of(rows, model_id, now):
        generations += _back_from(rows, head, now)
    return generations


def chain_of(rows: Rows, key: ManagedKey, now: Instant) -> list[StoredKey]:
    """Return the whole chain that contains `key`, oldest generation first.

    Raises IntegrityError when it does not end.
    """
    newest = must_get_key(rows, key.key_id, now)
    for _ in range(MAX_CHAIN):
        if newest.key.successor is None:
            return list(reversed(_back_from(rows, newest, now)))
        newest = must_get_key(rows, newest.key.successor, now)
    raise IntegrityError(f"the chain of key {key.key_id} does not end")


def _back_from(rows: Rows, newest: StoredKey, now: Instant) -> list[StoredKey]:
    chain = [newest]
    while chain[-1].key.predecessor is not None:
        if len(chain) > MAX_CHAIN:
            raise IntegrityError(f"the chain of key {newest.key.key_id} does not end")
        chain.append(must_get_key(rows, chain[-1].key.predecessor, now))
    return chain


def _agenda_day(key: ManagedKey) -> Owner:
    series, at = next_change(key)
    return agenda.day_owner(series.value, agenda.day_of(at), key.expires_at)


def _only(key_ids: list[str], argument: str) -> str:
    if len(key_ids) > 1:
        raise UsageError(f"'{argument}' names {len(key_ids)} keys", "name one of " + ", ".join(key_ids[:8]))
    return key_ids[0]


def origin_in_version_1(rows: Rows, key_id: str) -> dict[str, Any]:
    """Return `origin` and `origin_epoch` of a key as schema version 1 stores them, in a record beside the key's."""
    if rows.get(RecordKind.NODE, "receives") is None:
        return {}
    payload = rows.get(RecordKind.WITNESS, f"origin {key_id}")
    return {"origin": payload["issuer"], "origin_epoch": payload.get("epoch", 1)} if payload else {}


def _stored_key(rows: Rows, payload: dict[str, Any], now: Instant) -> StoredKey:
    key, wrapped = read_key_record(payload)
    if not rows.has_agenda:
        key = replace(key, **origin_in_version_1(rows, key.key_id))
    return StoredKey(key.at(now), wrapped)
