"""Sends requests about objects to a storage service through fsspec, and translates its errors.

Every error of the storage or its package becomes one of ours. It names the URL and the kind of failure, but not the
original text, which may contain a signed request. Credentials come from the storage's own environment and
configuration. fsspec is imported when the first URL is used.

Does not handle: writing models (storage/upload.py); timeouts, which are part of the storage's own configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import BusyError, NotFoundError, RefusedError, TikTrueKeysError, UnavailableError, UsageError
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.output_identity import object_identity

_CONDITIONAL = frozenset({"s3", "s3a"})
"""Schemes whose storage compares before it replaces an object (If-Match) or makes one (If-None-Match)."""
_SETUP = "check the storage's own configuration of credentials and address, for example AWS_ACCESS_KEY_ID"
_SMALL = 128 << 10
_AROUND = 32 << 10  # enough for the last 200 bytes of a container and the leaves of a GiB
_MODIFIED = ("LastModified", "last_modified", "updated", "mtime", "modified")


def file_system(url: Url) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the object's path in it.

    Raises UsageError for a scheme unknown to fsspec, UnavailableError when a package is missing.
    """
    try:
        from fsspec.core import url_to_fs
        from fsspec.registry import available_protocols, known_implementations
    except ImportError:
        words = "object storage needs the package fsspec, which is not installed"
        raise UnavailableError(words, "pip install 'tiktrue-keys[remote]'") from None
    if url.scheme not in available_protocols():
        raise UsageError(
            f"the URL scheme {url.scheme}:// is unknown", "use a scheme of fsspec, for example s3, gs or abfs"
        )
    try:
        with storage_errors("the storage", url):
            system, path = url_to_fs(str(url))
    except UnavailableError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        hint = str(known_implementations.get(url.scheme, {}).get("err", "see the documentation of fsspec"))
        words = f"{url.scheme}:// needs a package that is not installed"
        raise UnavailableError(words, hint[:1].lower() + hint[1:].rstrip(".")) from None
    return system, path


@contextmanager
def storage_errors(what: str, url: Url) -> Iterator[None]:
    """Translate every error of the block into one of ours that names `what` and the URL."""
    try:
        yield
    except TikTrueKeysError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError(f"{what} {shown(str(url))} does not exist") from error
    except FileExistsError as error:
        raise RefusedError(
            f"{what} {shown(str(url))} exists already",
            "pass force=True, or choose another name",
            remedy="output-exists",
        ) from error
    except IsADirectoryError as error:
        raise RefusedError(f"{what} {shown(str(url))} is a folder", "give one object") from error
    except PermissionError as error:
        raise UnavailableError(f"{what} {shown(str(url))}: the storage denies access", _SETUP) from error
    except NotImplementedError as error:  # fsspec's base class raises it for an operation that a storage does not offer
        raise UnavailableError(f"{what} {shown(str(url))}: this storage cannot do that") from error
    except Exception as error:  # a storage's package may raise anything, and a traceback does not help
        kind = type(error).__name__
        raise UnavailableError(f"{what} {shown(str(url))} cannot be reached: {kind}", _SETUP) from error


class RemoteObject:
    """One object, readable at any offset from any number of threads.

    Each read is one request. Small reads near each other share a request: a container's header and trailer take two.
    `size` is the size at the first lookup. An answer of the wrong length raises UnavailableError, so that a broken
    connection never looks like a shorter object. A replaced object is not detected here: a container's tree detects it,
    and `stamp` does for other objects.
    """

    def __init__(self, url: Url, what: str) -> None:
        self.url = url
        self._what = what
        self._system, self._path = file_system(url)
        found = self._looked_up()
        self.size = int(found["size"])
        self._near = (0, b"")

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` from `offset`; return the number of bytes read, fewer only at the end."""
        wanted = min(len(view), self.size - offset)
        if wanted <= 0:
            return 0
        if wanted > _SMALL:
            view[:wanted] = self._read(offset, offset + wanted)
            return wanted
        start, data = self._near
        if not start <= offset <= offset + wanted <= start + len(data):
            start = max(0, offset - _AROUND)
            data = self._read(start, min(self.size, offset + wanted + _AROUND))
            self._near = (start, data)
        view[:wanted] = data[offset - start : offset - start + wanted]
        return wanted

    def _read(self, start: int, end: int) -> bytes:
        with storage_errors(self._what, self.url):
            data = bytes(self._system.cat_file(self._path, start=start, end=end))
        if len(data) != end - start:
            words = f"{self._what} {shown(str(self.url))} was cut off in transit, or changed while it was read"
            raise UnavailableError(words, "try again")
        return data

    def stamp(self) -> object:
        """Return the object's current identity: size, and version, entity tag or times if the storage has them."""
        return object_identity(self._looked_up())

    def _looked_up(self) -> dict[str, Any]:
        found = _info(self._system, self._path, self._what, self.url)
        if found is None:
            raise NotFoundError(f"{self._what} {shown(str(self.url))} does not exist")
        if found.get("type") != "file":
            raise RefusedError(f"{self._what} {shown(str(self.url))} is a folder", "give one object")
        if not isinstance(found.get("size"), int):
            raise UnavailableError(f"the storage does not report the size of {shown(str(self.url))}")
        return found


def look_up(url: Url, what: str) -> dict[str, Any] | None:
    """Return the storage's metadata of an object, `size` and more; None when it does not exist."""
    system, path = file_system(url)
    return _info(system, path, what, url)


def modified(found: dict[str, Any]) -> int:
    """Return the Unix time in seconds of the last change, from look_up's metadata; 0 when it is not given."""
    for name in _MODIFIED:
        value = found.get(name)
        if isinstance(value, datetime):
            return int(value.timestamp())
        if isinstance(value, (int, float)):
            return int(value)
    return 0


def read_small(url: Url, limit: int, what: str) -> bytes | None:
    """Return the first `limit` bytes of an object, in one request; None when it does not exist."""
    system, path = file_system(url)
    try:
        with storage_errors(what, url):
            return bytes(system.cat_file(path, start=0, end=limit)[:limit])
    except NotFoundError:
        return None


class SmallObject:
    """A small object, or its absence, as found at construction. `write` replaces it only if it is unchanged."""

    def __init__(self, url: Url, what: str) -> None:
        self._url, self._what = url, what
        self._system, self._path = file_system(url)
        self._before = _info(self._system, self._path, what, url)

    def read(self, limit: int) -> bytes | None:
        """Return its first `limit` bytes; None when it does not exist."""
        return None if self._before is None else read_small(self._url, limit, self._what)

    def write(self, data: bytes) -> None:
        """Replace or create it. Raises BusyError when another process has changed it since it was looked up.

        S3 compares and writes in one request. Elsewhere the object is looked up again just before the write, so of two
        simultaneous writers the later one wins.
        """
        if self._url.scheme in _CONDITIONAL:
            self._write_if_unchanged(data)
            return
        now = _info(self._system, self._path, self._what, self._url)
        if object_identity(now) != object_identity(self._before):
            raise self._busy()
        with storage_errors(self._what, self._url):
            self._system.pipe_file(self._path, data)

    def _write_if_unchanged(self, data: bytes) -> None:
        condition = {"IfNoneMatch": "*"} if self._before is None else {"IfMatch": self._before["ETag"]}
        try:
            with storage_errors(self._what, self._url):
                self._system.pipe_file(self._path, data, **condition)
        except RefusedError:  # s3fs: FileExistsError, when If-None-Match did not hold
            raise self._busy() from None
        except TikTrueKeysError as error:
            if _status(error.__cause__) in (409, 412):
                raise self._busy() from None
            raise

    def _busy(self) -> BusyError:
        return BusyError(f"another process has changed {self._what} {shown(str(self._url))}", "try again")


def remove_object(url: Url, what: str) -> None:
    """Remove an object; does nothing when it does not exist."""
    system, path = file_system(url)
    try:
        with storage_errors(what, url):
            system.rm_file(path)
    except NotFoundError:
        return


def discard_uploads(url: Url, since: float) -> None:
    """Abort the incomplete multipart uploads of an object that began at or after `since` (Unix time); S3 only.

    A killed process leaves such uploads, and they are billed until they are aborted.
    """
    if url.scheme not in _CONDITIONAL:
        return
    system, path = file_system(url)
    with storage_errors("the storage", url):
        bucket, name, _ = system.split_path(path)
        found = system.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=name)
        for upload in found.get("Uploads", ()):
            if upload["Key"] == name and upload["Initiated"].timestamp() >= since:
                system.abort_mpu(bucket, name, upload["UploadId"])


def objects_below(prefix: Url) -> list[Url]:
    """Return every object below the prefix, sorted. Raises NotFoundError when the prefix does not exist."""
    system, path = file_system(prefix)
    with storage_errors("the folder", prefix):
        system.invalidate_cache()
        found = system.find(path)
    root = path.rstrip("/") + "/"
    names = sorted(str(name) for name in found)
    if not names and _info(system, path, "the folder", prefix) is None:
        raise NotFoundError(f"there is no object at {shown(str(prefix))}")
    return [prefix / name.removeprefix(root) for name in names if name.startswith(root)]


def _info(system: Any, path: str, what: str, url: Url) -> dict[str, Any] | None:
    try:
        with storage_errors(what, url):
            system.invalidate_cache(path)
            return dict(system.info(path))
    except NotFoundError:
        return None


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status of the botocore error behind `error`, None without one."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return status if isinstance(status, int) else None
        error = error.__cause__
    return None
