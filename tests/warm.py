"""A warm interpreter: it has loaded all modules of the program, and each run is a child that is forked from it.

A run is the unmodified `main` of the program with arguments, environment, working folder, streams and exit code of its
own. It takes a fifth of the processor time of a fresh interpreter, most of which loads modules. What it cannot show is
how a process starts and ends: the tests of that run fresh ones, and TESTS_IN_FULL=1 does so everywhere.

Where the interpreter's environment asks for a measurement of coverage, that of the modules' loading is its own, and a
child takes part when its request says so.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import pkgutil
import resource
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from coverage import Coverage

from tests.faults.traced import program

REPOSITORY = Path(__file__).parents[1]
PROGRAM = "tiktrue_keys"
_LAZILY_LOADED = ("blake3", "psutil", "rich.console", "rich.progress", "rich.table", "rich.text", "rich.tree", "s3fs")
_MESSAGE = 1 << 17
"""The most bytes of a request: arguments and a nearly empty environment."""


class WarmInterpreter:
    """The client's side: one interpreter, one run at a time, for the process that made it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._owner, self._busy = os.getpid(), threading.Lock()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                cwd=REPOSITORY,
                env={**environment, "LANG": "C.UTF-8", "PYTHONPATH": str(REPOSITORY)},
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.close)

    @property
    def process_id(self) -> int:
        """Whose children the runs are."""
        return self._process.pid

    def run(
        self,
        words: Sequence[str],
        data: bytes | None,
        *,
        folder: Path,
        environment: Mapping[str, str],
        timeout: float,
        measured: bool = False,
        limits: Mapping[int, int] | None = None,
    ) -> subprocess.CompletedProcess[bytes] | None:
        """Run the program with these words, `data` on its standard input (none: /dev/null), under limits of resources.

        None, and nothing is run, while it runs something for another thread, and in a fork of the tests.
        """
        if os.getpid() != self._owner or not self._busy.acquire(blocking=False):
            return None
        asked = {"folder": str(folder), "environment": dict(environment), "measured": measured}
        asked["limits"] = list((limits or {}).items())
        try:
            return self._run(words, data, asked, timeout)
        finally:
            self._busy.release()

    def _run(
        self, words: Sequence[str], data: bytes | None, asked: Mapping[str, Any], timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        request = json.dumps({"words": list(words), **asked}).encode()
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        in_end, into = os.pipe() if data is not None else (os.open(os.devnull, os.O_RDONLY), None)
        ends = [in_end, out_end, err_end]
        try:
            socket.send_fds(self._connection, [request], ends)
        finally:
            for end in ends:
                os.close(end)
        streams = [_Reading(out), _Reading(err)]
        writer = _Writing(into, data) if into is not None and data is not None else None
        child = int(self._connection.recv(64))
        self._connection.settimeout(timeout)
        try:
            code = int(self._connection.recv(64))
        except TimeoutError:
            os.kill(child, 9)
            self._connection.settimeout(None)
            self._connection.recv(64)
            raise subprocess.TimeoutExpired([PROGRAM, *words], timeout) from None
        finally:
            self._connection.settimeout(None)
        if writer is not None:
            writer.join()
        output, errors = (stream.read() for stream in streams)
        return subprocess.CompletedProcess([PROGRAM, *words], code, output, errors)

    def close(self) -> None:
        """End the interpreter; it has no child then."""
        self._connection.close()
        self._process.wait()


class _Reading(threading.Thread):
    """Reads a pipe to its end."""

    def __init__(self, end: int) -> None:
        super().__init__(daemon=True)
        self._file: BinaryIO = open(end, "rb")  # noqa: SIM115
        self._data = b""
        self.start()

    def run(self) -> None:
        with self._file:
            self._data = self._file.read()

    def read(self) -> bytes:
        self.join()
        return self._data


class _Writing(threading.Thread):
    """Writes to a pipe until all is written or its reader is gone."""

    def __init__(self, end: int, data: bytes) -> None:
        super().__init__(daemon=True)
        self._end, self._data = end, memoryview(data)
        self.start()

    def run(self) -> None:
        try:
            while self._data:
                self._data = self._data[os.write(self._end, self._data) :]
        except BrokenPipeError:
            pass
        finally:
            os.close(self._end)


def warm_up() -> None:
    """Load every module of the program, and what it loads lazily."""
    package = import_module(PROGRAM)
    for module in pkgutil.walk_packages(package.__path__, f"{PROGRAM}."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    for name in _LAZILY_LOADED:
        with contextlib.suppress(ImportError):  # what an extra brings
            import_module(name)
    gc.collect()
    gc.freeze()  # else a child's first collection would copy the memory that it shares with us


def serve(connection: socket.socket) -> Mapping[str, Any]:
    """Fork a child for each request. Returns in the child, which has become what was asked for, with the request."""
    while True:
        data, ends, _, _ = socket.recv_fds(connection, _MESSAGE, 3)
        if not data:
            sys.exit(0)
        request: dict[str, Any] = json.loads(data)
        child = os.fork()
        if child == 0:
            connection.close()
            _become(request, ends)
            return request
        for end in ends:
            os.close(end)
        connection.send(str(child).encode())
        _, status = os.waitpid(child, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: Mapping[str, Any], ends: Sequence[int]) -> None:
    """Take over streams, folder and environment, as the start of an interpreter does."""
    for number, end in enumerate(ends):
        os.dup2(end, number)
        os.close(end)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # type: ignore[misc]  # noqa: SIM115
        2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False
    )
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for limit, amount in request["limits"]:
        resource.setrlimit(limit, (amount, amount))


def _main() -> NoReturn:
    connection = socket.socket(fileno=int(sys.argv[1]))
    measurement = Coverage.current()  # started by the environment
    warm_up()
    if measurement is not None:
        measurement.stop()
        measurement.save()
    request = serve(connection)
    work = program(request["words"])
    code = 1
    try:
        with _measured(measurement if request["measured"] else None):
            code = work()
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001  as the interpreter does
        traceback.print_exc()
    finally:
        os._exit(code)  # taking an interpreter with all these modules apart takes longer than most commands


@contextlib.contextmanager
def _measured(measurement: Coverage | None) -> Iterator[None]:
    """Go on with the measurement, whose data goes to a file of this process."""
    if measurement is None:
        yield
        return
    measurement.start()
    try:
        yield
    finally:
        measurement.stop()
        measurement.save()


if __name__ == "__main__":
    _main()
