"""A node that a cut cable keeps from etcd, in a network namespace of its own: it catches up by its watch, or by one
command."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fleet.etcd_server import Cluster, is_installed
from tests.fleet.processes import Staff, Watcher
from tests.keystores import folder_in_memory

PROGRAMS = ("ip", "nsenter")


class Wire:
    """A network namespace at the end of a virtual cable; etcd's side of it has the address `here`."""

    def __init__(self) -> None:
        number = os.getpid() % 16_000
        self.name, self.plug = f"tiktrue{number}", f"tikt{number}"
        block = f"198.18.{number // 64}.{number % 64 * 4}".rpartition(".")
        self.here, self.there = (f"{block[0]}.{int(block[2]) + place}" for place in (1, 2))

    @property
    def within(self) -> list[str]:
        """What runs a command at the far end. Nothing but the network is another: the machine's facts stay."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def __enter__(self) -> Wire:
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self.plug, "type", "veth", "peer", "name", "far", "netns", self.name)
            for before, plug, address in (([], self.plug, self.here), (["-n", self.name], "far", self.there)):
                _ip(*before, "addr", "add", f"{address}/30", "dev", plug)
                _ip(*before, "link", "set", plug, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "del", self.name)
        with suppress(subprocess.CalledProcessError):  # with the namespace goes its end, and so this one
            _ip("link", "del", self.plug)

    def cut(self) -> None:
        """Pull the plug."""
        _ip("link", "set", self.plug, "down")

    def mend(self) -> None:
        """Put it back."""
        _ip("link", "set", self.plug, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _reason() -> str | None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not is_installed() or missing:
        return f"not installed: {', '.join(missing or ['etcd'])} (Debian: iproute2, util-linux, etcd-server)"
    try:
        with Wire():
            return None
    except subprocess.CalledProcessError:
        return "network namespaces are not allowed here"


REASON = _reason()
pytestmark = [pytest.mark.skipif(REASON is not None, reason=str(REASON)), pytest.mark.slow]


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as made:
        yield made


@pytest.fixture
def cluster(wire: Wire) -> Iterator[Cluster]:
    with folder_in_memory() as folder, Cluster(folder, host=wire.here) as made:
        yield made


def test_a_node_that_was_cut_off_catches_up(wire: Wire, cluster: Cluster, tmp_path: Path) -> None:
    staff = Staff(tmp_path, cluster.address, {}, ("far", "near"))
    far = staff.nodes["far"]
    first, second = staff.key_ids("generate", "batch", "--count", "2")
    staff.admin.ok("fleet", "send", first, second, "--all")
    with Watcher(far, *wire.within) as watcher, Watcher(staff.nodes["near"]) as neighbour:
        assert watcher.wait_for(second, "active", watcher.soon())
        assert neighbour.wait_for(second, "active", watcher.soon())
        wire.cut()
        staff.admin.ok("revoke", first, "--reason", "lost", "--yes")
        assert neighbour.wait_for(first, "revoked", watcher.soon())
        assert (first, "revoked") not in watcher.told
        wire.mend()
        assert watcher.wait_for(first, "revoked", watcher.soon()), "by the watch that goes on"

    wire.cut()
    staff.admin.ok("revoke", second, "--reason", "lost", "--yes")
    (new,) = staff.key_ids("rotate", "llama", "--notify", "far")
    assert _received(wire, far.argv("fleet", "receive"), far.environment) == 12
    wire.mend()
    assert _received(wire, far.argv("fleet", "receive"), far.environment) == 0
    assert far.json("show", second)["result"]["keys"][-1]["status"] == "revoked"
    assert far.json("show", new)["result"]["keys"][-1]["status"] == "active"


def _received(wire: Wire, argv: list[str], environment: dict[str, str]) -> int:
    return subprocess.run([*wire.within, *argv], env=environment, capture_output=True, check=False).returncode
