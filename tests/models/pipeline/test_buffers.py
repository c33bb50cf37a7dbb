"""The segments' buffers: zero, writable, of the length that was asked for, and not shared with a forked child."""

from __future__ import annotations

import os

import pytest

from tiktrue_keys.models.pipeline.buffers import page_buffer


@pytest.mark.parametrize("length", [1, 4095, 4096, 4097, 1 << 21])
def test_it_has_the_length_and_is_zero(length: int) -> None:
    buffer = page_buffer(length)
    assert buffer.nbytes == length
    assert not any(buffer)


def test_what_is_written_is_read() -> None:
    buffer = page_buffer(8)
    buffer[2:5] = b"abc"
    assert bytes(buffer) == b"\0\0abc\0\0\0"


def test_a_child_does_not_write_into_the_parents() -> None:
    buffer = page_buffer(8)
    child = os.fork()
    if child == 0:
        buffer[:3] = b"abc"
        os._exit(0)
    assert os.waitpid(child, 0) == (child, 0)
    assert bytes(buffer) == bytes(8)
