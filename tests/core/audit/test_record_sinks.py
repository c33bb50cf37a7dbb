"""Sinks take whole records or say why not, and nothing else than a file of ours is written to."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.audit.records import record
from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.audit.record_sinks import FileSink, JournalSink, SyslogSink, parse_sink
from tiktrue_keys.core.audit.system_log import SystemLog
from tiktrue_keys.errors import (
    InsecureError,
    RefusedError,
    SecurityError,
    TikTrueKeysError,
    UnavailableError,
    UsageError,
)

RECORDS = [record(number=0), record(number=1, event="decrypt", outcome="refused", detail={"reason": "x\ny"})]


@pytest.fixture
def listening() -> Iterator[tuple[str, socket.socket]]:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"{folder}/log")
        server.settimeout(5)
        yield f"{folder}/log", server


def numbers(path: Path) -> list[int]:
    return [
        json.loads(line)["number"] for line in path.read_text().splitlines() if line.startswith("{") and "}" in line
    ]


def test_a_file_gets_lines_of_json_at_its_end(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "log")
    sink.write(RECORDS)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    (tmp_path / "log").chmod(0o640)
    with (tmp_path / "log").open("a") as file:
        file.write('{"number": 9, cut off by a full di')
    sink.write(RECORDS[:1])
    assert numbers(tmp_path / "log") == [0, 1, 0]
    found = json.loads((tmp_path / "log").read_text().splitlines()[1])
    assert found | {"time": RECORDS[1].time} == RECORDS[1].members()


def test_only_a_file_of_ours_is_written_to(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    link, fifo, folder, wide, others = (tmp_path / name for name in ("link", "fifo", "folder", "wide", "others"))
    link.symlink_to(target)
    os.mkfifo(fifo)
    folder.mkdir()
    for path, mode in ((wide, 0o620), (others, 0o600)):
        path.write_text("kept")
        path.chmod(mode)
    os.chown(others, 65534, 65534)
    for path, kind in (
        (link, SecurityError),
        (fifo, TikTrueKeysError),
        (folder, TikTrueKeysError),
        (wide, InsecureError),
        (Path("/dev/full"), TikTrueKeysError),
        *([(others, InsecureError)] if os.geteuid() == 0 else []),
    ):
        with pytest.raises(kind):
            FileSink(path).write(RECORDS)
    assert [path.read_text() for path in (target, wide, others)] == ["kept"] * 3

    def no(path: Path) -> None:
        raise RefusedError(f"{path} is protected")

    with pytest.raises(RefusedError):
        FileSink(tmp_path / "new", check=no).write(RECORDS)
    assert not (tmp_path / "new").exists()


def test_the_journal_gets_fields(listening: tuple[str, socket.socket]) -> None:
    path, server = listening
    JournalSink(path).write(RECORDS)
    entries = [server.recv(1 << 16).decode().splitlines() for _ in RECORDS]
    fields = dict(line.split("=", 1) for line in entries[1])
    assert fields["AUDIT_EVENT"] == "decrypt"
    assert fields["AUDIT_NUMBER"] == f"{RECORDS[1].epoch}-1"
    assert fields["PRIORITY"] == "4"
    assert AuditRecord.decode(fields["AUDIT_RECORD"].encode()).number == 1


def test_syslog_gets_a_line_a_record(listening: tuple[str, socket.socket]) -> None:
    path, server = listening
    SyslogSink(SystemLog([path])).write(RECORDS)
    assert [b": audit {" in server.recv(1 << 16) for _ in RECORDS] == [True, True]


def test_a_log_that_is_gone_or_does_not_listen_is_unavailable(listening: tuple[str, socket.socket]) -> None:
    path, server = listening
    server.close()
    for where in (path, f"{path}-none"):
        for sink in (JournalSink(where), SyslogSink(SystemLog([where]))):
            with pytest.raises(UnavailableError):
                sink.write(RECORDS)


def test_a_log_that_is_full_holds_nothing_up(listening: tuple[str, socket.socket]) -> None:
    path, server = listening
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    with pytest.raises(UnavailableError):
        JournalSink(path).write(RECORDS * 1000)


@pytest.mark.parametrize("name", ["", "sysloge", "file", "file:", "file:relative", "file:/a/", "file:/a\0", "/a"])
def test_an_unknown_sink_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="is not a sink"):
        parse_sink(name)
    assert [parse_sink(known).name for known in ("syslog", "journal", "file:/a")] == ["syslog", "journal", "file:/a"]
