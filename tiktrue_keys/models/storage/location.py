"""The location of a model or a container: a local path, or the URL of an object in a storage service.

Any text with `scheme://` is a URL; `file://` and `local://` URLs become paths. Other URLs never become a Path, which
would merge two slashes into one. A URL is recorded and shown as given, so a URL that may hold a secret is refused here.

Does not handle: the meaning of a scheme, or access to the storage (storage/protocol.py).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import RefusedError, UsageError
from tiktrue_keys.models.format.header import SUFFIX

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_CHAINED = re.compile(r"(?:[A-Za-z0-9+.-]+::)+[A-Za-z][A-Za-z0-9+.-]*://")
_LOCAL = ("file", "local")
_MAX_LENGTH = 4096
_CREDENTIALS = "put credentials into the storage's own environment or configuration, never into the URL"


@dataclass(frozen=True)
class Url:
    """One object, or a prefix of many. `rest` is the text after `scheme://`."""

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.rest}"

    @property
    def name(self) -> str:
        """Return the part after the last slash."""
        return self.rest.rpartition("/")[2]

    @property
    def storage(self) -> str:
        """Return the scheme and first part (the bucket), which is reachable or unreachable as a whole."""
        return f"{self.scheme}://{self.rest.partition('/')[0]}"

    def with_name(self, name: str) -> Url:
        """Return the object of that name beside this one."""
        before, slash, _ = self.rest.rpartition("/")
        return Url(self.scheme, before + slash + name)

    def absolute(self) -> Url:
        """Return this URL: it does not depend on the working folder. Mirrors Path.absolute."""
        return self

    def __truediv__(self, relative: str) -> Url:
        """Return the object `relative` below this prefix; "" gives the prefix itself, with a trailing slash."""
        return Url(self.scheme, f"{self.rest.rstrip('/')}/{relative}")


Place = Path | Url


@dataclass(frozen=True)
class Stream:
    """Standard input or output, or another open binary file. It has no name and is read or written once, in order."""

    file: BinaryIO

    def descriptor(self, what: str) -> int:
        """Return its file descriptor. Raises UsageError when it has none (a BytesIO)."""
        try:
            return self.file.fileno()
        except (OSError, AttributeError):
            raise UsageError(f"{what} has no file descriptor", "give a path, or standard input or output") from None

    def flushed(self, what: str) -> int:
        """Flush the file's buffer and return its file descriptor, to write to."""
        fd = self.descriptor(what)
        self.file.flush()
        return fd


Location = Place | Stream
"""A source or destination of an operation on a model."""


def is_url(text: str) -> bool:
    """Return whether `text` is taken for a URL."""
    return _URL.match(text) is not None or _CHAINED.match(text) is not None


def parse_place(given: str | PathLike[str] | Url) -> Place:
    """Return the path or URL that `given` names.

    Raises UsageError for a URL with credentials or a query, and for a chained or malformed URL.
    """
    if isinstance(given, Url):
        return given
    text = os.fspath(given)
    if isinstance(given, str) and is_url(text):
        return _parse_url(text)
    return Path(given)


def object_place(given: str | PathLike[str] | Url) -> Place:
    """Return the path or URL of one file or object. Raises UsageError for a URL that ends with a slash."""
    place = parse_place(given)
    if isinstance(place, Url) and not place.name:
        raise UsageError(
            f"{shown(str(place))} names a folder in object storage", "give one object, or its files one by one"
        )
    return place


def parse_location(given: str | PathLike[str] | Url | BinaryIO) -> Location:
    """Return the path or URL of one file or object; an open binary file becomes a Stream."""
    return object_place(given) if isinstance(given, (str, PathLike, Url)) else Stream(given)


def default_destination(source: Location) -> Place:
    """Return FILE.ttm beside FILE. Raises UsageError for a stream."""
    if isinstance(source, Stream):
        raise UsageError(
            "no output name can be derived from standard input", "pass a destination", remedy="name-output"
        )
    return source.with_name(source.name + SUFFIX)


def plaintext_destination(source: Location) -> Path:
    """Return FILE for FILE.ttm. Raises UsageError for any other name, for a stream and for an object.

    An object needs an explicit destination, so that plaintext is never written to a storage by default.
    """
    if isinstance(source, Url):
        raise UsageError(
            "a model in object storage has no default destination", "pass a destination", remedy="name-output"
        )
    if not isinstance(source, Path) or source.suffix != SUFFIX or not source.stem:
        raise UsageError(
            f"the output's name can be derived only from FILE{SUFFIX}", "pass a destination", remedy="name-output"
        )
    return source.with_suffix("")


def local_path(given: str | PathLike[str] | Url, what: str) -> Path:
    """Return `given` as a local path. Raises UsageError for a URL."""
    place = parse_place(given)
    if isinstance(place, Url):
        raise UsageError(f"{what} cannot be in object storage", "give a local path")
    return place


def asked_place(place: str | PathLike[str] | Url | Stream | BinaryIO | None) -> str:
    """A place as a request names it, whatever its bytes: absolute, or the URL; `-` for a stream, empty for none."""
    if place is None:
        return ""
    if not isinstance(place, (str, PathLike, Url)):
        return "-"
    parsed = parse_place(place)
    return str(parsed) if isinstance(parsed, Url) else os.path.abspath(parsed)


def _parse_url(text: str) -> Place:
    if "::" in text.partition("://")[0]:
        raise UsageError("chained URLs are not supported", "give the URL of the object itself; it is never cached")
    found = _URL.match(text)
    assert found is not None, "is_url said so"
    scheme, rest = found[1].lower(), found[2]
    # Do not repeat any part of a refused URL: it may hold a password.
    if ":" in rest.partition("/")[0].rpartition("@")[0]:
        raise UsageError("the URL contains a user or a password", _CREDENTIALS)
    if "?" in rest:
        raise UsageError("the URL has a query, which may hold a signature or a token", _CREDENTIALS)
    if len(text) > _MAX_LENGTH or not text.isprintable() or not rest.strip("/"):
        raise UsageError(f"the {scheme}:// URL is empty, too long, or contains control characters")
    if scheme not in _LOCAL:
        return Url(scheme, rest)
    if not rest.startswith("/"):
        raise UsageError(f"a {scheme}:// URL has an absolute path", f"{scheme}:///folder/name")
    return Path(unquote(rest))


def recorded_path(path: str | PathLike[str] | Url) -> str:
    """Return the absolute path, or the URL, as it is recorded. Raises RefusedError when it is not valid UTF-8."""
    place = parse_place(path)
    if isinstance(place, Url):
        return str(place)
    text = os.fspath(Path(os.path.abspath(place)))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise RefusedError(f"the path {shown(place)} is not valid UTF-8", "rename the file or its folder") from None
    return text
