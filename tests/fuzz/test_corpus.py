"""Every input that the fuzzer begins from, or has once failed on, is read or refused as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.make_corpus import seeds
from tests.fuzz.targets import CORPUS, TARGETS, run

READ = {"piped", "sized", "first", "last", "listed", "signed", "two", "torn", "one"}
READ |= {"container-small", "container-piped", "container-recipient"}
READ |= {"whole", "built"}
READ |= {
    "card",
    "recoverable",
    "key",
    "void",
    "empty",
    "revoked",
    "released",
    "a-key",
    "promotion",
    "list",
    "answer",
    "blocked",
    "asked",
}


INPUTS = [path for target in TARGETS for path in sorted((CORPUS / target).iterdir())]


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_input_is_read_or_refused(path: Path) -> None:
    assert run(path.parent.name, path.read_bytes()) is (path.name in READ)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_its_truncations_are_read_or_refused(path: Path) -> None:
    data = path.read_bytes()
    for length in {*range(0, len(data), max(1, len(data) // 50)), len(data) - 1}:
        run(path.parent.name, data[:length])


def test_the_seeds_are_current() -> None:
    for target, name, data in seeds():
        assert (CORPUS / target / name).read_bytes() == data, "python -m tests.fuzz.make_corpus"
