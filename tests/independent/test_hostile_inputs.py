"""Every kind of input that the format's page has a rule for, broken by a writer that knows the page alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.independent.hostile import OK, UNAVAILABLE, Lair, Row, lair, sampled, try_row
from tests.independent.hostile_acknowledgements import ACKNOWLEDGEMENTS, NODE, ROUNDS
from tests.independent.hostile_bodies import BODIES
from tests.independent.hostile_etcd import ANSWERS, HEADER, answer, server
from tests.independent.hostile_fleet import CARDS, ENVELOPES, OFFICE
from tests.independent.hostile_folders import FOLDERS, RECIPIENTS
from tests.independent.hostile_headers import HEADERS
from tests.independent.hostile_keystores import BACKUPS
from tests.independent.hostile_places import PLACES
from tests.independent.write_fleet import Peer
from tests.keystores import FULL_RUN, folder_in_memory
from tests.program import Program
from tiktrue_keys.core.machine import read_facts

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def home() -> Iterator[Lair]:
    with folder_in_memory() as folder:
        facts = [[fact.kind.value, fact.value] for fact in read_facts().facts]
        yield lair(Program(folder), facts)


@pytest.mark.parametrize("row", sampled([*HEADERS, *BODIES]), ids=lambda row: row.name)
def test_containers(home: Lair, row: Row) -> None:
    try_row(home, row)


@pytest.mark.parametrize("row", sampled(FOLDERS), ids=lambda row: row.name)
def test_folders(home: Lair, row: Row) -> None:
    try_row(home, row)


@pytest.mark.parametrize("row", sampled(RECIPIENTS), ids=lambda row: row.name)
def test_recipient_files(home: Lair, row: Row) -> None:
    try_row(home, row)


@pytest.mark.parametrize("row", sampled(BACKUPS), ids=lambda row: row.name)
def test_backups(home: Lair, row: Row) -> None:
    try_row(home, row)


@pytest.mark.parametrize("row", sampled(PLACES), ids=lambda row: row.name)
def test_places(home: Lair, row: Row) -> None:
    try_row(home, row)


@contextmanager
def pinned(name: str, peer: Peer, *more: str) -> Iterator[Lair]:
    """A keystore of this name, of the other role, that has pinned a peer of the table."""
    role = "node" if peer.role == "issuer" else "issuer"
    with folder_in_memory() as folder:
        facts = [[fact.kind.value, fact.value] for fact in read_facts().facts]
        made = lair(Program(folder), facts)
        (folder / "peer.card").write_bytes(peer.card())
        for words in (
            ("fleet", "init", name, "--role", role),
            ("fleet", "add", "peer.card", "--expect", peer.id, *more),
            ("fleet", "card", "-o", "own.card"),
        ):
            done = made.program.run(*words)
            assert done.returncode == 0, done.stderr
        made.card = json.loads((folder / "own.card").read_bytes())
        yield made


@pytest.fixture(scope="module")
def node() -> Iterator[Lair]:
    """A node that has pinned the issuer of the table."""
    with pinned("gpu-1", OFFICE, "--role", "issuer") as made:
        yield made


@pytest.mark.parametrize("row", sampled([*CARDS, *ENVELOPES]), ids=lambda row: row.name)
def test_the_fleet(node: Lair, row: Row) -> None:
    try_row(node, row)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Lair]:
    """An issuer that has pinned the node of the table."""
    with pinned("office", NODE) as made:
        yield made


@pytest.mark.parametrize("row", sampled(ACKNOWLEDGEMENTS), ids=lambda row: row.name)
def test_acknowledgements(issuer: Lair, row: Row) -> None:
    try_row(issuer, row)


@pytest.mark.parametrize("row", sampled(ROUNDS), ids=lambda row: row.name)
def test_rounds(node: Lair, row: Row) -> None:
    try_row(node, row)


@pytest.mark.parametrize("name", ["nothing new", *(list(ANSWERS) if FULL_RUN else list(ANSWERS)[::12])])
def test_etcd(node: Lair, name: str) -> None:
    pytest.importorskip("etcd3gw")
    good = answer(b"{" + HEADER + b"}")
    with server(ANSWERS.get(name, good)) as port:
        words = ("fleet", "receive", "--via", f"etcd://127.0.0.1:{port}/p")
        try_row(node, Row(f"etcd, {name}", lambda _: None, words, UNAVAILABLE if name in ANSWERS else OK))


def test_no_two_rows_have_one_name() -> None:
    names = [
        row.name
        for row in (
            *HEADERS,
            *BODIES,
            *FOLDERS,
            *RECIPIENTS,
            *BACKUPS,
            *PLACES,
            *CARDS,
            *ENVELOPES,
            *ACKNOWLEDGEMENTS,
            *ROUNDS,
        )
    ]
    assert len(set(names)) == len(names)


def test_the_writers_share_no_code_with_the_package() -> None:
    for path in [*HERE.glob("write_*.py"), HERE / "encoding.py", HERE / "hostile_etcd.py"]:
        assert "tiktrue_keys" not in path.read_text(), path.name
