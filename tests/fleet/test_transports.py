"""The spool's own promises, and a third transport that comes from another package."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import pytest

from tests.fleet.fleet import fleet_in_memory
from tiktrue_keys.errors import UnavailableError, UsageError
from tiktrue_keys.fleet.syncing import distribute
from tiktrue_keys.fleet.transports import GROUP, open_transport
from tiktrue_keys.fleet.transports.interface import MAX_LINE, Posted
from tiktrue_keys.fleet.transports.spool import Spool

ISSUER, NODE, OTHER = "i" * 32, "n" * 32, "o" * 32


def test_a_round_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")

    def posts() -> Iterator[Posted]:
        yield Posted(NODE, 1, 1, b"first")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        spool.publish(ISSUER, posts())
    assert spool.collect(ISSUER, NODE, (1, 0)) == []
    assert [path.name for path in (tmp_path / "spool" / ISSUER).iterdir()] == ["acknowledgements"]


def test_rounds_are_numbered_and_read_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for number in range(1, 12):
        spool.publish(ISSUER, [Posted(NODE, 1, number, f"line {number}".encode()), Posted(OTHER, 1, number, b"other")])

    assert spool.collect(ISSUER, NODE, (1, 0)) == [f"line {number}".encode() for number in range(1, 12)]
    assert max(path.name for path in (tmp_path / "spool" / ISSUER).glob("0*")) == "0000000011"


def test_a_round_goes_when_everybody_has_consumed_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.publish(ISSUER, [Posted(NODE, 1, 1, b"a"), Posted(OTHER, 1, 1, b"b")])
    spool.publish(ISSUER, [Posted(NODE, 1, 2, b"c")])
    spool.tidy(ISSUER, {NODE: (1, 1), OTHER: (1, 0)})
    assert spool.collect(ISSUER, NODE, (1, 0)) == [b"a", b"c"]
    spool.tidy(ISSUER, {NODE: (1, 1), OTHER: (1, 1)})
    assert spool.collect(ISSUER, NODE, (1, 0)) == [b"c"]
    spool.tidy(ISSUER, {})
    assert spool.collect(ISSUER, NODE, (1, 0)) == []


def test_a_damaged_index_keeps_its_round(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.publish(ISSUER, [Posted(NODE, 1, 1, b"a")])
    (tmp_path / "spool" / ISSUER / "0000000001" / "index").write_text("rubbish\n")
    spool.tidy(ISSUER, {NODE: (9, 9)})
    assert spool.collect(ISSUER, NODE, (1, 0)) == [b"a"]


def test_a_line_that_is_too_long_is_left_lying(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.publish(ISSUER, [Posted(NODE, 1, 1, b"x" * (MAX_LINE + 1)), Posted(NODE, 1, 2, b"y")])
    assert spool.collect(ISSUER, NODE, (1, 0)) == [b"y"]


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.acknowledge(ISSUER, NODE, b"a line")
    place = tmp_path / "spool" / ISSUER / "acknowledgements"
    (tmp_path / "elsewhere").write_text("secret")
    os.symlink(tmp_path / "elsewhere", place / OTHER)
    assert list(spool.acknowledgements(ISSUER, [NODE, OTHER])) == [(NODE, b"a line")]


def test_a_spool_that_is_not_there_is_an_outage(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "none" / "spool")
    with pytest.raises(UnavailableError):
        spool.collect(ISSUER, NODE, (1, 0))
    with pytest.raises(UnavailableError):
        spool.publish(ISSUER, [Posted(NODE, 1, 1, b"a")])
    with pytest.raises(UnavailableError):
        spool.acknowledge(ISSUER, NODE, b"a")


def test_a_spool_takes_no_credentials() -> None:
    with pytest.raises(UsageError):
        open_transport("spool:/tmp", {"user": "root"})


class Pigeon:
    """A whole transport of another package: what its entry point names is called with the address and credentials."""

    def __init__(self, home: str, credentials: Mapping[str, str]) -> None:
        self.home = home
        self.boxes: dict[tuple[str, str], list[bytes]] = {}
        self.answers: dict[tuple[str, str], bytes] = {}

    def publish(self, issuer: str, posts: Iterable[Posted]) -> None:
        for post in posts:
            self.boxes.setdefault((issuer, post.node_id), []).append(post.line)

    def collect(self, issuer: str, node_id: str, after: tuple[int, int]) -> list[bytes]:
        return self.boxes.get((issuer, node_id), [])

    def acknowledge(self, issuer: str, node_id: str, line: bytes) -> None:
        self.answers[issuer, node_id] = line

    def acknowledgements(self, issuer: str, node_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        yield from ((each, self.answers[issuer, each]) for each in node_ids if (issuer, each) in self.answers)

    def tidy(self, issuer: str, consumed: Mapping[str, tuple[int, int]]) -> None:
        for node_id in consumed:
            self.boxes.pop((issuer, node_id), None)

    def wait(self, issuer: str, node_id: str, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_third_transport_is_one_class_in_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = metadata.EntryPoint("pigeon", f"{__name__}:Pigeon", GROUP)
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda self: Pigeon)
    monkeypatch.setattr(metadata, "entry_points", lambda group: metadata.EntryPoints([entry] if group == GROUP else []))
    pigeon = open_transport("pigeon:loft")
    assert isinstance(pigeon, Pigeon)
    assert pigeon.home == "loft"
    with fleet_in_memory("n1", transport=pigeon) as fleet:
        distribute(fleet.admin, ["llama"], every_node=True)
        fleet.deliver()
        assert fleet.nodes["n1"].find("llama").key_id == fleet.key.key_id


@pytest.mark.parametrize("address", ["", "spool", "spool:", ":x", "unknown:x"])
def test_unknown_addresses(address: str) -> None:
    with pytest.raises(UsageError):
        open_transport(address)
