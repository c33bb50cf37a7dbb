"""The system's log takes whole records in its own form, from a datagram or a stream socket, or it is an error."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tests.keystores import ACTOR, NOON, error_of
from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.audit.system_log import SystemLog
from tiktrue_keys.errors import UnavailableError

ENTRY = AuditRecord(NOON, ACTOR, "decrypt", "ok", "an-operation", epoch=1, number=7)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_record_arrives_whole(tmp_path: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind(str(tmp_path / "log"))
        if kind == socket.SOCK_STREAM:
            listener.listen()
        SystemLog([str(tmp_path / "log")]).record(ENTRY)
        taker = listener.accept()[0] if kind == socket.SOCK_STREAM else listener
        with taker:
            line = taker.recv(65536)
    assert line.startswith(b"<37>")
    assert line.endswith(b"\0") is (kind == socket.SOCK_STREAM)
    head, _, body = line.rstrip(b"\0").partition(b": audit ")
    assert head.endswith(f"tiktrue-keys[{os.getpid()}]".encode())
    assert body == ENTRY.encode()
    assert json.loads(body)["event"] == "decrypt"


def test_the_next_socket_is_tried(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "second"))
        SystemLog([str(tmp_path / "first"), str(tmp_path / "second")]).record(ENTRY)
        assert listener.recv(65536).endswith(ENTRY.encode())


def test_a_record_without_a_log_is_an_error_that_names_the_first_socket(tmp_path: Path) -> None:
    error = error_of(lambda: SystemLog([str(tmp_path / "a"), str(tmp_path / "b")]).record(ENTRY))
    assert isinstance(error, UnavailableError)
    assert f"{tmp_path / 'a'}: no such file" in error.message
