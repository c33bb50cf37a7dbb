"""Answers of an etcd member, read as those of a stranger: a limit on bytes and time, then strict types.

Come here for what counts as an answer of etcd. Raises MemberError for what a member says instead, so that the next
member is asked; it is an OSError as the failures of a connection are.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from requests import Response

LONGEST_ANSWER = 4 << 20
_LONGEST_TEXT = 4096
_OK = 200
_CHUNK = 1 << 16
_SECONDS = 30.0  # for a whole answer; the timeout of a connection is for each of its parts
_REVISIONS = 1 << 63
_DIGITS = re.compile(r"[0-9]{1,19}")
_NOT_ETCD = "the answer is not one of etcd"


class MemberError(OSError):
    """A member refused the request, or answered as etcd does not."""


class TooLongError(MemberError):
    """The answer is longer than LONGEST_ANSWER. That to a smaller request may not be."""


def read_answer(response: Response) -> dict[str, Any]:
    """Return the object that a member answered, which has a header with a revision. Raises MemberError."""
    must_be_ok(response)
    data = _bytes_of(response, LONGEST_ANSWER)
    try:
        said = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise MemberError(_NOT_ETCD) from None
    revision_of(said)
    answer: dict[str, Any] = said
    return answer


def must_be_ok(response: Response) -> None:
    """Raise MemberError, with what the member says, for another status than 200 and for a body that is compressed."""
    coded = response.headers.get("Content-Encoding", "identity") != "identity"
    if coded or response.status_code != _OK:
        text = b"" if coded else _bytes_of(response, _LONGEST_TEXT, cut=True)
        raise MemberError(text.decode("utf-8", "replace").strip() or f"HTTP status {response.status_code}")


def pieces_of(response: Response, end: float) -> Iterator[bytes]:
    """Yield the body's bytes as they arrive. Raises MemberError at `end` (time.monotonic), however few they were."""
    from urllib3.exceptions import HTTPError

    try:
        while piece := response.raw.read1(_CHUNK, decode_content=False):
            yield piece
            if time.monotonic() >= end:
                raise MemberError("timed out")
    except HTTPError as error:
        raise MemberError(str(error)) from error


def revision_of(said: Any) -> int:
    """Return the revision in an answer's header."""
    value = _object(_object(said).get("header")).get("revision")
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _REVISIONS:
        raise MemberError(_NOT_ETCD)
    return value


def token_of(said: dict[str, Any]) -> str:
    """Return the token of an authentication."""
    token = said.get("token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise MemberError("the answer to the authentication has no token")
    return token


def succeeded(said: dict[str, Any]) -> bool:
    """Return whether the comparison of a transaction held."""
    value = said.get("succeeded", False)
    if not isinstance(value, bool):
        raise MemberError(_NOT_ETCD)
    return value


def pairs_of(said: dict[str, Any], first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
    """Return at most `limit` keys with their values, which ascend within [first, end)."""
    found = said.get("kvs", [])
    if not isinstance(found, list) or len(found) > limit:
        raise MemberError(_NOT_ETCD)
    pairs = [(_octets(_object(each).get("key")), _octets(each.get("value", ""))) for each in found]
    keys = [key for key, _ in pairs]
    if keys != sorted(set(keys)) or (keys and not (first <= keys[0] and keys[-1] < end)):
        raise MemberError(_NOT_ETCD)
    return pairs


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MemberError(_NOT_ETCD)
    return value


def _octets(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise MemberError(_NOT_ETCD) from None


def _bytes_of(response: Response, limit: int, *, cut: bool = False) -> bytes:
    """Return the body. One that is longer than `limit` is cut, or raises TooLongError."""
    data = bytearray()
    for piece in pieces_of(response, time.monotonic() + _SECONDS):
        data += piece
        if len(data) > limit:
            if cut:
                break
            raise TooLongError(f"an answer of more than {limit} bytes")
    return bytes(data[:limit])
