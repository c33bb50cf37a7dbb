"""Records that an operation was refused or failed, with the key, the model and the file that it was about."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tiktrue_keys.core.keys.keyring import find_key, get_key, head_ids
from tiktrue_keys.core.keystore.subject import Subject
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import parse_model_id
from tiktrue_keys.errors import ExpiredError, RefusedError, SecurityError, TikTrueKeysError


def record_failure(transaction: Transaction, event: str, error: TikTrueKeysError, subject: Subject) -> None:
    """Append the record. A key that the request names and the keystore does not know is in its detail as given."""
    key_id, model_id = _names(transaction, error, subject)
    detail: dict[str, Any] = {"error": error.code, "reason": error.message}
    if key_id is None and subject.keys:
        detail["keys"] = list(subject.keys)
    if len(subject.paths) == 1:
        detail["path"] = subject.paths[0]
    elif subject.paths:
        detail["paths"] = list(subject.paths)
    transaction.record(
        event,
        outcome="refused" if isinstance(error, RefusedError | SecurityError | ExpiredError) else "failed",
        key_id=key_id,
        model_id=model_id,
        detail=detail,
    )


def _names(transaction: Transaction, error: TikTrueKeysError, subject: Subject) -> tuple[str | None, str | None]:
    """Return the ids of the key and the model, each None where there is none or more than one."""
    rows, now = transaction.rows, transaction.now
    with suppress(TikTrueKeysError):  # an unknown or ambiguous name, or a damaged row: then the detail has the name
        if error.key_id is not None:
            stored = get_key(rows, error.key_id, now)
            return error.key_id, stored.key.model_id if stored else None
        if len(subject.keys) == 1:
            key = find_key(rows, subject.keys[0], now).key
            return key.key_id, key.model_id
    with suppress(TikTrueKeysError):
        for name in subject.models or subject.keys:
            if len(subject.models or subject.keys) == 1 and (subject.models or head_ids(rows, name)):
                return error.key_id, parse_model_id(name)
    return error.key_id, None
