"""Parses the PKCS#11 URI that names a token (RFC 7512).

Come here for which attributes count. The attributes that would name a module or a PIN are refused: the module has a
setting of its own, and a PIN does not belong in a configuration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from tiktrue_keys.errors import UsageError

_ATTRIBUTES = ("token", "manufacturer", "model", "serial", "slot-id")
_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*")
_LIMIT = 1024
_SCHEME = "pkcs11:"


@dataclass(frozen=True)
class TokenUri:
    """What a token has to match: attributes of RFC 7512 by name, decoded."""

    attributes: tuple[tuple[str, str], ...]

    def matches(self, facts: dict[str, str]) -> bool:
        """Return whether a token with these facts is the one that is named."""
        return all(facts.get(name) == value for name, value in self.attributes)


def parse_token_uri(text: str) -> TokenUri:
    """Return the attributes of `pkcs11:token=...;serial=...`. Raises UsageError for what does not name a token."""
    if len(text) > _LIMIT or not text.startswith(_SCHEME):
        raise UsageError("the token is not a PKCS#11 URI", "write it like pkcs11:token=LABEL")
    path, question, _ = text.removeprefix(_SCHEME).partition("?")
    if question:
        raise UsageError(
            "a PKCS#11 URI with a query is not accepted: it could name a module or a PIN",
            "leave out everything from the question mark on; use module and pin_file",
        )
    pairs = [_pair(part) for part in path.split(";") if part]
    names = [name for name, _ in pairs]
    if not pairs or len(set(names)) != len(names):
        raise UsageError("the PKCS#11 URI names no token, or an attribute twice", "write it like pkcs11:token=LABEL")
    return TokenUri(tuple(sorted(pairs)))


def _pair(part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if name not in _ATTRIBUTES or not equals:
        raise UsageError(
            f"'{name[:32]}' is not an attribute that names a token", "use token, manufacturer, model, serial or slot-id"
        )
    if not value or not _VALUE.fullmatch(value):
        raise UsageError(f"the value of '{name}' is not written as RFC 7512 asks", "write other characters like %20")
    try:
        return name, unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"the value of '{name}' is not UTF-8", "write the label as the token has it") from None
