"""The spool's own promises, and addresses that name no transport."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.fleet.fleet import new_spool
from tiktrue_keys.errors import UnavailableError, UsageError
from tiktrue_keys.fleet.transports import open_transport, spool_rounds
from tiktrue_keys.fleet.transports.interface import MAX_LINE, Junk, Posted
from tiktrue_keys.fleet.transports.spool import Spool

ISSUER, NODE, OTHER = "i" * 32, "n" * 32, "o" * 32
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key().public_bytes_raw()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return new_spool(tmp_path)


@pytest.fixture
def box(spool: Spool) -> Path:
    return spool.folder / ISSUER


def publish(spool: Spool, number: int, *posts: Posted) -> None:
    spool.publish(ISSUER, number, posts, KEY.sign)


def lines(spool: Spool, junk: Junk | None = None) -> list[bytes]:
    return sorted(spool.collect(ISSUER, NODE, (1, 1, 0), junk or Junk()))


def rounds(box: Path) -> list[str]:
    return sorted(path.name for path in box.glob("[0-9]*"))


def post(number: int, line: bytes, node: str = NODE) -> Posted:
    return Posted(node, (1, 1, number), line)


def test_a_round_is_there_whole_or_not_at_all(spool: Spool, box: Path) -> None:
    def posts() -> Iterator[Posted]:
        yield post(1, b"first")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        spool.publish(ISSUER, 1, posts(), KEY.sign)
    assert lines(spool) == []
    assert [path.name for path in box.iterdir()] == ["acknowledgements"]


def test_rounds_have_the_numbers_of_the_issuer(spool: Spool, box: Path) -> None:
    for number in range(1, 12):
        publish(spool, number, post(number, b"line %02d" % number), post(number, b"other", OTHER))

    assert lines(spool) == [b"line %02d" % number for number in range(1, 12)]
    assert rounds(box) == [f"{number:010d}" for number in range(1, 12)]


def test_a_name_that_is_taken_is_skipped(spool: Spool, box: Path) -> None:
    publish(spool, 1, post(1, b"a"))
    (box / "9999999999").mkdir()
    (box / "0000000002").write_text("in the way")
    os.symlink("nowhere", box / "0000000003")
    publish(spool, 2, post(2, b"b"))
    assert rounds(box) == ["0000000001", "0000000002", "0000000003", "0000000004", "9999999999"]
    assert lines(spool) == [b"a", b"b"]

    publish(spool, 9_999_999_998, post(3, b"c"))
    with pytest.raises(UnavailableError, match="no free round number"):
        publish(spool, 9_999_999_998, post(4, b"d"))


def test_a_name_that_is_taken_while_the_round_is_written_is_skipped(
    spool: Spool, box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_meanwhile(folder: int) -> None:
        (box / "0000000001").mkdir(exist_ok=True)
        (box / "0000000001" / "file").touch()

    monkeypatch.setattr(spool_rounds, "_sync_tree", taken_meanwhile)
    publish(spool, 1, post(1, b"a"))
    assert rounds(box) == ["0000000001", "0000000002"]
    assert (box / "0000000002/index").read_bytes().startswith(b"tiktrue-round/1 %s 2\n" % ISSUER.encode())


def test_more_than_a_file_holds_goes_into_further_rounds(spool: Spool, box: Path) -> None:
    many = [post(number, b"%04d" % number) for number in range(5000)]
    large = [post(number, bytes([number]) * MAX_LINE, OTHER) for number in range(20, 90)]
    spool.publish(ISSUER, 1, [*many, *large], KEY.sign)
    assert rounds(box) == ["0000000001", "0000000002", "0000000003"]
    assert lines(spool) == [each.line for each in many]
    assert len(list(spool.collect(ISSUER, OTHER, (1, 1, 0), Junk()))) == 70
    spool.tidy(ISSUER, {NODE: (1, 1, 4095), OTHER: (1, 1, 0)}, PUBLIC)
    assert rounds(box) == ["0000000002", "0000000003"]


def test_an_index_that_is_full_goes_into_a_further_round(
    spool: Spool, box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_rounds, "MAX_FILE", 600)
    publish(spool, 1, *(post(1, b"x", letter * 32) for letter in "abcdefgn"))
    assert len(rounds(box)) == 3
    assert lines(spool) == [b"x"]


def test_a_round_goes_when_everybody_has_consumed_it(spool: Spool, box: Path) -> None:
    publish(spool, 1, post(1, b"a"), post(1, b"b", OTHER))
    publish(spool, 2, post(2, b"c"))
    spool.tidy(ISSUER, {NODE: (1, 1, 1), OTHER: (1, 1, 0)}, PUBLIC)
    assert lines(spool) == [b"a", b"c"]
    spool.tidy(ISSUER, {NODE: (1, 1, 1), OTHER: (1, 1, 1)}, PUBLIC)
    assert lines(spool) == [b"c"]
    spool.tidy(ISSUER, {}, PUBLIC)
    assert rounds(box) == []


@pytest.mark.parametrize(
    "index",
    [
        b"rubbish\n",
        b"",
        b"tiktrue-round/1 " + ISSUER.encode() + b" 1\n" + NODE.encode() + b" 1 1 1\nAAAA\n",
        b"tiktrue-round/1 " + ISSUER.encode() + b" 1\n" + b"%%%\n",
    ],
)
def test_a_round_without_a_signed_index_stays(spool: Spool, box: Path, index: bytes) -> None:
    publish(spool, 1, post(1, b"a"))
    (box / "0000000001" / "index").write_bytes(index)
    spool.tidy(ISSUER, {NODE: (9, 9, 9)}, PUBLIC)
    assert lines(spool) == [b"a"]


def test_the_newest_challenge_stays(spool: Spool, box: Path) -> None:
    publish(spool, 1, post(1, b"a"))
    for number in (2, 3):
        publish(spool, number, Posted(NODE, (1, 2, 0), b"challenge %d" % number))
    publish(spool, 4, Posted(NODE, (1, 2, 1), b"c"))
    spool.tidy(ISSUER, {NODE: (1, 2, 1)}, PUBLIC)
    assert rounds(box) == ["0000000003"]


def test_an_index_counts_for_its_own_round_and_issuer_only(spool: Spool, box: Path) -> None:
    publish(spool, 1, post(1, b"a"))
    index = (box / "0000000001/index").read_bytes()
    for folder in (box / "0000000002", spool.folder / OTHER / "0000000001"):
        folder.mkdir(parents=True)
        (folder / "index").write_bytes(index)
        (folder / NODE).write_bytes(b"kept\n")
    for issuer in (ISSUER, OTHER):
        spool.tidy(issuer, {NODE: (9, 9, 9)}, PUBLIC)
    assert not (box / "0000000001").exists()
    assert (box / "0000000002" / NODE).exists()
    assert (spool.folder / OTHER / "0000000001" / NODE).exists()


def test_what_the_issuer_did_not_make_stays(spool: Spool, box: Path, tmp_path: Path) -> None:
    publish(spool, 1, post(1, b"a"))
    publish(spool, 2, post(1, b"b"))
    (box / "0000000001" / "notes").write_text("of another")
    elsewhere = tmp_path / "elsewhere"
    (box / "0000000002").rename(elsewhere)
    os.symlink(elsewhere, box / "0000000002")
    spool.tidy(ISSUER, {NODE: (9, 9, 9)}, PUBLIC)
    assert [path.name for path in (box / "0000000001").iterdir()] == ["notes"]
    assert (elsewhere / NODE).exists()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):  # a socket's path is short
        made.bind(path.name)


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("devices are not allowed here")


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def link(path: Path) -> None:
    path.symlink_to(path.parents[1] / "0000000002" / NODE)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def folder(path: Path) -> None:
    path.mkdir()
    (path / "file").touch()


ODD: list[Callable[[Path], None]] = [fifo, unix_socket, device, huge, link, dangling, folder]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.timeout(20)
def test_an_odd_file_hides_no_other(spool: Spool, box: Path, odd: Callable[[Path], None]) -> None:
    for number in (1, 2, 3):
        publish(spool, number, post(number, b"%d" % number))
    (box / "0000000001" / NODE).unlink()
    odd(box / "0000000001" / NODE)
    junk = Junk()
    assert lines(spool, junk) == [b"2", b"3"]
    assert junk.total == 1


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.timeout(20)
def test_an_odd_acknowledgement_hides_no_other_and_is_replaced(
    spool: Spool, box: Path, odd: Callable[[Path], None]
) -> None:
    spool.acknowledge(ISSUER, NODE, b"a line")
    odd(box / "acknowledgements" / OTHER)
    junk = Junk()
    assert list(spool.acknowledgements(ISSUER, [OTHER, NODE], junk)) == [(NODE, b"a line")]
    assert junk.total == 1
    spool.acknowledge(ISSUER, OTHER, b"genuine")
    assert dict(spool.acknowledgements(ISSUER, [OTHER, NODE], Junk())) == {NODE: b"a line", OTHER: b"genuine"}


@pytest.mark.parametrize("odd", [fifo, dangling, huge, unix_socket])
def test_an_odd_round_hides_no_other(spool: Spool, box: Path, odd: Callable[[Path], None]) -> None:
    publish(spool, 1, post(1, b"a"))
    odd(box / "0000000005")
    junk = Junk()
    assert (lines(spool, junk), junk.counts) == ([b"a"], {"round that cannot be read": 1})
    spool.tidy(ISSUER, {NODE: (9, 9, 9)}, PUBLIC)
    assert rounds(box) == ["0000000005"]


@pytest.mark.parametrize("odd", [fifo, dangling, huge, link])
def test_an_odd_box_is_an_outage_and_stays(spool: Spool, box: Path, odd: Callable[[Path], None]) -> None:
    odd(box)
    with pytest.raises(UnavailableError, match="cannot be read"):
        lines(spool)
    with pytest.raises(UnavailableError):
        publish(spool, 1, post(1, b"a"))
    with pytest.raises(UnavailableError):
        spool.acknowledge(ISSUER, NODE, b"a")


def test_a_planted_link_to_a_folder_keeps_the_mode_of_that_folder(spool: Spool, box: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir(mode=0o700)
    spool.folder.chmod(0o777)
    box.symlink_to(tmp_path / "victim")
    with pytest.raises(UnavailableError):
        publish(spool, 1, post(1, b"a"))
    assert (tmp_path / "victim").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "victim").iterdir()) == []


@pytest.mark.parametrize(
    ("data", "found", "counted"),
    [
        (b"x" * (MAX_LINE + 1) + b"\ny\n", [b"y"], 1),
        (b"y", [b"y"], 0),
        (b"\n" * 4095 + b"y\n", [b"y"], 0),
        (b"\n" * 4096 + b"y\n", [], 1),
        (b"\n" * 4095 + b"y\n" + b"z\n" * 7, [b"y"], 7),
        (b"y\n" * (2 << 20), [b"y"] * 4096, (2 << 20) - 4096),
        (b"y" * ((4 << 20) + 1), [], 1),
        (b"", [], 0),
    ],
    ids=range(8),
)
def test_how_much_of_a_file_is_read(spool: Spool, box: Path, data: bytes, found: list[bytes], counted: int) -> None:
    publish(spool, 1, post(1, b"a"))
    (box / "0000000001" / NODE).write_bytes(data)
    junk = Junk()
    assert (lines(spool, junk), junk.total) == (found, counted)


def test_a_spool_that_is_not_there_is_an_outage_and_is_not_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path / "mistyped", tmp_path / "none" / "spool", tmp_path / "file"):
        spool = Spool(folder)
        for use in (
            lambda: lines(spool),  # noqa: B023 (used at once)
            lambda: publish(spool, 1, post(1, b"a")),  # noqa: B023
            lambda: spool.acknowledge(ISSUER, NODE, b"a"),  # noqa: B023
            lambda: list(spool.acknowledgements(ISSUER, [NODE], Junk())),  # noqa: B023
            lambda: spool.tidy(ISSUER, {}, PUBLIC),  # noqa: B023
            lambda: spool.wait(ISSUER, NODE, 0.0),  # noqa: B023
        ):
            with pytest.raises(UnavailableError, match="is not a folder that exists") as caught:
                use()
            assert "mkdir" in str(caught.value.hint)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_wait_ends_at_once_where_a_round_came(spool: Spool) -> None:
    assert lines(spool) == []
    spool.wait(ISSUER, NODE, 0.0)
    publish(spool, 1, post(1, b"a"))
    spool.wait(ISSUER, NODE, 60)
    assert lines(spool) == [b"a"]


def test_a_spool_takes_no_credentials() -> None:
    with pytest.raises(UsageError):
        open_transport("spool:/tmp", {"user": "root"})


@pytest.mark.parametrize("address", ["", "spool", "spool:", "spool:a\0b", ":x", "unknown:x"])
def test_unknown_addresses(address: str) -> None:
    with pytest.raises(UsageError):
        open_transport(address)
