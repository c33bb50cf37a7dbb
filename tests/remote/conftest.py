"""A bucket on a server that speaks S3, and a keystore beside it."""

from __future__ import annotations

from collections.abc import Iterator
from secrets import token_hex
from typing import Any

import pytest

from tests.remote.server import Relay, Server

_MISSING = "moto, flask-cors and s3fs are installed by the extra `test`"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    for package in ("moto", "flask_cors", "s3fs"):
        pytest.importorskip(package, reason=_MISSING)
    running = Server()
    yield running
    running.kill()


class Bucket:
    """A bucket of the test's own: what lies in it, seen by the storage's own client and not by ours."""

    def __init__(self, name: str, relay: Relay) -> None:
        from fsspec import filesystem

        self.name = name
        self.relay = relay
        self._system = filesystem("s3")
        self._system.retries = 1  # what fails here does so on purpose
        self._system.mkdir(name)

    def url(self, name: str) -> str:
        return f"s3://{self.name}/{name}"

    def get(self, name: str) -> bytes:
        content: bytes = self._system.cat_file(f"{self.name}/{name}")
        return content

    def put(self, name: str, data: bytes) -> str:
        self._system.pipe_file(f"{self.name}/{name}", data)
        return self.url(name)

    def remove(self, name: str) -> None:
        self._system.rm_file(f"{self.name}/{name}")

    def names(self) -> list[str]:
        self._system.invalidate_cache()
        return sorted(path.removeprefix(f"{self.name}/") for path in self._system.find(self.name))

    def uploads(self) -> list[Any]:
        """Uploads in parts that are neither completed nor given up."""
        return list(self._system.list_multipart_uploads(self.name))


def storage_environment(endpoint: str) -> dict[str, str]:
    """What the storage's client reads; it gives up early."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "an-access-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }


@pytest.fixture(scope="session")
def shared_relay(server: Server) -> Iterator[Relay]:
    """One for all: a client of the storage is at home at one address, and takes half a second to make."""
    with Relay(server.port) as running:
        yield running


@pytest.fixture
def relay(shared_relay: Relay) -> Iterator[Relay]:
    yield shared_relay
    shared_relay.cut_up_after = shared_relay.cut_down_after = None


@pytest.fixture
def bucket(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in storage_environment(relay.url).items():
        monkeypatch.setenv(name, value)
    return Bucket(f"models-{token_hex(4)}", relay)
