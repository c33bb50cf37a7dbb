"""The JSON envelope `tiktrue-keys/1`: one object for every command, success or failure. It may only grow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tiktrue_keys import __version__
from tiktrue_keys.cli.view.hints import hint_of, message_of
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import TikTrueKeysError

SCHEMA = "tiktrue-keys/1"


def envelope(
    *,
    command: str,
    keystore: str | None,
    result: Mapping[str, Any] | None = None,
    changed: bool = False,
    operation_id: str | None = None,
    error: TikTrueKeysError | None = None,
    exit_code: int | None = None,
    warnings: Iterable[Notice] = (),
) -> dict[str, Any]:
    """Return the envelope. It may hold both `result` and `error`; with `exit_code` None the error's code is used."""
    code = exit_code if exit_code is not None else 0 if error is None else error.exit_code
    return {
        "schema": SCHEMA,
        "version": __version__,
        "command": command,
        "ok": code == 0,
        "exit": code,
        "changed": changed,
        "operation_id": operation_id,
        "keystore": keystore,
        "result": result,
        "error": None if error is None else error_json(error),
        "warnings": [{"code": each.code, "message": message_of(each), "key_id": each.key_id} for each in warnings],
    }


def error_json(error: TikTrueKeysError) -> dict[str, Any]:
    """Return an error as the envelope and the items of a batch hold it."""
    return {"code": error.code, "message": error.message, "hint": hint_of(error) or None, "key_id": error.key_id}


def encoded(value: Mapping[str, Any]) -> str:
    """Return one line of ASCII; bytes that are not Unicode and terminal controls stay escaped."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(", ", ": ")) + "\n"
