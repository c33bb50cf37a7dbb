"""etcd from Debian on loopback, one member or several, on free ports, for the length of a test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

TOO_LONG = 30.0


def is_installed() -> bool:
    """Whether there is an etcd to start."""
    return shutil.which("etcd") is not None


class Cluster:
    """`count` members; a context manager that leaves no process behind."""

    def __init__(self, folder: Path, count: int = 1) -> None:
        self.folder = folder
        ports = _free_ports(2 * count)
        self.clients, self.peers = ports[:count], ports[count:]
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * count

    @property
    def address(self) -> str:
        """What --via takes."""
        return "etcd://" + ",".join(f"127.0.0.1:{port}" for port in self.clients) + "/tiktrue"

    def __enter__(self) -> Cluster:
        for place in range(len(self.clients)):
            self.start(place)
        self.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for place in range(len(self.clients)):
            self.kill(place)

    def start(self, place: int) -> None:
        """Start one member, anew or on the data that it had."""
        client, peer = (f"http://127.0.0.1:{ports[place]}" for ports in (self.clients, self.peers))
        cluster = ",".join(f"m{number}=http://127.0.0.1:{port}" for number, port in enumerate(self.peers))
        with open(self.folder / f"m{place}.log", "ab") as log:
            self.processes[place] = subprocess.Popen(
                [
                    "etcd",
                    f"--name=m{place}",
                    f"--data-dir={self.folder / f'm{place}'}",
                    f"--listen-client-urls={client}",
                    f"--advertise-client-urls={client}",
                    f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster={cluster}",
                    "--logger=zap",
                ],
                stdout=log,
                stderr=log,
            )

    def kill(self, place: int) -> None:
        """kill -9 one member."""
        process, self.processes[place] = self.processes[place], None
        if process is not None:
            process.kill()
            process.wait()

    def wait_until_ready(self) -> None:
        """Return once a member that lives answers with a quorum behind it."""
        end = time.monotonic() + TOO_LONG
        while time.monotonic() < end:
            for place, process in enumerate(self.processes):
                if process is not None and self._is_healthy(self.clients[place]):
                    return
            time.sleep(0.1)
        raise AssertionError("etcd did not come up")

    def leader(self) -> int:
        """Which member leads."""
        from etcd3gw.client import Etcd3Client

        end = time.monotonic() + TOO_LONG
        while time.monotonic() < end:
            for place, process in enumerate(self.processes):
                if process is None:
                    continue
                with contextlib.suppress(Exception):
                    client = Etcd3Client(port=self.clients[place], host="127.0.0.1", api_path="/v3/", timeout=2)
                    said = client.status()
                    if said.get("leader") == said["header"]["member_id"]:
                        return place
            time.sleep(0.1)
        raise AssertionError("etcd has no leader")

    @staticmethod
    def _is_healthy(port: int) -> bool:
        with contextlib.suppress(OSError):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{port}/health", timeout=1) as said:
                return b"true" in said.read()
        return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
