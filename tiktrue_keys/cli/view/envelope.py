"""The JSON envelope `tiktrue-keys/1`: one object for every command, success or failure. It may only grow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from tiktrue_keys import __version__
from tiktrue_keys.cli.view.hints import hint_of, message_of
from tiktrue_keys.cli.view.outcome import OnDemand
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import TikTrueKeysError

SCHEMA = "tiktrue-keys/1"
_ITEMS_AT_ONCE = 256
_dumps = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(", ", ": ")).encode


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
        "warnings": OnDemand(lambda: map(_warning_json, warnings))
        if isinstance(warnings, OnDemand)
        else [_warning_json(each) for each in warnings],
    }


def _warning_json(warning: Notice) -> dict[str, Any]:
    return {"code": warning.code, "message": message_of(warning), "key_id": warning.key_id}


def error_json(error: TikTrueKeysError) -> dict[str, Any]:
    """Return an error as the envelope and the items of a batch hold it."""
    return {"code": error.code, "message": error.message, "hint": hint_of(error) or None, "key_id": error.key_id}


def encoded(value: Mapping[str, Any]) -> str:
    """Return one line of ASCII; bytes that are not Unicode and terminal controls stay escaped."""
    return "".join(pieces(value))


def pieces(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield the line of `encoded` in pieces: lists that are made on demand are never whole in memory."""
    yield from _pieces(value)
    yield "\n"


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, OnDemand):
        yield from _pieces_of_list(iter(value))
    elif isinstance(value, Mapping) and value:
        lead = "{"
        for name, member in value.items():
            yield f"{lead}{_dumps(name)}: "
            yield from _pieces(member)
            lead = ", "
        yield "}"
    else:
        yield _dumps(value)


def _pieces_of_list(items: Iterator[Any]) -> Iterator[str]:
    lead = "["
    while batch := list(islice(items, _ITEMS_AT_ONCE)):
        yield lead + _dumps(batch)[1:-1]
        lead = ", "
    yield "]" if lead == ", " else "[]"
