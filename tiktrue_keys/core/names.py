"""The grammar of model ids, key ids and operation ids, and the reading of KEY arguments.

Come here to parse or create a name. The functions are pure and look nothing up.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from enum import Enum
from typing import NewType

from tiktrue_keys.errors import UsageError

ModelId = NewType("ModelId", str)
"""`[A-Za-z0-9][A-Za-z0-9._/:@-]{0,95}` without an empty part, `.` or `..` between slashes, not ending in `_` and 16 hex
digits.
"""

MAX_GENERATION = 2**31 - 1
"""The highest generation of a key."""

KeyId = NewType("KeyId", str)
"""`<model id>_<16 lower-case hex digits>`."""

OperationId = NewType("OperationId", str)
"""`[A-Za-z0-9][A-Za-z0-9._-]{0,63}`: names one operation; repeating it returns the first result."""

_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,95}")
_KEY_ID = re.compile(r"([A-Za-z0-9][A-Za-z0-9._/:@-]{0,95})_([0-9a-f]{16})")
_KEY_END = len("_0123456789abcdef")
_BAD_PARTS = frozenset({"", ".", ".."})
_KEY_SUFFIX = re.compile(r".*_[0-9a-fA-F]{16}")
_SHORT_ID = re.compile(r"[0-9a-f]{8}")
_OPERATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

SHORT_ID_LENGTH = 8
_MOST_SHOWN = 120


def parse_model_id(text: str) -> ModelId:
    """Return `text` as a model id. Raises UsageError that says what is wrong with it."""
    if _KEY_SUFFIX.fullmatch(text):
        raise UsageError(f"{_shown(text)} ends like a key id", "a model id must not end in _ and 16 hex digits")
    if not _MODEL_ID.fullmatch(text):
        raise UsageError(
            f"{_shown(text)} is not a model id",
            "1 to 96 of A-Z a-z 0-9 . _ / : @ -, starting with a letter or digit",
        )
    if not _has_good_parts(text):
        raise UsageError(f"{_shown(text)} is not a model id", "no part between slashes may be empty, . or ..")
    return ModelId(text)


def _has_good_parts(text: str) -> bool:
    """Return whether no part between slashes is empty, `.` or `..`: an id may become a path."""
    return _BAD_PARTS.isdisjoint(text.split("/"))


def new_key_id(model_id: ModelId) -> KeyId:
    """Return a new key id of the model with 64 random bits."""
    return KeyId(f"{model_id}_{secrets.token_hex(8)}")


def model_of(key_id: KeyId) -> ModelId:
    """Return the model id that a key id contains."""
    return ModelId(key_id[:-17])


def is_key_id(text: str) -> bool:
    """Return whether `text` is a valid key id."""
    try:
        return parse_key_argument(text).kind is KeyArgumentKind.KEY_ID
    except UsageError:
        return False


def short_of(key_id: KeyId) -> str:
    """Return the short id: the first 8 of the 16 hex digits of a key id."""
    return key_id[-16 : -16 + SHORT_ID_LENGTH]


def new_operation_id() -> OperationId:
    """Return a new operation id: 96 random bits in hex."""
    return OperationId(secrets.token_hex(12))


def parse_operation_id(text: str) -> OperationId:
    """Return `text` as an operation id. Raises UsageError when it is malformed."""
    if not _OPERATION_ID.fullmatch(text):
        raise UsageError(
            "the operation id is malformed", "1 to 64 of A-Z a-z 0-9 . _ -, starting with a letter or digit"
        )
    return OperationId(text)


class KeyArgumentKind(Enum):
    """The kinds of name that a KEY argument can be."""

    KEY_ID = "key-id"
    SHORT_OR_MODEL = "short-or-model"
    MODEL_ID = "model-id"


@dataclass(frozen=True)
class KeyArgument:
    """A KEY argument with its kind, before any look-up."""

    text: str
    kind: KeyArgumentKind


def parse_key_argument(text: str) -> KeyArgument:
    """Return what `text` is: a key id, a model id, or the first 8 of the 16 hex digits of a key id.

    Raises UsageError for anything else.
    """
    if _KEY_ID.fullmatch(text) and _has_good_parts(text[:-_KEY_END]):
        return KeyArgument(text, KeyArgumentKind.KEY_ID)
    if _SHORT_ID.fullmatch(text):
        return KeyArgument(text, KeyArgumentKind.SHORT_OR_MODEL)
    if _MODEL_ID.fullmatch(text) and _has_good_parts(text):
        return KeyArgument(text, KeyArgumentKind.MODEL_ID)
    raise UsageError(
        f"{_shown(text)} is not a key", "give a key id, a model id, or the first 8 hex digits of a key id's last part"
    )


def _shown(text: str) -> str:
    """Return foreign text for an error message: quoted, without control characters, truncated."""
    return ascii(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "...")
