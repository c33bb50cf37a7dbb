"""Reads the members of a canonical JSON object strictly. Come here to add a format of that kind, or a type of member.

    members = Members.parse(data, limit=MAX_CARD, what="the card")
    name, key = members.text("name", 64), members.hexadecimal("key", 32)
    members.done()

Every method raises IntegrityError, which names what was read and the member at fault. A length is checked before
anything of that length is made. Each accepted value has one spelling, so what was read encodes to the same bytes again.

Does not handle: rules that concern several members, and signatures.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from enum import Enum
from typing import Any, TypeVar

from tiktrue_keys.core.canonical import MAX_INTEGER, parse_canonical
from tiktrue_keys.core.instants import Instant, parse_instant, rfc3339
from tiktrue_keys.errors import NO_ADVICE, Advice, IntegrityError, UsageError

_Choice = TypeVar("_Choice", bound=Enum)
_MAX_DECIMAL = 20
"""Characters of the longest whole number of 64 bits, its sign included."""


class OtherVersionError(IntegrityError):
    """Another version of tiktrue-keys wrote the object. The message says which side to upgrade."""


class Members:
    """The members of one object. `what` names it in errors, `advice` says how to mend it."""

    __slots__ = ("_advice", "_read", "_value", "_what")

    def __init__(self, value: dict[str, Any], what: str, advice: Advice = NO_ADVICE) -> None:
        self._value = value
        self._what = what
        self._advice = advice
        self._read: set[str] = set()

    @classmethod
    def parse(cls, data: bytes, *, limit: int, what: str, advice: Advice = NO_ADVICE) -> Members:
        """The members of the object in `data`, which is canonical JSON of at most `limit` bytes."""
        try:
            return cls(parse_canonical(data, limit=limit, what=what), what, advice)
        except IntegrityError as error:
            raise IntegrityError(error.message, **advice) from error

    def has(self, name: str) -> bool:
        """Whether there is such a member: for objects of which there are two kinds."""
        return name in self._value

    def text(self, name: str, limit: int = 256) -> str:
        """A printable text of at most `limit` characters."""
        value = self.any_text(name, limit)
        if not value.isprintable():
            raise self.malformed(name)
        return value

    def any_text(self, name: str, limit: int = 256) -> str:
        """A text of at most `limit` characters; which ones it may have is for the caller to check."""
        value = self._member(name)
        if not isinstance(value, str) or len(value) > limit:
            raise self.malformed(name)
        return value

    def choice(self, name: str, choices: type[_Choice]) -> _Choice:
        """One of the values of an enumeration of texts."""
        try:
            return choices(self.any_text(name))
        except ValueError:
            raise self.malformed(name) from None

    def whole(self, name: str, least: int = 0, most: int = MAX_INTEGER) -> int:
        """A whole number from `least` to `most`."""
        value = self._member(name)
        if type(value) is not int or not least <= value <= most:
            raise self.malformed(name)
        return value

    def whole_or_none(self, name: str) -> int | None:
        """A whole number from 0 on, or null."""
        return None if self._member(name) is None else self.whole(name)

    def decimal(self, name: str) -> int:
        """A whole number of up to 64 bits that is written as a text, because JSON's numbers have 53."""
        value = self.any_text(name, _MAX_DECIMAL)
        if not value.removeprefix("-").isdecimal() or str(int(value)) != value:
            raise self.malformed(name)
        return int(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._member(name)
        if not isinstance(value, bool):
            raise self.malformed(name)
        return value

    def instant(self, name: str) -> Instant:
        """An instant as RFC 3339 writes it in UTC, with whole seconds."""
        value = self.any_text(name)
        try:
            found = parse_instant(value)
        except UsageError:
            raise self.malformed(name) from None
        if rfc3339(found) != value:
            raise self.malformed(name)
        return found

    def hexadecimal(self, name: str, length: int) -> bytes:
        """`length` bytes in lower-case hex."""
        value = self._member(name)
        if not isinstance(value, str) or len(value) != 2 * length:
            raise self.malformed(name)
        try:
            data = bytes.fromhex(value)
        except ValueError:
            raise self.malformed(name) from None
        if data.hex() != value:
            raise self.malformed(name)
        return data

    def octets(self, name: str, length: int | None = None, *, limit: int = 0) -> bytes:
        """Bytes in base64 (RFC 4648 section 4) of one spelling: exactly `length`, or at most `limit`."""
        return self._decoded(name, self._member(name), length, limit)

    def hashes(self, name: str, most: int) -> list[bytes]:
        """A list of at most `most` hashes of 32 bytes, in base64."""
        return [self._decoded(name, each, 32, 0) for each in self._items(name, most)]

    def objects(self, name: str, most: int) -> Iterator[Members]:
        """The members of each object of a list of at most `most`; `done` is to be called of each."""
        return (self._inside(each, name) for each in self._items(name, most))

    def inner(self, name: str) -> Members:
        """The members of an object inside; `done` is to be called of it too."""
        return self._inside(self._member(name), name)

    def inner_or_none(self, name: str) -> Members | None:
        """The members of an object inside, or None for null; `done` is to be called of it too."""
        return None if self._member(name) is None else self.inner(name)

    def raw(self, name: str) -> dict[str, Any]:
        """An object inside, as it is."""
        value = self._member(name)
        if not isinstance(value, dict):
            raise self.malformed(name)
        return value

    def form(self, expected: str) -> None:
        """Reads `type`, which must be `expected`. The error for another version of it says which side to upgrade."""
        found = self.text("type", 64)
        if found == expected:
            return
        (name, _, version), (kind, _, other) = expected.rpartition("/"), found.rpartition("/")
        if kind != name or not (other.isascii() and other.isdigit()):
            raise IntegrityError(f"{self._what} is of another type", **self._advice)
        side = "where it comes from" if int(other) < int(version) else "here"
        words = f"{self._what} has version {other}, this program reads version {version}: upgrade tiktrue-keys {side}"
        raise OtherVersionError(words, **self._advice)

    def version(self, expected: int) -> None:
        """Reads `version`, which must be `expected`."""
        found = self.whole("version")
        if found != expected:
            raise IntegrityError(f"{self._what} has version {found}", f"this program reads version {expected}")

    def done(self) -> None:
        """Raises for a member that was not read."""
        if self._value.keys() != self._read:
            raise IntegrityError(f"{self._what} has members that do not belong there", **self._advice)

    def without(self, name: str) -> dict[str, Any]:
        """Every member but this one, as they are: what a signature in that member is over."""
        return {each: value for each, value in self._value.items() if each != name}

    def malformed(self, name: str) -> IntegrityError:
        """The error of a member that breaks a rule of its format."""
        return IntegrityError(f"{self._what} has a malformed {name}", **self._advice)

    def _member(self, name: str) -> Any:
        if name not in self._value:
            raise IntegrityError(f"{self._what} has no {name}", **self._advice)
        self._read.add(name)
        return self._value[name]

    def _items(self, name: str, most: int) -> list[Any]:
        value = self._member(name)
        if not isinstance(value, list) or len(value) > most:
            raise self.malformed(name)
        return value

    def _inside(self, value: Any, name: str) -> Members:
        if not isinstance(value, dict):
            raise self.malformed(name)
        return Members(value, f"{self._what}'s {name}", self._advice)

    def _decoded(self, name: str, value: Any, length: int | None, limit: int) -> bytes:
        most = limit if length is None else length
        if not isinstance(value, str) or len(value) > 4 * (most + 2) // 3 + 4:
            raise self.malformed(name)
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise self.malformed(name) from None
        if len(data) > most or (length is not None and len(data) != length) or encoded(data) != value:
            raise self.malformed(name)
        return data


def encoded(data: bytes) -> str:
    """Base64 as `octets` reads it."""
    return base64.b64encode(data).decode("ascii")
