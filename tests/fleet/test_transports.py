"""The spool's own promises, and addresses that name no transport."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiktrue_keys.errors import UnavailableError, UsageError
from tiktrue_keys.fleet.transports import open_transport
from tiktrue_keys.fleet.transports.interface import MAX_LINE, Posted
from tiktrue_keys.fleet.transports.spool import Spool

ISSUER, NODE, OTHER = "i" * 32, "n" * 32, "o" * 32


def test_a_round_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")

    def posts() -> Iterator[Posted]:
        yield Posted(NODE, (1, 1, 1), b"first")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        spool.publish(ISSUER, 1, posts())
    assert spool.collect(ISSUER, NODE, (1, 1, 0)) == []
    assert [path.name for path in (tmp_path / "spool" / ISSUER).iterdir()] == ["acknowledgements"]


def test_rounds_are_numbered_and_read_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for number in range(1, 12):
        spool.publish(
            ISSUER,
            1,
            [Posted(NODE, (1, 1, number), f"line {number}".encode()), Posted(OTHER, (1, 1, number), b"other")],
        )

    assert spool.collect(ISSUER, NODE, (1, 1, 0)) == [f"line {number}".encode() for number in range(1, 12)]
    assert max(path.name for path in (tmp_path / "spool" / ISSUER).glob("0*")) == "0000000011"


def test_a_round_goes_when_everybody_has_consumed_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.publish(ISSUER, 1, [Posted(NODE, (1, 1, 1), b"a"), Posted(OTHER, (1, 1, 1), b"b")])
    spool.publish(ISSUER, 2, [Posted(NODE, (1, 1, 2), b"c")])
    spool.publish(ISSUER, 3, [Posted(NODE, (1, 2, 1), b"d")])
    spool.tidy(ISSUER, {NODE: (1, 1, 1), OTHER: (1, 1, 0)})
    assert spool.collect(ISSUER, NODE, (1, 1, 0)) == [b"a", b"c", b"d"]
    spool.tidy(ISSUER, {NODE: (1, 1, 1), OTHER: (1, 1, 1)})
    assert spool.collect(ISSUER, NODE, (1, 1, 0)) == [b"c", b"d"]
    spool.tidy(ISSUER, {})
    assert spool.collect(ISSUER, NODE, (1, 1, 0)) == []


def test_a_damaged_index_keeps_its_round(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.publish(ISSUER, 1, [Posted(NODE, (1, 1, 1), b"a")])
    (tmp_path / "spool" / ISSUER / "0000000001" / "index").write_text("rubbish\n")
    spool.tidy(ISSUER, {NODE: (9, 9, 9)})
    assert spool.collect(ISSUER, NODE, (1, 1, 0)) == [b"a"]


def test_a_line_that_is_too_long_is_left_lying(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.publish(ISSUER, 1, [Posted(NODE, (1, 1, 1), b"x" * (MAX_LINE + 1)), Posted(NODE, (1, 1, 2), b"y")])
    assert spool.collect(ISSUER, NODE, (1, 1, 0)) == [b"y"]


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
        spool.collect(ISSUER, NODE, (1, 1, 0))
    with pytest.raises(UnavailableError):
        spool.publish(ISSUER, 1, [Posted(NODE, (1, 1, 1), b"a")])
    with pytest.raises(UnavailableError):
        spool.acknowledge(ISSUER, NODE, b"a")
    with pytest.raises(UnavailableError):
        list(spool.acknowledgements(ISSUER, [NODE]))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UnavailableError):
        list(Spool(tmp_path / "file").acknowledgements(ISSUER, [NODE]))
    assert list(Spool(tmp_path / "not yet").acknowledgements(ISSUER, [NODE])) == []


def test_a_spool_takes_no_credentials() -> None:
    with pytest.raises(UsageError):
        open_transport("spool:/tmp", {"user": "root"})


@pytest.mark.parametrize("address", ["", "spool", "spool:", "spool:a\0b", ":x", "unknown:x"])
def test_unknown_addresses(address: str) -> None:
    with pytest.raises(UsageError):
        open_transport(address)
