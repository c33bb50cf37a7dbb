"""A server that speaks S3 on loopback (moto), a process of its own, and a relay before it that counts and cuts."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import TracebackType

from tests.program import unmeasured
from tests.waiting import PATIENCE

_CHUNK = 1 << 16


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Server:
    """moto's own program; `kill` is what a power cut is to its clients."""

    def __init__(self) -> None:
        self.port = _free_port()
        words = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        nowhere = subprocess.DEVNULL
        self._process = subprocess.Popen(words, stdout=nowhere, stderr=nowhere, env=unmeasured())
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.kill()
                raise RuntimeError("moto's server does not start")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/moto-api/", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


class Relay:
    """Passes connections on to a port. `up` and `down` count the bytes to the server and back, `requests`
    what was asked of it, `refused` connections.

    `cut_down_after` (bytes of one connection's answers) and `cut_up_after` (bytes of all requests) end connections in
    the middle; once `cut_up_after` is reached everything is refused, as by a server that is gone.
    """

    def __init__(self, port: int) -> None:
        self.up = self.down = self.refused = self.requests = 0
        self.cut_up_after: int | None = None
        self.cut_down_after: int | None = None
        self._target = port
        self._guard = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    @property
    def url(self) -> str:
        """What clients take for the server."""
        return f"http://127.0.0.1:{self.port}"

    def drop(self) -> None:
        """End every connection."""
        with self._guard:
            dropped, self._open = self._open, set()
        for each in dropped:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    @contextlib.contextmanager
    def counted(self) -> Iterator[list[int]]:
        """The bytes [up, down] that the block took, known at its end."""
        taken = [self.up, self.down]
        yield taken
        taken[:] = [self.up - taken[0], self.down - taken[1]]

    def _is_gone(self) -> bool:
        return self.cut_up_after is not None and self.up >= self.cut_up_after

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_gone():
                self.refused += 1
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            with self._guard:
                self._open |= {client, server}
            threading.Thread(target=self._pump_up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pump_down, args=(server, client), daemon=True).start()

    def _pump_up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_CHUNK):
                self.up += len(data)
                self.requests += data.count(b" HTTP/1.1\r\n")
                if self._is_gone():
                    break
                server.sendall(data)
        self._end(client, server)

    def _pump_down(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := server.recv(_CHUNK):
                self.down += len(data)
                passed += len(data)
                if self.cut_down_after is not None and passed > self.cut_down_after:
                    break
                client.sendall(data)
        self._end(client, server)

    def _end(self, *pair: socket.socket) -> None:
        for each in pair:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            with self._guard:
                self._open.discard(each)
            each.close()
