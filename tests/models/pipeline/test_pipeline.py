from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.models.containers import (
    EDGES,
    FIRST,
    ISSUER,
    NEXT,
    SEGMENT,
    SMALL,
    Sample,
    header,
    make_sample,
    open_file,
    pattern,
)
from tests.waiting import PATIENCE, wait_until
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, InternalError, RefusedError, UnavailableError
from tiktrue_keys.models.container.container import check_authorship, read_front
from tiktrue_keys.models.container.seal import SealedContainer, seal_container
from tiktrue_keys.models.container.unseal import open_container, open_stream
from tiktrue_keys.models.format.body import BodyCipher, BodyHeader, Geometry
from tiktrue_keys.models.format.header_slots import HEADER_SIZE
from tiktrue_keys.models.format.trailer import body_leaf
from tiktrue_keys.models.pipeline.pipeline import hash_body, open_body, seal_body
from tiktrue_keys.models.pipeline.sinks import ContainerFileSink, PlainFileSink, StreamSink
from tiktrue_keys.models.pipeline.sources import BodyStream, Piece, PlainFile, PlainStream

GEOMETRY = Geometry(SEGMENT)


class Pipe:
    """A pipe whose far end is served by a thread."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self._threads: list[threading.Thread] = []
        self.received = bytearray()

    def feed(self, data: bytes, *, piece: int = 1 << 16) -> int:
        def run() -> None:
            try:
                for at in range(0, len(data), piece):
                    os.write(self.write_end, data[at : at + piece])
            except BrokenPipeError:
                pass
            os.close(self.write_end)

        self._start(run)
        return self.read_end

    def drain(self) -> int:
        def run() -> None:
            while chunk := os.read(self.read_end, 1 << 16):
                self.received += chunk

        self._start(run)
        return self.write_end

    def finish(self, end: int) -> bytes:
        os.close(end)
        for thread in self._threads:
            thread.join()
        if end != self.read_end:
            os.close(self.read_end)
        return bytes(self.received)

    def _start(self, run: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=run))
        self._threads[0].start()


@pytest.fixture
def no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def seal_through_pipes(
    plaintext: bytes, data_key: SecretBuffer, *, piece: int = 1 << 16
) -> tuple[bytes, SealedContainer]:
    inlet, outlet = Pipe(), Pipe()
    source, target = inlet.feed(plaintext, piece=piece), outlet.drain()
    sealed = seal_container(source, StreamSink(target), header(), data_key.view, signer=ISSUER.signer)
    inlet.finish(source)
    return outlet.finish(target), sealed


def open_through_pipes(container: bytes, data_key: SecretBuffer, *, piece: int = 1 << 16) -> bytes:
    inlet, outlet = Pipe(), Pipe()
    source, target = inlet.feed(container, piece=piece), outlet.drain()
    try:
        front = read_front(source, segment_sizes=SMALL)
        front.authenticate(data_key.view)
        open_stream(
            source,
            front,
            StreamSink(target),
            data_key.view,
            authorship=lambda trailer: check_authorship(front.header, front.body, trailer, issuers=[ISSUER.public]),
        )
    finally:
        inlet.finish(source)
        opened = outlet.finish(target)
    return opened


@pytest.mark.parametrize("length", EDGES)
def test_file_to_file_and_back(tmp_path: Path, length: int) -> None:
    sample = make_sample(tmp_path, pattern(length))
    assert sample.path.stat().st_size == sample.sealed.size
    assert sample.container().header.length == sample.container().length == length
    assert open_file(sample.path, sample.data_key) == sample.plaintext


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
@pytest.mark.parametrize("length", EDGES)
def test_pipe_to_pipe_and_back(length: int, piece: int) -> None:
    data_key = SecretBuffer.random()
    container, sealed = seal_through_pipes(pattern(length), data_key, piece=piece)
    assert len(container) == sealed.size == HEADER_SIZE + GEOMETRY.body_length(length) + 200
    assert sealed.header.length is None
    assert open_through_pipes(container, data_key, piece=max(piece, 4096)) == pattern(length)


@pytest.mark.parametrize("length", EDGES)
def test_what_went_through_pipes_opens_as_a_file(tmp_path: Path, length: int) -> None:
    data_key = SecretBuffer.random()
    container, _ = seal_through_pipes(pattern(length), data_key)
    (tmp_path / "c.ttm").write_bytes(container)
    assert open_file(tmp_path / "c.ttm", data_key) == pattern(length)


@pytest.mark.parametrize("length", EDGES)
def test_a_file_container_arrives_by_pipe(tmp_path: Path, length: int) -> None:
    sample = make_sample(tmp_path, pattern(length))
    assert open_through_pipes(sample.bytes(), sample.data_key) == sample.plaintext


def test_a_file_sealed_into_a_pipe_has_its_length_in_the_header(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, through_pipe=True)
    assert (sample.container().header.length, sample.container().trailer.leaves) == (200, None)
    assert open_file(sample.path, sample.data_key) == sample.plaintext
    assert open_through_pipes(sample.bytes(), sample.data_key) == sample.plaintext


def test_a_source_file_is_sealed_from_its_position_on(tmp_path: Path) -> None:
    data_key = SecretBuffer.random()
    (tmp_path / "plain").write_bytes(pattern(300))
    source, target = os.open(tmp_path / "plain", os.O_RDONLY), os.open(tmp_path / "c.ttm", os.O_RDWR | os.O_CREAT)
    os.lseek(source, 100, os.SEEK_SET)
    seal_container(source, target, header(), data_key.view, signer=ISSUER.signer)
    os.close(source)
    os.close(target)
    assert open_file(tmp_path / "c.ttm", data_key) == pattern(300)[100:]


@pytest.mark.parametrize("already", [0, 1, FIRST, FIRST + 1, FIRST + NEXT + 3, 299, 300])
def test_what_was_read_of_a_pipe_before_is_sealed_too(tmp_path: Path, already: int) -> None:
    data_key, inlet = SecretBuffer.random(), Pipe()
    source, target = inlet.feed(pattern(300)[already:]), os.open(tmp_path / "c.ttm", os.O_RDWR | os.O_CREAT)
    seal_container(
        source,
        target,
        header(),
        data_key.view,
        signer=ISSUER.signer,
        already=pattern(300)[:already],
    )
    inlet.finish(source)
    os.close(target)
    assert open_file(tmp_path / "c.ttm", data_key) == pattern(300)


def test_a_header_of_another_length_is_a_bug(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"12345")
    source, target = os.open(tmp_path / "plain", os.O_RDONLY), os.open(tmp_path / "c.ttm", os.O_RDWR | os.O_CREAT)
    with pytest.raises(InternalError, match="another length"):
        seal_container(source, StreamSink(target), header(length=4), memoryview(bytes(32)), signer=None)
    os.close(source)
    os.close(target)


def test_progress_counts_every_byte_of_plaintext_on_the_callers_thread(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    (tmp_path / "plain").write_bytes(pattern(1000))
    source, target = os.open(tmp_path / "plain", os.O_RDONLY), os.open(tmp_path / "c.ttm", os.O_RDWR | os.O_CREAT)
    seal_container(
        source,
        target,
        header(),
        memoryview(bytes(32)),
        signer=None,
        progress=lambda done: seen.append((done, threading.get_ident())),
    )
    os.close(source)
    os.close(target)
    assert seen[-1] == (1000, threading.get_ident())
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


# Failures


def test_a_container_of_unknown_length_cut_anywhere_is_refused() -> None:
    data_key = SecretBuffer.random()
    container, _ = seal_through_pipes(pattern(200), data_key)
    for length in range(HEADER_SIZE + 41, len(container), 3):
        with pytest.raises(IntegrityError):
            open_through_pipes(container[:length], data_key)
    with pytest.raises(IntegrityError, match="cut off"):
        open_through_pipes(container[: HEADER_SIZE + 60], data_key)


def test_a_container_of_unknown_length_with_something_appended_is_refused() -> None:
    data_key = SecretBuffer.random()
    container, _ = seal_through_pipes(pattern(200), data_key)
    for extra in (b"x", bytes(64), bytes(200), container[-200:]):
        with pytest.raises(IntegrityError):
            open_through_pipes(container + extra, data_key)


def damaged(sample: Sample, index: int) -> bytes:
    data = bytearray(sample.bytes())
    data[sample.segment_range(index).start + 3] ^= 1
    return bytes(data)


@pytest.mark.parametrize("index", [0, 1, 2, 4])
def test_a_pipe_gets_exactly_the_verified_bytes_and_the_error_counts_them(tmp_path: Path, index: int) -> None:
    sample = make_sample(tmp_path)
    verified = GEOMETRY.plain_offset(index)
    data, outlet = damaged(sample, index), Pipe()
    sample.path.write_bytes(data)
    container, fd, target = sample.container(), os.open(sample.path, os.O_RDONLY), outlet.drain()
    with pytest.raises(IntegrityError, match=f"segment {index} .*; {verified} verified bytes"):
        open_container(fd, container, StreamSink(target), sample.data_key.view, threads=1)
    assert outlet.finish(target) == sample.plaintext[:verified]
    os.close(fd)


def test_with_more_threads_a_pipe_gets_no_more_than_the_verified_bytes(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    sample.path.write_bytes(damaged(sample, 2))
    for _ in range(30):
        outlet = Pipe()
        container, fd, target = sample.container(), os.open(sample.path, os.O_RDONLY), outlet.drain()
        with pytest.raises(IntegrityError) as caught:
            open_container(fd, container, StreamSink(target), sample.data_key.view, threads=4)
        received = outlet.finish(target)
        assert sample.plaintext[: GEOMETRY.plain_offset(2)].startswith(received)
        assert f"; {len(received)} verified bytes" in caught.value.message
        os.close(fd)


def test_a_container_from_a_pipe_with_a_forged_segment_gives_nothing_to_a_pipe(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, through_pipe=True)
    sample.path.write_bytes(damaged(sample, 4))
    outlet = Pipe()
    container, fd, target = sample.container(), os.open(sample.path, os.O_RDONLY), outlet.drain()
    with pytest.raises(IntegrityError, match="not the one that was signed"):
        open_container(fd, container, StreamSink(target), sample.data_key.view)
    assert outlet.finish(target) == b""
    os.close(fd)


class Failing:
    """A sink that fails at one segment, as a full disk does."""

    def __init__(self, at: int, error: BaseException) -> None:
        self.at, self.error, self.put_after = at, error, 0
        self.failed = False

    def preface(self, data: bytes) -> None:
        pass

    def put(self, index: int, view: memoryview, stop: threading.Event) -> None:
        self.put_after += self.failed
        if index == self.at:
            self.failed = True
            raise self.error

    def wake(self) -> None:
        pass


@pytest.mark.usefixtures("no_thread_stays")
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), MemoryError(), SystemExit(1)])
def test_the_first_error_stops_all_threads_and_is_raised_once(error: BaseException) -> None:
    fd = os.memfd_create("plain")
    os.write(fd, pattern(100_000))
    cipher = BodyCipher(memoryview(bytes(32)), bytes(16), BodyHeader.fresh())
    sink = Failing(5, error)
    with pytest.raises(type(error)) as caught:
        seal_body(PlainFile(fd, GEOMETRY, 100_000), sink, cipher, GEOMETRY, threads=4)
    assert caught.value is error
    assert sink.put_after < 100
    os.close(fd)


class Listening:
    """A sink that notes which threads write."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def preface(self, data: bytes) -> None:
        pass

    def put(self, index: int, view: memoryview, stop: threading.Event) -> None:
        self.threads.add(threading.get_ident())

    def wake(self) -> None:
        pass


@pytest.mark.parametrize(("length", "own"), [(0, True), (FIRST, True), (FIRST + 1, False)])
def test_a_body_of_one_segment_is_sealed_on_the_callers_thread(length: int, own: bool) -> None:
    fd, sink = os.memfd_create("plain"), Listening()
    os.write(fd, pattern(length))
    cipher = BodyCipher(memoryview(bytes(32)), bytes(16), BodyHeader.fresh())
    seal_body(PlainFile(fd, GEOMETRY, length), sink, cipher, GEOMETRY, threads=2)
    os.close(fd)
    assert (sink.threads == {threading.get_ident()}) is own


class Slow:
    """A source without end."""

    only = None

    def take(self, view: memoryview, stop: threading.Event) -> Piece | None:
        time.sleep(0.01)
        return None if stop.is_set() else Piece(0, False, 4)


@pytest.mark.usefixtures("no_thread_stays")
def test_an_interrupt_on_the_callers_thread_stops_the_others() -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hash_body(Slow(), GEOMETRY, progress=interrupt)


@pytest.mark.timeout(PATIENCE)
@pytest.mark.usefixtures("no_thread_stays")
def test_an_interrupt_does_not_wait_for_an_idle_pipe() -> None:
    read_end, write_end = os.pipe()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hash_body(BodyStream(read_end, GEOMETRY), GEOMETRY, progress=interrupt)
    os.close(read_end)
    os.close(write_end)


@pytest.mark.timeout(PATIENCE)
def test_an_interrupt_does_not_wait_for_a_pipe_that_nobody_reads() -> None:
    threads = threading.active_count()
    read_end, write_end = os.pipe()
    fd = os.memfd_create("plain")
    os.ftruncate(fd, 8 << 20)
    geometry = Geometry()
    cipher = BodyCipher(memoryview(bytes(32)), bytes(16), BodyHeader.fresh())

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seal_body(PlainFile(fd, geometry, 8 << 20), StreamSink(write_end), cipher, geometry, progress=interrupt)
    os.close(read_end)
    wait_until(lambda: threading.active_count() == threads)
    os.close(write_end)
    os.close(fd)


@pytest.mark.usefixtures("no_thread_stays")
def test_a_reader_that_goes_away_is_a_broken_pipe() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    fd = os.memfd_create("plain")
    os.write(fd, pattern(1000))
    with pytest.raises(BrokenPipeError):
        seal_container(fd, StreamSink(write_end), header(), memoryview(bytes(32)), signer=None)
    os.close(write_end)
    os.close(fd)


@pytest.mark.parametrize("size", [0, 10, 999])
def test_a_source_that_becomes_shorter_is_an_error(size: int) -> None:
    fd, out = os.memfd_create("plain"), os.memfd_create("out")
    os.write(fd, pattern(1000))
    source = PlainFile(fd, GEOMETRY, 1000)
    os.ftruncate(fd, size)
    cipher = BodyCipher(memoryview(bytes(32)), bytes(16), BodyHeader.fresh())
    with pytest.raises(UnavailableError, match="shrank"):
        seal_body(source, ContainerFileSink(out, GEOMETRY), cipher, GEOMETRY)
    os.close(fd)
    os.close(out)


def test_a_source_that_becomes_longer_is_an_error() -> None:
    fd, out = os.memfd_create("plain"), os.memfd_create("out")
    os.write(fd, pattern(1000))
    os.lseek(fd, 0, os.SEEK_SET)
    with pytest.raises(UnavailableError, match="grew"):
        seal_container(
            fd,
            out,
            header(),
            memoryview(bytes(32)),
            signer=None,
            progress=lambda _: os.ftruncate(fd, 1001),
        )
    os.close(fd)
    os.close(out)


def test_a_source_of_more_segments_than_the_format_allows_is_refused() -> None:
    with pytest.raises(RefusedError, match="larger than 2 TiB"):
        PlainFile(0, Geometry(), 1 << 42)


def test_a_pipe_that_is_not_read_by_blocking_is_waited_for() -> None:
    inlet, outlet = Pipe(), Pipe()
    os.set_blocking(inlet.read_end, False)
    os.set_blocking(outlet.write_end, False)
    source, target = inlet.feed(pattern(500_000)), outlet.drain()
    geometry = Geometry(4096)
    key = BodyCipher(memoryview(bytes(32)), bytes(16), BodyHeader.fresh())
    summary = seal_body(PlainStream(source, geometry), StreamSink(target), key, geometry)
    inlet.finish(source)
    body = outlet.finish(target)
    assert (summary.length, len(body)) == (500_000, geometry.body_length(500_000))
    assert body[:40] == key.header.encode()


def test_who_waits_for_a_turn_writes_nothing_once_stopped() -> None:
    read_end, write_end = os.pipe()
    sink, stop = StreamSink(write_end), threading.Event()
    waiting = threading.Thread(target=sink.put, args=(5, memoryview(b"later"), stop))
    waiting.start()
    stop.set()
    sink.wake()
    waiting.join()
    assert sink.written == 0
    sink.put(0, memoryview(b"first"), threading.Event())
    assert os.read(read_end, 100) == b"first"
    os.close(read_end)
    os.close(write_end)


def test_leaves_are_those_of_the_segments_in_order(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    data = sample.bytes()
    expected = b"".join(body_leaf(index, data[sample.segment_range(index)]) for index in range(5))
    assert sample.container().trailer.leaves == expected
    fd = os.open(sample.path, os.O_RDONLY)
    assert hash_body(sample.container().source(fd), GEOMETRY).leaves == expected
    os.close(fd)


def test_a_leaf_is_compared_before_anything_is_decrypted(tmp_path: Path) -> None:
    """With right tags and wrong leaves (a forged segment by a holder of the data key) nothing is written."""
    sample = make_sample(tmp_path)
    container, fd, out = sample.container(), os.open(sample.path, os.O_RDONLY), os.memfd_create("out")
    with pytest.raises(IntegrityError, match=r"segment \d of the encrypted body was changed$"):
        open_body(
            container.source(fd),
            PlainFileSink(out, GEOMETRY),
            container.cipher(sample.data_key.view),
            GEOMETRY,
            leaves=bytes(160),
        )
    assert os.fstat(out).st_size == 0
    os.close(fd)
    os.close(out)


MEMORY_PROBE = """
import os, re, sys
from tests.models.containers import header
from tiktrue_keys.models.container.container import read_container
from tiktrue_keys.models.container.unseal import open_container
from tiktrue_keys.models.container.seal import seal_container
key = memoryview(bytes(32))
plain, out, back = (os.open(path, os.O_RDWR | os.O_CREAT) for path in sys.argv[1:4])
os.ftruncate(plain, 256 << 20)
seal_container(plain, out, header(segment_size=1 << 20), key, signer=None)
open_container(out, read_container(out), back, key)
print(re.search("VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())[1])
"""


def test_a_quarter_of_a_gigabyte_passes_through_less_than_64_mib(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("plain", "sealed", "back")]
    root = Path(__file__).parents[3]
    result = subprocess.run(
        [sys.executable, "-c", MEMORY_PROBE, *paths], cwd=root, check=True, capture_output=True, text=True
    )
    assert int(result.stdout) < 64 * 1024
    assert os.stat(paths[2]).st_size == 256 << 20
