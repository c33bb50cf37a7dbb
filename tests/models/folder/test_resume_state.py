"""The state file of a resumed encryption: of this folder or refused, torn lines, damage, edits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import error_of
from tests.models.folder.test_resume import ALL, killed_after, make_source, partial, run
from tests.models.workshop import Workshop
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.errors import BusyError, IntegrityError, RefusedError, TikTrueKeysError
from tiktrue_keys.models.folder.resume_state import DoneFile, ResumedFolder, ResumeState


@pytest.fixture
def source(shop: Workshop) -> Path:
    return make_source(shop)


def test_the_state_file_of_another_folder_is_refused(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 2)
    shutil.copytree(source, shop.folder / "other")
    with pytest.raises(RefusedError, match=" resumes "):
        run(shop, shop.folder / "other")
    with pytest.raises(RefusedError, match=" resumes "):
        run(shop, source, destination=shop.folder / "elsewhere.ttm")
    with pytest.raises(RefusedError, match="is inside the folder"):
        run(shop, source, resume=source / "state")


def test_one_process_at_a_time(shop: Workshop, source: Path) -> None:
    with ResumeState.open(shop.folder / "state"), pytest.raises(BusyError):
        run(shop, source)


@pytest.mark.parametrize(
    "data",
    [
        b"notes of mine",
        b"{}\n",
        b'{"destination":1}\n',
        b'["a"]\n{}\n',
        b'{"a":9007199254740993}\n',
        b"\xff\n",
        b"\n\n",
        b"{" * 40000 + b"\n",
    ],
)
def test_a_file_of_another_kind_is_left_as_it_is(shop: Workshop, source: Path, data: bytes) -> None:
    state = shop.folder / "state"
    state.write_bytes(data)
    with pytest.raises(IntegrityError, match="not a resume file"):
        run(shop, source)
    assert state.read_bytes() == data


FIRST = ResumedFolder("/m/llama", "/m/llama.ttm", ".llama.ttm.00000000.tmp", bytes(16), "llama")
SEALED = DoneFile("a.bin", 5, -1, bytes(32), bytes(16), bytes(32))
CLEAR = DoneFile("c.json", 0, 2**63 - 1, bytes(32), None, bytes(32))


def test_its_lines_are_read_back_as_they_were() -> None:
    state = ResumeState(Path("state"))
    state.take(FIRST.encode() + SEALED.encode() + CLEAR.encode())
    assert (state.folder, state.done) == (FIRST, {"a.bin": SEALED, "c.json": CLEAR})


@pytest.mark.parametrize(
    ("line", "edit"),
    [
        (FIRST, {"more": 1}),
        (FIRST, {"type": "tiktrue-keys recipient"}),
        (FIRST, {"version": 2}),
        (FIRST, {"source": "m/llama"}),
        (FIRST, {"destination": 5}),
        (FIRST, {"temporary": "../x"}),
        (FIRST, {"temporary": ".."}),
        (FIRST, {"temporary": ""}),
        (FIRST, {"folder_id": "00"}),
        (FIRST, {"folder_id": "AA" * 16}),
        (FIRST, {"model_id": ""}),
        (SEALED, {"more": 1}),
        (SEALED, {"path": None}),
        (SEALED, {"length": -1}),
        (SEALED, {"length": True}),
        (SEALED, {"mtime_ns": 5}),
        (SEALED, {"mtime_ns": " 5"}),
        (SEALED, {"mtime_ns": "5_0"}),
        (SEALED, {"source_hash": "00"}),
        (SEALED, {"root": "00"}),
        (SEALED, {"file_id": None}),
        (SEALED, {"sha256": "00" * 32}),
        (CLEAR, {"file_id": "00" * 16}),
    ],
)
def test_a_line_that_no_run_writes(line: ResumedFolder | DoneFile, edit: dict[str, Any]) -> None:
    before = b"" if line is FIRST else FIRST.encode()
    edited = canonical_json(json.loads(line.encode()) | edit) + b"\n"
    with pytest.raises(IntegrityError, match="not a resume file"):
        ResumeState(Path("state")).take(before + edited)


def test_a_torn_last_line_costs_its_file(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 3)
    state = shop.folder / "state"
    state.write_bytes(state.read_bytes()[:-5])
    assert run(shop, source).taken_over == ALL[:2]


def test_a_long_torn_line_spoils_nothing_that_comes_after_it(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 1)
    with (shop.folder / "state").open("ab") as file:
        file.write(b'{"file_id":"' + b"0" * 5000)
    killed_after(shop, source, 2)
    assert run(shop, source).taken_over == ALL[:3]


def test_a_state_file_that_names_another_place_for_the_folder(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 3)
    state = shop.folder / "state"
    victim = shop.folder / "victim"
    victim.mkdir()
    (victim / "mine").write_text("mine")
    name = partial(shop).name
    for other in ("victim", "../victim", ".llama.ttm.0000.tmp", ""):
        state.write_bytes(state.read_bytes().replace(name.encode(), other.encode()))
        assert isinstance(error_of(lambda: run(shop, source)), TikTrueKeysError)
        name = other or name
    assert (victim / "mine").read_text() == "mine"
