"""Writes a new object to a storage service in order; `commit` makes all of it visible, otherwise nothing remains.

Object stores take an upload in parts and show the object when the last request completes it; `commit` sends that
request. Elsewhere the object is written under a temporary name and renamed. An aborted upload leaves no object and no
billed parts. A killed process leaves at most an incomplete upload, which readers cannot see. The next command aborts it
(settle/interrupted.py), or the storage does (S3: a lifecycle rule for incomplete uploads).
"""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from typing import Any

from tiktrue_keys.core.system_errors import shown
from tiktrue_keys.errors import NotFoundError, RefusedError, TikTrueKeysError, UnavailableError
from tiktrue_keys.models.storage.in_order import InOrder
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.object_requests import file_system, look_up, remove_object, storage_errors

WHAT = "the output"
_COMPLETED_AT_ONCE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
"""Schemes of object stores, where an upload is invisible until it is completed."""
_EXCLUSIVE = frozenset({"s3", "s3a"})
"""Schemes where completing an upload can be made to fail when the object exists (If-None-Match)."""
_PART = 5 << 20
_MOST_PARTS = 10_000  # the limit of S3; with an unknown length, the part size grows to stay below it
_PARTS_OF_ONE_SIZE = 1000
_GRACE = 60.0  # seconds to wait for the request in progress when the upload is aborted


class Upload(InOrder):
    """A context manager and an ordered sink of the pipeline; without `commit` nothing remains.

    `size` is the number of bytes to come, None when unknown. `temporary` is the object's name until `commit` where the
    storage would show a partial object, else None; it is fixed at construction. `may_exist` is true from the request
    to complete the object until an answer says that it failed.
    """

    def __init__(self, url: Url, *, replace: bool, size: int | None = None) -> None:
        super().__init__()
        self.url = url
        self.replace = replace
        self.may_exist = False
        self.committed = False
        self._system, self._path = file_system(url)
        at_once = url.scheme in _COMPLETED_AT_ONCE
        name = f".{url.name}.{secrets.token_hex(4)}.tmp"
        self.temporary = None if at_once else url.with_name(name)
        self.size = size
        self._file: Any = None
        self._busy = threading.Lock()

    def __enter__(self) -> Upload:
        path, mode = self._path, "wb"
        if self.temporary is not None:
            path = file_system(self.temporary)[1]
        elif not self.replace and self.url.scheme in _EXCLUSIVE:
            mode = "xb"
        part = max(_PART, -(-(self.size or 0) // (_MOST_PARTS - 1)))
        with storage_errors(WHAT, self.url):
            self._file = self._system.open(path, mode, block_size=part, autocommit=self.temporary is not None)
            with suppress(AttributeError, ValueError):  # fsspec lists it for a transaction that was never begun
                self._system.transaction.files.remove(self._file)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.committed:
            self._abort()

    def commit(self) -> None:
        """Complete the object. Raises RefusedError when an object exists there and `replace` is false."""
        if not self.replace and look_up(self.url, WHAT) is not None:
            raise RefusedError(
                f"{WHAT} {shown(str(self.url))} exists already",
                "pass force=True, or choose another name",
                remedy="output-exists",
            )
        with self._busy:
            self.may_exist = True
            try:
                with storage_errors(WHAT, self.url):
                    self._complete()
            except RefusedError:
                self.may_exist = False
                raise
            self.committed = True

    def _complete(self) -> None:
        self._file.close()
        if self.temporary is None:
            self._file.commit()
            return
        path = file_system(self.temporary)[1]
        if self._system.info(path)["size"] != self.written:
            raise UnavailableError(f"{WHAT} {shown(str(self.url))} did not arrive whole", "try again")
        self._system.mv(path, self._path)

    def _send(self, view: memoryview, stop: threading.Event) -> None:
        with self._busy, storage_errors(WHAT, self.url):
            if self._file is None or stop.is_set():
                return
            self._file.write(view)
            if self.size is None and self.temporary is None:
                self._file.blocksize = _PART * (1 + self.written // (_PART * _PARTS_OF_ONE_SIZE))
        self.written += len(view)

    def _abort(self) -> None:
        # A cancelled thread may be sending a part: wait for it, then abort the whole upload.
        waited = self._busy.acquire(timeout=_GRACE)
        file, self._file = self._file, None
        try:
            with suppress(NotFoundError, UnavailableError), storage_errors(WHAT, self.url):
                file.discard() if self.temporary is None else file.close()
                self.may_exist = False
            file.closed = True  # otherwise its __del__ would resume the aborted upload
        except AttributeError:
            pass  # another kind of file, without this member
        finally:
            if waited:
                self._busy.release()
        if self.temporary is not None:
            with suppress(TikTrueKeysError):
                remove_object(self.temporary, WHAT)
