"""Hostile acknowledgements, and rounds that are none: what an issuer and a node find in a spool of others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.independent.encoding import base64_of
from tests.independent.hostile import INTEGRITY, OK, PARTIAL, Lair, Row, at_copies
from tests.independent.hostile_fleet import OFFICE, PLACES, has_the_key
from tests.independent.write_fleet import Envelope, Peer, write_round

NODE = Peer("gpu-2", "node")
"""The node that the issuer of these rows has pinned."""


def _file(name: str, write: Callable[[Lair], bytes], code: int = PARTIAL) -> Row:
    """A file of the node beside the rounds. The issuer believes nothing, and says that the node lags or contradicts."""

    def make(lair: Lair) -> None:
        at_copies(lair)
        folder = lair.folder / "spool" / lair.node_id / "acknowledgements"
        folder.mkdir(parents=True)
        (folder / NODE.id).write_bytes(write(lair))

    words = ("fleet", "sync", "--via", "spool:spool", *PLACES)
    return Row(f"acknowledgement, {name}", make, words, code, after=_nothing_is_believed)


def _acknowledged(name: str, code: int = PARTIAL, /, **changes: Any) -> Row:
    return _file(name, lambda lair: NODE.acknowledgement(lair.node_id, **changes) + b"\n", code)


def _nothing_is_believed(lair: Lair) -> None:
    done = lair.program.run("fleet", "show", NODE.name, "--json", *PLACES)
    assert done.returncode == 0, done.stderr
    assert '"acknowledged": 0' in done.stdout, done.stdout


_RESULT = {"envelope": "00" * 32, "number": 1, "outcome": "ok", "receipt": "ab" * 16}

ACKNOWLEDGEMENTS = [
    _acknowledged("a good one"),
    _file("junk", lambda _: b"junk\n"),
    _file("70,000 bytes", lambda _: b"{" * 70_000),
    _file("nested 10,000 deep", lambda _: b"[" * 10_000),
    _acknowledged("signature of zeros", members={"signature": base64_of(bytes(64))}),
    _acknowledged("version 1", type="tiktrue-acknowledgement/1"),
    _acknowledged("one member more", note=""),
    _acknowledged("of another node", **{"from": "a" * 32}),
    _acknowledged("to another issuer", to="a" * 32),
    _acknowledged("a number that was never sent", INTEGRITY, number=99),
    _acknowledged("number 2^53", number=2**53),
    _acknowledged("a head that is not the issuer's", INTEGRITY, audit={"head": "00" * 32, "size": 1}),
    _acknowledged("a size beyond the log", INTEGRITY, audit={"head": "00" * 32, "size": 10**9}),
    _acknowledged("a receipt that is not the issuer's", number=1, results=[_RESULT]),
    _acknowledged("33 results", number=33, results=[_RESULT] * 33),
    _acknowledged("a token that is not the issuer's", challenge={"at": 1, "epoch": 1, "round": 1, "token": "ab" * 16}),
    _acknowledged("a reason with an escape sequence", blocked="refused: \x1b[2J"),
]


def _round(name: str, spoil: Callable[[Path], object], code: int = OK) -> Row:
    """A good envelope in round 1, beside something that stands in the way."""

    def make(lair: Lair) -> None:
        at_copies(lair)
        line = Envelope(OFFICE, lair.card).encode() + b"\n"
        folder = write_round(lair.folder / "spool", OFFICE, 1, {lair.node_id: line})
        spoil(folder)

    return Row(f"round, {name}", make, ("fleet", "receive", "--via", "spool:spool", *PLACES), code, after=has_the_key)


def _fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


ROUNDS = [
    _round("an empty one with the last number", lambda at: at.with_name("9999999999").mkdir()),
    _round("a name that is not a number", lambda at: at.with_name("junk").mkdir()),
    _round("a file in the place of one", lambda at: at.with_name("0000000002").write_bytes(b""), PARTIAL),
    _round("a link in the place of one", lambda at: at.with_name("0000000002").symlink_to("/etc"), PARTIAL),
    _round("an index that is junk", lambda at: (at / "index").write_bytes(b"junk")),
    _round("no index", lambda at: (at / "index").unlink()),
    _round("a FIFO in the place of an index", lambda at: _fifo(at / "index")),
    _round("a folder of another issuer with a FIFO", lambda at: _fifo(at.parent.with_name("a" * 32))),
]
