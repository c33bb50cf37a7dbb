"""Seals, opens and hashes whole bodies in threads: reading, AES-GCM, BLAKE3 and writing overlap.

Each thread takes one segment at a time from the source to the sink, and reuses two buffers of its own. The
interpreter's lock is released in each of the four steps. Memory use is 2 segments for each thread, for any size of
model. A body of one segment is processed on the caller's thread, in buffers of its own size. `open_body` writes a
segment only after verifying its leaf (where leaves are known) and its tag.

Does not handle: header, trailer, signature, file names. System errors are raised as OSError.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.format.body import TAG_LENGTH, BodyCipher, Geometry
from tiktrue_keys.models.format.trailer import LEAF_LENGTH, Leaves, body_leaf
from tiktrue_keys.models.pipeline.buffers import page_buffer
from tiktrue_keys.models.pipeline.sinks import BodySink, Sink, StreamSink
from tiktrue_keys.models.pipeline.sources import Piece, Source
from tiktrue_keys.models.storage.readable import Readable, is_remote

THREADS = 2
REMOTE_THREADS = 6
"""Over a network a thread mostly waits for its segment. The threads take 12 MiB of buffers, and 6 MiB of answers."""
_REPORT_EVERY = 0.1  # seconds between two calls of `progress`
_GRACE = 1.0  # seconds for cancelled threads; one that hangs in a write to a full pipe is left behind

ProgressCallback = Callable[[int], None]
"""Called on the caller's own thread with the bytes of plaintext (for hash_body: of body) done so far."""


def threads_for(source: Readable) -> int:
    """Return the number of threads to read a source with."""
    return REMOTE_THREADS if is_remote(source) else THREADS


@dataclass(frozen=True)
class BodySummary:
    """The processed body: bytes of plaintext, number of segments, and their joined leaves (32 bytes each)."""

    length: int
    segments: int
    leaves: Leaves


def seal_body(
    source: Source,
    sink: BodySink,
    cipher: BodyCipher,
    geometry: Geometry,
    *,
    threads: int = THREADS,
    progress: ProgressCallback | None = None,
) -> BodySummary:
    """Seal all plaintext of `source` into `sink`, after the 40-byte body header; return the summary."""
    tally = _Tally()
    sink.preface(cipher.header.encode())

    def step(buffers: _Buffers, stop: threading.Event) -> int | None:
        piece = source.take(buffers.plain, stop)
        if piece is None:
            return None
        ciphertext = buffers.cipher[: piece.length + TAG_LENGTH]
        cipher.seal(piece.index, piece.last, buffers.plain[: piece.length], ciphertext)
        tally.add(piece, body_leaf(piece.index, ciphertext), piece.length)
        sink.put(piece.index, ciphertext, stop)
        return piece.length

    _Crew(step, source.only, geometry, threads, progress, sink.wake).run()
    return tally.summary()


def open_body(
    source: Source,
    sink: Sink,
    cipher: BodyCipher,
    geometry: Geometry,
    *,
    leaves: Leaves | None,
    threads: int = THREADS,
    progress: ProgressCallback | None = None,
) -> BodySummary:
    """Open the body of `source` and write its plaintext; return the summary.

    Each segment is compared with `leaves`. Without `leaves` only the tags are checked; the caller must then compare the
    root of the returned leaves before it gives the output its name. Raises IntegrityError when a segment was changed:
    none of its bytes are written, its buffer is zeroed, and for a stream the message says how many verified bytes were
    written before.
    """
    tally = _Tally()

    def step(buffers: _Buffers, stop: threading.Event) -> int | None:
        piece = source.take(buffers.cipher, stop)
        if piece is None:
            return None
        ciphertext = buffers.cipher[: piece.length]
        leaf = body_leaf(piece.index, ciphertext)
        check_leaf(leaves, piece.index, leaf)
        plaintext = buffers.plain[: piece.length - TAG_LENGTH]
        cipher.open(piece.index, piece.last, ciphertext, plaintext)
        tally.add(piece, leaf, len(plaintext))
        sink.put(piece.index, plaintext, stop)
        return len(plaintext)

    try:
        _Crew(step, source.only, geometry, threads, progress, sink.wake).run()
    except IntegrityError as error:
        if isinstance(sink, StreamSink):
            released = f"{error.message}; {sink.written} verified bytes before it were written already"
            raise IntegrityError(released, **error.advice) from error
        raise
    return tally.summary()


def hash_body(
    source: Source, geometry: Geometry, *, threads: int = THREADS, progress: ProgressCallback | None = None
) -> BodySummary:
    """Compute the leaves of a body, without a key; return the summary."""
    tally = _Tally()

    def step(buffers: _Buffers, stop: threading.Event) -> int | None:
        piece = source.take(buffers.cipher, stop)
        if piece is None:
            return None
        tally.add(piece, body_leaf(piece.index, buffers.cipher[: piece.length]), piece.length - TAG_LENGTH)
        return piece.length

    _Crew(step, source.only, geometry, threads, progress, lambda: None).run()
    return tally.summary()


def check_leaf(leaves: Leaves | None, index: int, leaf: bytes) -> None:
    """Raises IntegrityError unless `leaf` is the listed leaf of segment `index`. Does nothing without `leaves`."""
    if leaves is not None and not hmac.compare_digest(leaves[index * LEAF_LENGTH : (index + 1) * LEAF_LENGTH], leaf):
        raise IntegrityError(f"segment {index} of the encrypted body was changed", "restore the container from a copy")


class _Buffers:
    """One thread's plaintext and ciphertext buffers of `size` bytes each; the plaintext is zeroed at the end."""

    def __init__(self, size: int) -> None:
        both = page_buffer(2 * size)
        self.plain, self.cipher = both[:size], both[size:]

    def wipe(self) -> None:
        self.plain[:] = bytes(len(self.plain))


class _Tally:
    """Collects the threads' leaves, in any order, and counts segments and bytes."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._leaves = bytearray()
        self._length = 0
        self._segments = 0

    def add(self, piece: Piece, leaf: bytes, plain_length: int) -> None:
        at = piece.index * LEAF_LENGTH
        with self._guard:
            missing = at + LEAF_LENGTH - len(self._leaves)
            if missing > 0:
                self._leaves.extend(bytes(missing))
            self._leaves[at : at + LEAF_LENGTH] = leaf
            self._length += plain_length
            self._segments += 1

    def summary(self) -> BodySummary:
        return BodySummary(self._length, self._segments, self._leaves)


class _Crew:
    """Runs `step` in threads until each returned None; the first error stops all threads and is raised in the caller.

    The caller's thread only waits and reports, so that a KeyboardInterrupt never interrupts a write. Two threads take
    longer to start than a body of one segment (`only`: its length in bytes) takes to process: it gets none.
    """

    def __init__(
        self,
        step: Callable[[_Buffers, threading.Event], int | None],
        only: int | None,
        geometry: Geometry,
        threads: int,
        progress: ProgressCallback | None,
        wake: Callable[[], None],
    ) -> None:
        self._step = step
        self._alone = only is not None
        self._size = geometry.segment_size if only is None else only + TAG_LENGTH
        self._progress = progress
        self._wake = wake
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._done = 0
        self._error: BaseException | None = None
        count = 0 if self._alone else max(1, threads)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]

    def run(self) -> None:
        if self._alone:
            self._work()
            self._report()
        else:
            self._run_threads()
        if self._error is not None:
            raise self._error

    def _run_threads(self) -> None:
        try:
            for thread in self._threads:
                thread.start()
            for thread in self._threads:
                while thread.is_alive():
                    self._report()
                    thread.join(_REPORT_EVERY)
            self._report()
        except BaseException:
            self._halt()
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join(_GRACE)
            raise

    def _work(self) -> None:
        buffers = _Buffers(self._size)
        try:
            while not self._stop.is_set():
                done = self._step(buffers, self._stop)
                if done is None:
                    return
                with self._guard:
                    self._done += done
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller's thread raises it
            with self._guard:
                if self._error is None:
                    self._error = error
            self._halt()
        finally:
            buffers.wipe()

    def _halt(self) -> None:
        self._stop.set()
        self._wake()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self._done)
