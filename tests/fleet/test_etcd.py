"""The etcd transport against the real thing: one member, and three of which the leader is killed."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.etcd_server import Cluster, Tls, is_installed
from tests.fleet.fleet import Fleet, fleet_in_memory
from tests.keystores import LICENSE, folder_in_memory
from tiktrue_keys.core.lifecycle import Status
from tiktrue_keys.errors import UnavailableError, UsageError
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.syncing import distribute
from tiktrue_keys.fleet.transports import open_transport

pytest.importorskip("etcd3gw")
pytestmark = pytest.mark.skipif(not is_installed(), reason="etcd is not installed (Debian: etcd-server)")


@pytest.fixture(scope="module")
def single() -> Iterator[Cluster]:
    with folder_in_memory() as folder, Cluster(folder) as cluster:
        yield cluster


@pytest.fixture
def fleet(single: Cluster, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    address = f"{single.address}/{request.node.name}"
    with fleet_in_memory("n1", "n2", transport=open_transport(address)) as made:
        yield made
        made.transport.close()


def test_a_rotation_and_a_revocation_reach_everyone(fleet: Fleet) -> None:
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.deliver()
    old = fleet.key
    fleet.admin.rotate(["llama"], license_key=LICENSE, notify_all=True)
    fleet.deliver()
    fleet.admin.revoke([old.key_id], reason="lost")
    fleet.deliver()

    assert fleet_status(fleet.admin).error() is None
    for manager in fleet.nodes.values():
        assert [key.status for key in manager.chain("llama")] == [Status.REVOKED, Status.ACTIVE]


def test_a_reader_of_etcd_learns_no_key(fleet: Fleet, single: Cluster) -> None:
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.sync()
    secret = fleet.secret(fleet.admin)
    for name in fleet.nodes:
        fleet.receive(name)
    found = b"".join(path.read_bytes() for path in single.folder.rglob("*") if path.is_file())
    assert b"tiktrue-envelope/1" in found or base64.b64encode(b"tiktrue-envelope/1")[:20] in found
    for form in (secret, base64.b64encode(secret), secret.hex().encode()):
        assert form not in found


def test_consumed_envelopes_are_deleted(fleet: Fleet) -> None:
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.deliver()
    assert len(fleet.lines("n1")) == 1


def test_a_watch_wakes(fleet: Fleet) -> None:
    fleet.deliver()
    fleet.receive("n1")
    issuer, node_id = fleet.node_id(fleet.admin), fleet.node_id(fleet.nodes["n1"])
    woken = threading.Event()

    def watch() -> None:
        fleet.transport.wait(issuer, node_id, 20)
        woken.set()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    time.sleep(0.3)
    assert not woken.is_set()
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.sync()
    assert woken.wait(10)


def test_a_watch_that_was_compacted_still_catches_up(fleet: Fleet, single: Cluster) -> None:
    from etcd3gw.client import Etcd3Client

    fleet.deliver()
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.sync()
    client = Etcd3Client(host="127.0.0.1", port=single.clients[0], api_path="/v3/")
    client.post(client.get_url("/kv/compaction"), json={"revision": client.status()["header"]["revision"]})
    issuer, node_id = fleet.node_id(fleet.admin), fleet.node_id(fleet.nodes["n1"])
    fleet.transport.wait(issuer, node_id, 1)

    assert fleet.receive("n1").keys


def test_nobody_there() -> None:
    transport = open_transport("etcd://127.0.0.1:1/tiktrue")
    with pytest.raises(UnavailableError, match="etcd does not answer"):
        transport.collect("a" * 32, "b" * 32, (1, 0))


@pytest.mark.parametrize("address", ["etcd:", "etcd://host:1", "etcd://host:x/p", "etcd://:1/p", "etcd://host:99999/p"])
def test_malformed_addresses(address: str) -> None:
    with pytest.raises(UsageError):
        open_transport(address)


def _enable_passwords(cluster: Cluster) -> None:
    from etcd3gw.client import Etcd3Client

    client = Etcd3Client(host="127.0.0.1", port=cluster.clients[0], api_path="/v3/", timeout=5)
    for path, payload in (
        ("/auth/user/add", {"name": "root", "password": "root's"}),
        ("/auth/role/add", {"name": "root"}),
        ("/auth/user/grant", {"user": "root", "role": "root"}),
        ("/auth/enable", {}),
    ):
        client.post(client.get_url(path), json=payload)


def test_user_and_password(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("root's\n")
    with folder_in_memory() as folder, Cluster(folder) as cluster:
        _enable_passwords(cluster)
        with pytest.raises(UnavailableError):
            open_transport(cluster.address).collect("a" * 32, "b" * 32, (1, 0))
        given = {"user": "root", "password_file": str(password)}
        with fleet_in_memory("n1", transport=open_transport(cluster.address, given)) as fleet:
            distribute(fleet.admin, ["llama"], every_node=True)
            fleet.deliver()
            assert fleet_status(fleet.admin).error() is None
            fleet.transport.close()


def test_three_members_with_tls(tmp_path: Path) -> None:
    tls = Tls(tmp_path)
    with folder_in_memory() as folder, Cluster(folder, 3, tls=tls) as cluster:
        with pytest.raises(UnavailableError):
            open_transport(cluster.address, {"ca": str(tls.ca)}).collect("a" * 32, "b" * 32, (1, 0))
        with fleet_in_memory("n1", transport=open_transport(cluster.address, tls.credentials)) as fleet:
            distribute(fleet.admin, ["llama"], every_node=True)
            end = time.monotonic() + 15
            while time.monotonic() < end and fleet.sync().outage is not None:
                time.sleep(0.2)  # a quorum is not there with the first port that listens
            fleet.deliver()
            assert fleet_status(fleet.admin).error() is None
            fleet.transport.close()


def test_the_leader_is_killed_during_revocations() -> None:
    with (
        folder_in_memory() as folder,
        Cluster(folder, 3) as cluster,
        fleet_in_memory("n1", "n2", transport=open_transport(cluster.address)) as fleet,
    ):
        made = fleet.admin.generate("batch", license_key=LICENSE, count=3)
        distribute(fleet.admin, [key.key_id for key in made.keys], every_node=True)
        fleet.deliver()
        for key in made.keys:
            leader = cluster.leader()
            cluster.kill(leader)
            fleet.admin.revoke([key.key_id], reason="a leader died")
            cluster.wait_until_ready()
            end = time.monotonic() + 5
            while time.monotonic() < end and not _everywhere(fleet, key.key_id):
                if fleet.sync().outage is None:
                    for name in fleet.nodes:
                        fleet.receive(name)
            assert _everywhere(fleet, key.key_id)
            cluster.start(leader)
            cluster.wait_until_ready()
        fleet.transport.close()


def _everywhere(fleet: Fleet, key_id: str) -> bool:
    return all(manager.find(key_id).status is Status.REVOKED for manager in fleet.nodes.values())
