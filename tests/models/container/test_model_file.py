from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.containers import FIRST, NEXT, SMALL, Sample, make_sample, pattern
from tests.waiting import PATIENCE, wait_until
from tiktrue_keys.errors import IntegrityError, RevokedError
from tiktrue_keys.models.container.container import known_leaves, read_container
from tiktrue_keys.models.container.model_file import ModelFile
from tiktrue_keys.models.container.segments import OpenedSegments

LENGTH = 5_000


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("reader"), pattern(LENGTH))


def opened(
    sample: Sample, *, check: Callable[[], None] | None = None, cached: int = 8, read_ahead: int = 3
) -> ModelFile:
    fd = os.open(sample.path, os.O_RDONLY)
    container = read_container(fd, segment_sizes=SMALL)
    return ModelFile(
        fd,
        container,
        sample.data_key.view,
        leaves=known_leaves(fd, container),
        check=check,
        cached=cached,
        read_ahead=read_ahead,
    )


@pytest.fixture
def model(sample: Sample) -> Iterator[ModelFile]:
    with opened(sample) as file:
        yield file


def test_all_of_it_is_the_plaintext(model: ModelFile, sample: Sample) -> None:
    assert model.read() == sample.plaintext
    assert model.read() == b""
    assert model.length == LENGTH


@pytest.mark.parametrize("step", [1, 7, NEXT, NEXT + 1, 200, 4999, 5001])
def test_pieces_of_any_size_make_the_whole(model: ModelFile, sample: Sample, step: int) -> None:
    pieces = []
    while piece := model.read(step):
        pieces.append(piece)
    assert b"".join(pieces) == sample.plaintext
    assert model.bytes_decrypted == LENGTH


@given(st.lists(st.tuples(st.integers(0, LENGTH + 50), st.integers(0, 400)), max_size=30))
def test_any_reads_anywhere_give_what_a_file_would(sample: Sample, reads: list[tuple[int, int]]) -> None:
    with opened(sample) as file:
        for offset, size in reads:
            assert file.seek(offset) == offset
            assert file.read(size) == sample.plaintext[offset : offset + size]


def test_an_empty_model_is_empty(tmp_path: Path) -> None:
    with opened(make_sample(tmp_path, b"")) as file:
        assert (file.read(), file.read(5), file.readinto(bytearray(3)), file.seek(0, os.SEEK_END)) == (b"", b"", 0, 0)


def test_it_is_a_file_to_the_standard_library(model: ModelFile, sample: Sample) -> None:
    assert model.readable()
    assert model.seekable()
    assert not model.writable()
    with io.BufferedReader(model, 100) as buffered:
        assert buffered.read(10) == sample.plaintext[:10]
        assert buffered.peek(4)[:4] == sample.plaintext[10:14]
        assert buffered.seek(-5, os.SEEK_END) == LENGTH - 5
        assert buffered.read() == sample.plaintext[-5:]
    assert model.closed


def test_positions_move_as_in_a_file(model: ModelFile) -> None:
    assert [model.seek(10), model.seek(5, os.SEEK_CUR), model.seek(-1, os.SEEK_END), model.tell()] == [
        10,
        15,
        LENGTH - 1,
        LENGTH - 1,
    ]
    assert model.seek(LENGTH + 10) == LENGTH + 10
    assert model.read(1) == b""
    for bad in ((-1, os.SEEK_SET), (-LENGTH - 1, os.SEEK_END), (0, 9)):
        with pytest.raises(ValueError, match=r"before the start|whence"):
            model.seek(*bad)
    with pytest.raises(ValueError, match="before the start"):
        model.readinto_at(bytearray(1), -1)


def test_other_buffers_than_bytes_are_filled(model: ModelFile, sample: Sample) -> None:
    import array

    words = array.array("H", [0] * 100)
    assert model.readinto_at(words, 50) == 200
    assert words.tobytes() == sample.plaintext[50:250]
    assert model.tell() == 0


def test_a_forward_read_opens_each_segment_once(sample: Sample) -> None:
    with opened(sample, cached=5) as file:
        total = 0
        while got := file.read(13):
            total += len(got)
        assert total == file.bytes_decrypted == LENGTH


def test_a_forward_read_finds_the_next_segments_opened(sample: Sample) -> None:
    with opened(sample, read_ahead=3) as file:
        file.read(1)
        assert file.bytes_decrypted == 8
        file.read(8)
        wait_until(lambda: file.bytes_decrypted == 8 + 4 * NEXT)


def test_scattered_reads_open_nothing_ahead(sample: Sample) -> None:
    with opened(sample) as file:
        for index in (50, 10, 30, 70, 20):
            file.readinto_at(bytearray(4), index * NEXT + 10)
        threading.Event().wait(0.05)
        assert file.bytes_decrypted == 5 * NEXT


def test_the_last_segments_are_kept_and_older_ones_are_not(sample: Sample) -> None:
    with opened(sample, cached=5, read_ahead=0) as file:
        for index in (10, 20, 30, 40, 50, 10, 50):
            file.readinto_at(bytearray(4), index * NEXT + 10)
        assert file.bytes_decrypted == 5 * NEXT
        file.readinto_at(bytearray(4), 60 * NEXT + 10)
        file.readinto_at(bytearray(4), 20 * NEXT + 10)
        assert file.bytes_decrypted == 7 * NEXT


def test_the_check_is_asked_at_each_miss_and_forbids_the_next_segment(sample: Sample) -> None:
    revoked = False
    asked: list[int] = []

    def check() -> None:
        asked.append(threading.get_ident())
        if revoked:
            raise RevokedError("the key was revoked")

    with opened(sample, check=check, read_ahead=0) as file:
        file.readinto_at(bytearray(4), 10)
        file.readinto_at(bytearray(4), 12)
        assert asked == [threading.get_ident()]
        file.readinto_at(bytearray(5 * NEXT), 10)
        before = file.bytes_decrypted
        assert len(asked) >= 6
        revoked = True
        for offset, size in ((2_000, 4), (2_000, 5 * NEXT)):
            with pytest.raises(RevokedError):
                file.readinto_at(bytearray(size), offset)
        assert file.bytes_decrypted == before


@pytest.fixture
def damaged(tmp_path: Path) -> Sample:
    bad = make_sample(tmp_path, pattern(LENGTH))
    data = bytearray(bad.bytes())
    data[bad.segment_range(20).start + 5] ^= 1
    bad.path.write_bytes(data)
    return bad


@pytest.mark.parametrize("size", [4, 30 * NEXT])
def test_a_changed_segment_gives_nothing_of_itself(damaged: Sample, size: int) -> None:
    segment = damaged.container().geometry.segment(20, LENGTH)
    start = segment.plain_offset if size == 4 else segment.plain_offset - 10 * NEXT
    with opened(damaged) as file:
        buffer = bytearray(size)
        for _ in range(2):
            with pytest.raises(IntegrityError, match="segment 20 "):
                file.readinto_at(buffer, start)
        at = segment.plain_offset - start
        assert not any(buffer[at : at + segment.plain_length])


@pytest.mark.parametrize("before", [4, NEXT - 1, NEXT])
def test_of_two_segments_the_changed_second_one_gives_nothing_of_itself(damaged: Sample, before: int) -> None:
    """Another thread opens it, without asking: its error must come back to the reader all the same."""
    border = damaged.container().geometry.segment(20, LENGTH).plain_offset
    start = border - before
    buffer = bytearray(before + NEXT // 2)
    with opened(damaged, check=lambda: None, read_ahead=0) as file:
        for _ in range(2):
            with pytest.raises(IntegrityError, match="segment 20 "):
                file.readinto_at(buffer, start)
            assert not any(buffer[before:])
        assert file.readinto_at(memoryview(buffer)[:before], start) == before
    assert buffer == damaged.plaintext[start:border] + bytes(NEXT // 2)


def test_of_two_segments_the_changed_first_one_is_an_error_too(damaged: Sample) -> None:
    border = damaged.container().geometry.segment(21, LENGTH).plain_offset
    buffer = bytearray(20)
    with opened(damaged, read_ahead=0) as file:
        with pytest.raises(IntegrityError, match="segment 20 "):
            file.readinto_at(buffer, border - 10)
        assert not any(buffer)
        assert file.readinto_at(buffer, border) == 20
    assert buffer == damaged.plaintext[border : border + 20]


class MeetingLeaves(bytes):
    """Leaves that two threads must look at together."""

    meeting: threading.Barrier

    def __getitem__(self, where: Any) -> Any:
        self.meeting.wait(PATIENCE)
        return super().__getitem__(where)


def test_of_two_segments_the_second_is_opened_while_the_first_is(sample: Sample) -> None:
    fd = os.open(sample.path, os.O_RDONLY)
    container = read_container(fd, segment_sizes=SMALL)
    leaves = MeetingLeaves(known_leaves(fd, container))
    leaves.meeting = threading.Barrier(2)
    start = container.geometry.plain_offset(20) - 4
    buffer = bytearray(8)
    with ModelFile(fd, container, sample.data_key.view, leaves=leaves, check=None, read_ahead=0) as file:
        file.readinto_at(buffer, start)
        assert file.bytes_decrypted == 2 * NEXT
    assert buffer == sample.plaintext[start : start + 8]


def test_of_two_segments_each_is_asked_for_by_the_reader(sample: Sample) -> None:
    asked: list[int] = []
    with opened(sample, check=lambda: asked.append(threading.get_ident()), read_ahead=0) as file:
        file.readinto_at(bytearray(8), FIRST + 19 * NEXT - 4)
        assert (asked, file.bytes_decrypted) == ([threading.get_ident()] * 2, 2 * NEXT)


def test_a_changed_segment_opened_ahead_is_an_error_only_when_it_is_read(damaged: Sample) -> None:
    first_bad = damaged.container().geometry.segment(20, LENGTH).plain_offset
    good = bytearray()

    def read_on(file: ModelFile) -> None:
        while True:
            good.extend(file.read(NEXT))

    with opened(damaged) as file:
        with pytest.raises(IntegrityError, match="segment 20 "):
            read_on(file)
        assert damaged.plaintext.startswith(bytes(good))
        assert first_bad - NEXT < len(good) <= first_bad
        file.seek(first_bad + NEXT)
        assert file.read(10) == damaged.plaintext[first_bad + NEXT :][:10]


def test_a_segment_forged_by_a_holder_of_the_data_key_gives_nothing_of_itself(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, pattern(LENGTH))
    container, data = sample.container(), bytearray(sample.bytes())
    segment = container.geometry.segment(20, LENGTH)
    forged = bytearray(segment.body_length)
    evil = memoryview(b"e" * segment.plain_length)
    container.cipher(sample.data_key.view).seal(20, False, evil, memoryview(forged))
    data[sample.segment_range(20)] = forged
    sample.path.write_bytes(data)
    buffer = bytearray(3 * NEXT)
    with opened(sample) as file:
        for size in (4, 3 * NEXT):
            with memoryview(buffer) as view, pytest.raises(IntegrityError, match="segment 20 "):
                file.readinto_at(view[:size], segment.plain_offset)
    assert b"e" * 4 not in buffer


class SlowLeaves(bytes):
    """Leaves that take a while to look at, so that a read is still under way when another part of it fails."""

    def __getitem__(self, where: Any) -> Any:
        threading.Event().wait(0.05)
        return super().__getitem__(where)


def test_a_failed_read_leaves_nobody_writing_into_the_callers_buffer(sample: Sample) -> None:
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise RevokedError("the key was revoked")

    fd = os.open(sample.path, os.O_RDONLY)
    container = read_container(fd, segment_sizes=SMALL)
    leaves = SlowLeaves(known_leaves(fd, container))
    buffer = bytearray(20 * NEXT)
    with ModelFile(fd, container, sample.data_key.view, leaves=leaves, check=check) as file:
        with pytest.raises(RevokedError):
            file.readinto_at(buffer, 8)
        left = bytes(buffer)
        threading.Event().wait(0.2)
        assert buffer == left


def test_a_segment_being_copied_keeps_its_buffer_while_others_push_it_out(sample: Sample) -> None:
    fd = os.open(sample.path, os.O_RDONLY)
    container = read_container(fd, segment_sizes=SMALL)
    segments = OpenedSegments(fd, container, sample.data_key.view, known_leaves(fd, container), None, 2, 0)
    held = segments._pinned(10)  # what a reader holds while it copies; no timing can be relied on to meet one
    for index in (20, 30, 40, 50, 60):
        segments.read(memoryview(bytearray(4)), index * NEXT + 10)
    start = container.geometry.plain_offset(10)
    assert held.evicted
    assert held.buffer[:NEXT] == sample.plaintext[start : start + NEXT]
    segments._unpin(held)
    segments.close()


def test_a_container_cut_while_it_is_open_is_an_integrity_error(tmp_path: Path) -> None:
    cut = make_sample(tmp_path, pattern(LENGTH))
    with opened(cut) as file:
        os.truncate(cut.path, 66_000)
        with pytest.raises(IntegrityError, match="cut off"):
            file.read()


def test_many_threads_read_the_same_bytes(sample: Sample) -> None:
    errors: list[object] = []

    def read(seed: int) -> None:
        for round_ in range(200):
            offset = (seed * 1009 + round_ * 331) % LENGTH
            size = (round_ * 37) % 600
            buffer = bytearray(size)
            got = file.readinto_at(buffer, offset)
            if bytes(buffer[:got]) != sample.plaintext[offset : offset + size]:
                errors.append((offset, size))

    with opened(sample, cached=6) as file:
        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []


def test_a_closed_file_reads_nothing_and_can_be_closed_again(sample: Sample) -> None:
    file = opened(sample)
    file.read(100)
    file.close()
    file.close()
    for operation in (lambda: file.read(1), lambda: file.seek(0), file.tell, lambda: file.readinto_at(bytearray(0), 0)):
        with pytest.raises(ValueError, match="closed"):
            operation()


def test_closing_waits_for_a_read_under_way(sample: Sample) -> None:
    entered, leave = threading.Event(), threading.Event()

    def check() -> None:
        entered.set()
        leave.wait(PATIENCE)

    file = opened(sample, check=check, read_ahead=0)
    buffer = bytearray(100)
    reader = threading.Thread(target=lambda: file.readinto_at(buffer, 0))
    reader.start()
    entered.wait(PATIENCE)
    closer = threading.Thread(target=file.close)
    closer.start()
    closer.join(0.1)
    assert closer.is_alive()
    leave.set()
    reader.join()
    closer.join()
    assert buffer == sample.plaintext[:100]


def test_a_forked_child_reads_on_and_so_does_its_parent(sample: Sample) -> None:
    with opened(sample) as file:
        assert file.read(3 * NEXT) == sample.plaintext[: 3 * NEXT]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of any fork beside threads
            child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if file.read() == sample.plaintext[3 * NEXT :] else 2
                file.close()
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert file.read() == sample.plaintext[3 * NEXT :]


def test_two_readers_of_one_segment_open_it_once(sample: Sample) -> None:
    started = threading.Barrier(4)
    with opened(sample, read_ahead=0) as file:

        def read() -> None:
            started.wait()
            file.readinto_at(bytearray(4), 20 * NEXT + 10)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert file.bytes_decrypted == NEXT
