"""Opens a container's segments for readers, caches the last ones, and reads ahead.

An LRU cache of opened segments serves small reads. A read that covers whole segments opens them directly into the
caller's buffer, several at once. Sequential reads trigger read-ahead. Each segment's leaf is verified before its tag; a
segment that fails leaves no plaintext in any buffer.

Does not handle: file positions (container/model_file.py); keys, authorship and audit, which the caller does first.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.container.container import Container
from tiktrue_keys.models.format.header_slots import HEADER_SIZE
from tiktrue_keys.models.format.trailer import Leaves, body_leaf
from tiktrue_keys.models.pipeline.buffers import page_buffer
from tiktrue_keys.models.pipeline.pipeline import check_leaf, threads_for
from tiktrue_keys.models.storage.readable import Readable, let_go, pread_into


@dataclass(eq=False)
class _Opened:
    """One opened segment. Its buffer is not reused while it is pinned."""

    buffer: memoryview
    pins: int = 0
    evicted: bool = False


class OpenedSegments:
    """A thread-safe cache of opened segments, with read-ahead."""

    def __init__(
        self,
        fd: Readable,
        container: Container,
        data_key: memoryview,
        leaves: Leaves,
        check: Callable[[], None] | None,
        cached: int,
        read_ahead: int,
    ) -> None:
        self.decrypted = 0
        self._fd = fd
        self._geometry = container.geometry
        self._length = container.length
        self._count = container.trailer.segments
        self._cipher = container.cipher(data_key)
        self._leaves = leaves
        self._check = check
        self._room = cached
        self._ahead = read_ahead
        self._opened: OrderedDict[int, _Opened] = OrderedDict()
        self._free: list[memoryview] = []
        self._ciphertexts: list[memoryview] = []
        self._last_index = -2
        self._closed = False
        self._start_afresh()

    def read(self, view: memoryview, offset: int) -> None:
        """Fill `view` with the plaintext at `offset`; the caller keeps it within the length.

        Raises IntegrityError when a segment was changed, ValueError after `close`.
        """
        if os.getpid() != self._process:
            self._start_afresh()
        with self._guard:
            if self._closed:
                raise ValueError("the model file is closed")
            self._readers += 1
        try:
            self._read(view, offset)
        finally:
            with self._guard:
                self._readers -= 1
                self._guard.notify_all()

    def close(self) -> None:
        """Wait for readers, zero all plaintext buffers, close the container."""
        if os.getpid() != self._process:
            self._start_afresh()
        with self._guard:
            self._closed = True
            self._guard.wait_for(lambda: self._readers == 0)
        if self._workers is not None:
            self._workers.shutdown(wait=True, cancel_futures=True)
        for buffer in [*self._free, *(opened.buffer for opened in self._opened.values())]:
            buffer[:] = bytes(len(buffer))
        self._opened.clear()
        self._free.clear()
        let_go(self._fd)

    def _start_afresh(self) -> None:
        """Reset all threading state: at the start, and in a forked child, which inherits locks but no threads.

        Do not fork while another thread is inside a read: the child may get a half-changed LRU.
        """
        self._process = os.getpid()
        self._guard = threading.Condition()
        self._under_way: dict[int, Future[None]] = {}
        self._readers = 0
        self._workers: ThreadPoolExecutor | None = None

    def _read(self, view: memoryview, offset: int) -> None:
        end = offset + len(view)
        first, last = self._geometry.index_at(offset), self._geometry.index_at(end - 1)
        direct: list[Future[None]] = []
        if last > first and self._is_partial(last, end):
            self._begin(last)  # while this thread opens the first one
        try:
            for index in range(first, last + 1):
                segment = self._geometry.segment(index, self._length)
                start, stop = max(offset, segment.plain_offset), min(end, segment.plain_offset + segment.plain_length)
                part = view[start - offset : stop - offset]
                if len(part) == segment.plain_length and not self._is_near(index):
                    self._ask()
                    # This thread opens the last segment itself: a single whole segment has nothing to overlap with.
                    if index == last:
                        self._open_into(index, part)
                    else:
                        direct.append(self._pool().submit(self._open_into, index, part))
                else:
                    self._copy(index, start - segment.plain_offset, part)
        finally:
            wait(direct)  # they write to the caller's buffer, so none may outlive this call
        for future in direct:
            future.result()
        self._look_ahead(first, last)

    def _is_partial(self, index: int, end: int) -> bool:
        segment = self._geometry.segment(index, self._length)
        return end < segment.plain_offset + segment.plain_length

    def _copy(self, index: int, start: int, part: memoryview) -> None:
        opened = self._pinned(index)
        try:
            part[:] = opened.buffer[start : start + len(part)]
        finally:
            self._unpin(opened)

    def _pinned(self, index: int) -> _Opened:
        while True:
            with self._guard:
                opened = self._opened.get(index)
                if opened is not None:
                    self._opened.move_to_end(index)
                    opened.pins += 1
                    return opened
                waiting = self._under_way.get(index)
                if waiting is None:
                    mine: Future[None] = Future()
                    self._under_way[index] = mine
            if waiting is None:
                self._load(index, mine, self._check)
            else:
                waiting.exception()  # ignored: if the other reader's attempt failed, this one tries itself

    def _load(self, index: int, future: Future[None], check: Callable[[], None] | None) -> None:
        """Open a segment into the LRU; `future`, already in `_under_way`, wakes the readers that wait for it."""
        opened: _Opened | None = None
        try:
            if check is not None:
                check()
            buffer = self._buffer(self._free)
            self._open_into(index, buffer[: self._geometry.segment(index, self._length).plain_length])
            opened = _Opened(buffer)
        finally:
            self._settle(index, opened)
            future.set_result(None)

    def _settle(self, index: int, opened: _Opened | None) -> None:
        with self._guard:
            del self._under_way[index]
            if opened is not None:
                self._opened[index] = opened
            while len(self._opened) > self._room:
                _, old = self._opened.popitem(last=False)
                old.evicted = True
                self._recycle(old)

    def _unpin(self, opened: _Opened) -> None:
        with self._guard:
            opened.pins -= 1
            self._recycle(opened)

    def _recycle(self, opened: _Opened) -> None:
        if opened.evicted and opened.pins == 0:
            self._free.append(opened.buffer)

    def _open_into(self, index: int, plaintext: memoryview) -> None:
        segment = self._geometry.segment(index, self._length)
        buffer = self._buffer(self._ciphertexts)
        try:
            ciphertext = buffer[: segment.body_length]
            if pread_into(self._fd, ciphertext, HEADER_SIZE + segment.body_offset) != segment.body_length:
                raise IntegrityError("the container was cut off", "restore the container from a copy")
            check_leaf(self._leaves, index, body_leaf(index, ciphertext))
            self._cipher.open(index, segment.last, ciphertext, plaintext)
        finally:
            with self._guard:
                self._ciphertexts.append(buffer)
                self.decrypted += segment.plain_length

    def _look_ahead(self, first: int, last: int) -> None:
        """Start opening the next segments when this read continued where the previous one ended."""
        with self._guard:
            forward = first in (self._last_index, self._last_index + 1) and last > self._last_index
            self._last_index = last
            if not forward or self._closed:
                return
            wanted = [
                index
                for index in range(last + 1, min(last + 1 + self._ahead, self._count))
                if index not in self._opened and index not in self._under_way
            ]
        for index in wanted:
            self._begin(index)

    def _begin(self, index: int) -> None:
        """Have a worker thread open a segment into the LRU, unless it is there or in progress."""
        if self._is_near(index):
            return
        self._ask()
        with self._guard:
            if self._is_near(index):
                return
            future: Future[None] = Future()
            self._under_way[index] = future
        self._pool().submit(self._load, index, future, None)

    def _is_near(self, index: int) -> bool:
        with self._guard:
            return index in self._opened or index in self._under_way

    def _ask(self) -> None:
        if self._check is not None:
            self._check()

    def _buffer(self, pool: list[memoryview]) -> memoryview:
        with self._guard:
            if pool:
                return pool.pop()
        return page_buffer(self._geometry.segment_size)

    def _pool(self) -> ThreadPoolExecutor:
        with self._guard:
            if self._workers is None:
                self._workers = ThreadPoolExecutor(threads_for(self._fd), thread_name_prefix="model-reader")
            return self._workers
