"""Pieces of a text: written together up to a size, so that a short text is one write."""

from __future__ import annotations

import os

import pytest

from tests.waiting import PATIENCE
from tiktrue_keys.cli.view.streams import wait_for_reader, write_pieces

SIZE = 1 << 16


@pytest.mark.parametrize(
    ("pieces", "sizes"),
    [
        ([], []),
        (["a", "b", "c"], [3]),
        (["x" * (SIZE - 1)], [SIZE - 1]),
        (["x" * (SIZE - 1), "y", "z"], [SIZE, 1]),
        (["x" * SIZE, "y" * SIZE], [SIZE, SIZE]),
    ],
)
def test_pieces_are_written_together(pieces: list[str], sizes: list[int]) -> None:
    written: list[str] = []

    write_pieces(iter(pieces), written.append)

    assert "".join(written) == "".join(pieces)
    assert [len(text) for text in written] == sizes


def test_a_closed_pipe_ends_it() -> None:
    def closed(_: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        write_pieces(["x" * SIZE, "never"], closed)


def test_a_reader_that_leaves_is_noticed_while_nothing_is_written() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as out:
        wait_for_reader(0.01, out)
        os.close(reading)

        with pytest.raises(BrokenPipeError):
            wait_for_reader(PATIENCE, out)
