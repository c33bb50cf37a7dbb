"""A keystore on a read-only mount: plaintext is released once the system's log has the record, and not before.

The mounts are real and in a namespace of their own; where `/dev/log` would be listens the test.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE, error_of
from tests.machines import REPOSITORY, SERVER, give_to_nobody, skip_reason
from tests.models.workshop import MODEL, Workshop, folder_request, pattern
from tiktrue_keys.core.audit.record import AuditRecord
from tiktrue_keys.core.read_only import SystemLogManager
from tiktrue_keys.errors import InsecureError, NotFoundError, UnavailableError
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.folder.encrypt import encrypt_folder

pytestmark = pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason()))
LENGTH = 5000


class SystemLog:
    """A /dev of its own, shown in the namespace; `listen` makes the socket that syslogd would have in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket: socket.socket | None = None

    def listen(self, kind: socket.SocketKind = socket.SOCK_DGRAM) -> None:
        self._socket = socket.socket(socket.AF_UNIX, kind)
        self._socket.bind(str(self.folder / "log"))
        self._socket.settimeout(0.2)
        if kind is socket.SOCK_STREAM:
            self._socket.listen()

    def lines(self) -> list[str]:
        """What has arrived, datagram by datagram."""
        found = []
        assert self._socket is not None
        while True:
            try:
                found.append(self._socket.recv(1 << 16).decode())
            except TimeoutError:
                return found

    def streamed(self) -> list[str]:
        """The same of a stream socket, connection by connection."""
        found = []
        assert self._socket is not None
        while True:
            try:
                with self._socket.accept()[0] as connection:
                    found += connection.makefile("rb").read().decode().split("\0")[:-1]
            except TimeoutError:
                return found

    def records(self) -> list[dict[str, Any]]:
        """The audit records among them."""
        return [json.loads(line.partition(": audit ")[2]) for line in self.lines() if ": audit " in line]

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


@pytest.fixture
def log() -> Iterator[SystemLog]:
    with tempfile.TemporaryDirectory() as folder:  # a socket's path has at most 107 bytes
        found = SystemLog(Path(folder))
        try:
            yield found
        finally:
            found.close()


@pytest.fixture
def sealed(shop: Workshop) -> Path:
    """A container; the keystore is closed."""
    made = shop.sealed(LENGTH)
    shop.manager.close()
    return made


def run(shop: Workshop, log: SystemLog, *words: str) -> subprocess.CompletedProcess[bytes]:
    """The program where the keystore is mounted read-only and /dev is the log's folder."""
    keys, dev = shop.desk.folder, log.folder
    script = f"""set -e
        mount --bind {keys} {keys}
        mount -o remount,ro,bind {keys}
        for name in null urandom; do touch {dev}/$name; mount --bind /dev/$name {dev}/$name; done
        mount --rbind {dev} /dev
        exec "$@" """
    program = shop.program()
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *program.argv(*words)],
        env=program.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


def test_without_the_option_it_is_refused(shop: Workshop, sealed: Path, log: SystemLog) -> None:
    log.listen()
    done = run(shop, log, "decrypt-model", str(sealed))
    assert done.returncode == 5
    assert b"is read-only" in done.stderr
    assert b"hint: use --audit-to syslog" in done.stderr
    assert shop.names() == {"weights.bin.ttm"}
    assert log.records() == []


def test_with_it_the_log_has_the_intent_and_the_outcome(shop: Workshop, sealed: Path, log: SystemLog) -> None:
    log.listen()
    size = shop.manager.audit_size()
    file_id = shop.manager.containers()[0].file_id.hex()
    shop.manager.close()
    done = run(shop, log, "decrypt-model", str(sealed), "--audit-to", "syslog", "--operation-id", "nightly")
    assert done.returncode == 0, done.stderr
    assert (shop.folder / "weights.bin").read_bytes() == pattern(LENGTH)
    intent, outcome = log.records()
    assert (intent["event"], outcome["event"], outcome["outcome"]) == ("intent", "decrypt", "ok")
    for record in (intent, outcome):
        assert (record["operation_id"], record["key_id"], record["model_id"]) == ("nightly", shop.key.key_id, MODEL)
        assert (record["detail"]["file_id"], record["detail"]["path"]) == (file_id, str(sealed))
        assert (record["number"], record["actor"]["command"]) == (size, "decrypt-model")
    assert outcome["detail"]["destination"] == str(shop.folder / "weights.bin")
    assert LICENSE not in json.dumps([intent, outcome])
    assert shop.manager.audit_size() == size


def test_a_log_that_listens_to_a_stream(shop: Workshop, sealed: Path, log: SystemLog) -> None:
    log.listen(socket.SOCK_STREAM)
    done = run(shop, log, "decrypt-model", str(sealed), "-o", "-", "--audit-to", "syslog")
    assert (done.returncode, done.stdout) == (0, pattern(LENGTH))
    lines = [line for line in log.streamed() if ": audit " in line]
    assert len(lines) == 1
    assert lines[0].startswith("<37>")
    assert json.loads(lines[0].partition(": audit ")[2])["event"] == "decrypt"


@pytest.mark.parametrize("destination", ["-", "out"])
def test_without_a_log_nothing_is_released(shop: Workshop, sealed: Path, log: SystemLog, destination: str) -> None:
    where = destination if destination == "-" else str(shop.folder / destination)
    done = run(shop, log, "decrypt-model", str(sealed), "-o", where, "--audit-to", "syslog")
    assert (done.returncode, done.stdout) == (12, b"")
    assert b"the system's log does not take the audit record: /dev/log: no such file or directory" in done.stderr
    assert shop.names() == {"weights.bin.ttm"}


def test_a_refusal_goes_there_too(shop: Workshop, sealed: Path, log: SystemLog) -> None:
    shop.manager.revoke([shop.key.key_id], reason="leaked")
    shop.manager.close()
    log.listen()
    done = run(shop, log, "decrypt-model", str(sealed), "--audit-to", "syslog")
    assert done.returncode == 10
    (line,) = log.lines()
    assert "decrypt-model by " in line
    assert ": revoked: " in line


def test_a_folder(shop: Workshop, log: SystemLog) -> None:
    source = shop.folder / "llama"
    source.mkdir()
    for name in ("a", "b", "c"):
        shop.plain(LENGTH, f"llama/{name}")
    encrypt_folder(shop.manager, folder_request(source, plain=["c"]))
    shop.manager.close()
    assert run(shop, log, "decrypt-model", f"{source}.ttm", "-o", str(shop.folder / "out")).returncode == 5
    log.listen()
    done = run(shop, log, "decrypt-model", f"{source}.ttm", "-o", str(shop.folder / "out"), "--audit-to", "syslog")
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in (shop.folder / "out").iterdir()} == dict.fromkeys(
        "abc", pattern(LENGTH)
    )
    assert [record["event"] for record in log.records()] == ["intent", "decrypt-folder"]


def test_a_program_in_memory(shop: Workshop, sealed: Path, log: SystemLog) -> None:
    words = [str(sealed), "--", shutil.which("wc") or "wc", "-c", "{}"]
    assert run(shop, log, "exec-model", *words).returncode == 125
    assert run(shop, log, "exec-model", "--audit-to", "syslog", *words).stdout == b""
    log.listen()
    done = run(shop, log, "exec-model", "--audit-to", "syslog", *words)
    assert (done.returncode, done.stdout.split()[:1]) == (0, [str(LENGTH).encode()])
    (record,) = log.records()
    assert (record["event"], record["detail"]["program"]) == ("exec", words[2])


def test_where_the_keystore_can_be_written_to_it_has_the_record(shop: Workshop, sealed: Path) -> None:
    program = shop.program()
    program.ok("decrypt-model", str(sealed), "--audit-to", "syslog")
    assert shop.last_events(2) == [("intent", "ok"), ("decrypt", "ok")]
    done = program.run("decrypt-model", str(sealed), "--audit-to", "kafka")
    assert (done.returncode, "'kafka' is not a sink" in done.stderr) == (2, True)


def test_a_keystore_whose_owner_may_only_read_it(tmp_path: Path) -> None:
    desk = give_to_nobody(tmp_path)
    at = ["--keystore", str(desk / "keys"), "--host-secret", str(desk / "host/secret")]
    words = {
        "generate": [MODEL],
        "encrypt-model": [str(desk / "m"), "--key", MODEL],
        "decrypt-model": [str(desk / "m.ttm"), "-o", str(desk / "out")],
    }

    def run(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tiktrue_keys", name, *at, *words[name]]
        environment = {"TIKTRUE_LICENSE_KEY": LICENSE, "PYTHONPATH": str(REPOSITORY)}
        return SERVER.run(command, user="nobody", cwd=desk, env=environment)

    (desk / "m").write_bytes(pattern(LENGTH))
    (desk / "m").chmod(0o644)
    for name in ("generate", "encrypt-model"):
        done = run(name)
        assert done.returncode == 0, done.stderr
    (desk / "keys/keystore.db").chmod(0o400)
    (desk / "keys").chmod(0o500)
    refused = run("decrypt-model")
    assert (refused.returncode, "--audit-to syslog" in refused.stderr) == (5, True)
    assert not (desk / "out").exists()


@pytest.mark.parametrize("words", [("rotate", MODEL), ("backup", "copy.db"), ("backup", "--to", ".")])
def test_what_writes_into_it_is_refused(shop: Workshop, sealed: Path, log: SystemLog, words: tuple[str, ...]) -> None:
    done = run(shop, log, *words)
    assert done.returncode == 5, done.stderr
    assert b"is read-only" in done.stderr


def test_a_backup_of_a_snapshot(shop: Workshop, sealed: Path, log: SystemLog) -> None:
    log.listen()
    size = shop.manager.audit_size()
    shop.manager.close()
    copy = shop.folder / "copy.db"
    done = run(shop, log, "backup", str(copy), "--audit-to", "syslog")
    assert done.returncode == 0, done.stderr
    intent, outcome = log.records()
    assert (intent["event"], intent["detail"]["act"], outcome["event"]) == ("intent", "backup", "backup")
    assert (outcome["detail"]["records"], shop.manager.audit_size()) == (size, size)
    shop.manager.generate("later", no_license=True)
    shop.manager.restore(copy)
    assert shop.manager.find(MODEL).model_id == MODEL
    assert isinstance(error_of(lambda: shop.manager.find("later")), NotFoundError)


class Sink:
    """A sink of the settings, which is full when told."""

    name = "a sink"

    def __init__(self) -> None:
        self.found: list[AuditRecord] = []
        self.is_full = False

    def write(self, records: Sequence[AuditRecord]) -> None:
        if self.is_full:
            raise InsecureError("it can be written by others")
        self.found += records


def test_a_sink_takes_the_record_first_or_nothing_is_released(shop: Workshop) -> None:
    container, sink = shop.sealed(LENGTH), Sink()
    manager = SystemLogManager(shop.manager, sink)
    before = manager.audit_size()
    decrypt_model(manager, container, shop.folder / "plain", license_key=LICENSE)
    assert [record.event for record in sink.found] == ["intent", "decrypt"]
    sink.is_full = True
    with pytest.raises(UnavailableError, match="it can be written by others"):
        decrypt_model(manager, container, shop.folder / "other", license_key=LICENSE)
    assert not (shop.folder / "other").exists()
    assert manager.audit_size() - before <= 1  # the failure, where the keystore can be written to
