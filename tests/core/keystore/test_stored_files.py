"""Keystores that earlier versions left (tests/vectors) open, verify and go on; those of later ones are refused."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.independent.open_container import open_container
from tests.independent.open_keystore import open_keystore
from tests.machines import OTHER_SERVER, SERVER, skip_reason
from tests.program import Program
from tests.vectors.known import known
from tests.vectors.store_keystore import LICENSE, Site, site, stored, unpack
from tiktrue_keys.core.keystore import schema

MADE_UP = pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason()))
EVERY = pytest.mark.parametrize("archive", stored(), ids=lambda path: path.name.partition(".")[0])
FACTS = [
    ["system-uuid", str(SERVER.system_uuid).lower()],
    ["board-serial", str(SERVER.board_serial)],
    *(["nic", str(nic)] for nic in SERVER.nics),
    *(["disk", disk] for disk in SERVER.disks),
    ["machine-id", str(SERVER.machine_id)],
]


def test_there_is_one_of_this_version() -> None:
    assert f"stored-keystore-{schema.VERSION}.tar.gz" in {path.name for path in stored()}


@MADE_UP
@EVERY
def test_it_says_what_it_said_then_and_goes_on(archive: Path, tmp_path: Path) -> None:
    expected = unpack(archive, tmp_path / "library")
    server = site(SERVER, tmp_path / "library")

    listed = server.json("list", "--all")["keys"]
    for now, then in zip(listed, expected["keys"], strict=True):
        del then["status"]  # which follows from the clock
        assert {name: now[name] for name in then} == then  # a later version may say more
    assert server.json("audit", "verify")["size"] == expected["audit"]["size"]
    server.json("doctor", "--accept-clock", "--yes")  # it may lie here for years
    server.json("decrypt-model", "/var/lib/model.ttm", "-o", "/var/lib/again.bin", "--allow-deprecated")
    assert (server.library / "again.bin").read_bytes() == known("a stored model", 3_000)
    (rotated,) = server.json("rotate", "llama")["rotations"]
    assert rotated["new"] not in {key["key_id"] for key in expected["keys"]}
    assert verified_whole(server) > expected["audit"]["size"]


def verified_whole(server: Site) -> int:
    """The audit records of a keystore that is whole and of the newest version."""
    found = server.json("audit", "verify")["size"]
    server.json("backup", "/var/lib/copy.db")
    with closing(sqlite3.connect(server.library / "copy.db")) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return int(found)


@MADE_UP
@EVERY
def test_elsewhere_it_does_not_open(archive: Path, tmp_path: Path) -> None:
    unpack(archive, tmp_path / "library")
    done = site(OTHER_SERVER, tmp_path / "library").run([sys.executable, "-m", "tiktrue_keys", "list"])
    assert done.returncode == 8, done.stderr


@EVERY
def test_a_reader_that_knows_the_format_page_alone_opens_it(archive: Path, tmp_path: Path) -> None:
    expected = unpack(archive, tmp_path / "library")
    secret = (tmp_path / "library/tiktrue-keys-host/secret").read_bytes()
    keystore = open_keystore(f"{tmp_path}/library/tiktrue-keys/keystore.db", secret, FACTS)
    (active,) = (key["key_id"] for key in expected["keys"] if (key["model_id"], key["status"]) == ("llama", "active"))
    managed = keystore.managed_key(active, LICENSE.encode())
    keystore.database.close()
    issuer = bytes.fromhex(keystore.document["identity_key"])
    container = (tmp_path / "library/model.ttm").read_bytes()
    assert open_container(container, active, managed, issuer) == known("a stored model", 3_000)


@EVERY
@pytest.mark.parametrize("words", [["list"], ["rotate", "llama"], ["doctor"], ["restore", "copy.db", "--yes"]])
def test_one_of_a_later_version_asks_for_a_later_program(program: Program, archive: Path, words: list[str]) -> None:
    unpack(archive, program.folder / "library")
    (program.folder / "library/tiktrue-keys").rename(program.keystore)
    file = program.keystore / "keystore.db"
    with closing(sqlite3.connect(file)) as later:
        later.executescript(f"CREATE TABLE novelty (x); PRAGMA user_version = {schema.VERSION + 1}")
    (program.folder / "copy.db").write_bytes(file.read_bytes())
    (program.folder / "copy.db").chmod(0o600)
    before = file.read_bytes()
    done = program.run(*words)
    assert done.returncode == 4
    assert f"schema version {schema.VERSION + 1}" in done.stdout + done.stderr
    assert "upgrade tiktrue-keys" in done.stdout + done.stderr
    assert file.read_bytes() == before


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)
