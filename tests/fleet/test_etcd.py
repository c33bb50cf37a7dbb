"""The etcd transport against the real thing: one member, and three of which the leader is killed."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fleet.etcd_server import Cluster, Tls, is_installed
from tests.fleet.fleet import Fleet, fleet_in_memory, unsigned
from tests.keystores import LICENSE, folder_in_memory
from tests.waiting import PATIENCE
from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.errors import TikTrueKeysError, UnavailableError, UsageError
from tiktrue_keys.fleet.status import fleet_status
from tiktrue_keys.fleet.sync import distribute
from tiktrue_keys.fleet.transports import open_transport
from tiktrue_keys.fleet.transports.etcd import Etcd
from tiktrue_keys.fleet.transports.interface import Junk, Posted, Transport

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


def collected(transport: Transport) -> list[bytes]:
    """What a node that nothing was sent collects."""
    return list(transport.collect("a" * 32, "b" * 32, (1, 1, 0), Junk()))


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
    assert b"tiktrue-envelope/2" in found or base64.b64encode(b"tiktrue-envelope/2")[:20] in found
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
        fleet.transport.wait(issuer, node_id, 10 * PATIENCE)
        woken.set()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    time.sleep(0.3)
    assert not woken.is_set()
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.sync()
    assert woken.wait(PATIENCE)


@pytest.mark.timeout(PATIENCE)
def test_a_watch_that_was_compacted_still_catches_up(fleet: Fleet, single: Cluster) -> None:
    fleet.deliver()
    distribute(fleet.admin, ["llama"], every_node=True)
    fleet.sync()
    client = single.client()
    client.post(client.get_url("/kv/compaction"), json={"revision": client.status()["header"]["revision"]})
    issuer, node_id = fleet.node_id(fleet.admin), fleet.node_id(fleet.nodes["n1"])
    fleet.transport.wait(issuer, node_id, 10 * PATIENCE)

    assert fleet.receive("n1").keys


def test_more_than_a_page_comes_in_order(single: Cluster) -> None:
    issuer, node_id = "a" * 32, "b" * 32
    with closing(open_transport(f"{single.address}/pages")) as transport:
        posts = [Posted(node_id, (1, 1, number), b"%d" % number) for number in range(1, 251)]
        transport.publish(issuer, 1, posts, unsigned)
        assert list(transport.collect(issuer, node_id, (1, 1, 10), Junk())) == [
            b"%d" % number for number in range(10, 251)
        ]


def test_keys_that_are_no_text_end_no_search_and_make_none_endless(single: Cluster) -> None:
    """Whoever may write below the prefix may write any bytes."""
    issuer, node_id = "a" * 32, "b" * 32
    address = f"{single.address}/rubbish"
    folder = f"{address.removeprefix('etcd://').partition('/')[2]}/{issuer}/acknowledgements/".encode()
    client = single.client()
    for number in range(120):
        key = folder + bytes([0xFF, number])
        client.post(client.get_url("/kv/put"), json={"key": base64.b64encode(key).decode(), "value": "AA=="})
    with closing(open_transport(address)) as transport:
        transport.acknowledge(issuer, node_id, b"yes")
        assert list(transport.acknowledgements(issuer, [node_id], Junk())) == [(node_id, b"yes")]


def test_nobody_there() -> None:
    transport = open_transport("etcd://127.0.0.1:1/tiktrue")
    with pytest.raises(UnavailableError, match="etcd does not answer: 127\\.0\\.0\\.1:1: Connection refused"):
        collected(transport)


@pytest.mark.parametrize(
    "address",
    [
        "etcd:",
        "etcd://host:1",
        "etcd://host:x/p",
        "etcd://:1/p",
        "etcd://host:99999/p",
        "etcd://host:0/p",
        "etcd://a,,b/p",
        "etcd://a b/p",
        "etcd://[::1/p",
    ],
)
def test_malformed_addresses(address: str) -> None:
    with pytest.raises(UsageError):
        open_transport(address)


def test_an_address_with_a_password_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        open_transport("etcd://root:geheim@host:1/p")
    assert "geheim" not in caught.value.message + str(caught.value.hint)


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    with pytest.raises(UnavailableError, match=r"::1:1: (Connection refused|Cannot assign|Address family)"):
        collected(open_transport("etcd://[::1]:1/p"))


def test_user_and_password(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("root's\n")
    with folder_in_memory() as folder, Cluster(folder, password=password) as cluster:
        with pytest.raises(UnavailableError):
            collected(open_transport(cluster.address))
        transport = open_transport(cluster.address, cluster.credentials)
        with fleet_in_memory("n1", transport=transport) as fleet:
            distribute(fleet.admin, ["llama"], every_node=True)
            fleet.deliver()
            assert fleet_status(fleet.admin).error() is None
            _forget_tokens(transport)
            assert fleet.sync().outage is None
            transport.close()


def _forget_tokens(transport: Transport) -> None:
    """As a member does that was restarted, or was not asked for five minutes."""
    assert isinstance(transport, Etcd)
    for client in transport._members._clients.values():
        client.session.headers["Authorization"] = "forgotten.1"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A member with TLS that demands a certificate and a password, and files with other things in them."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "password").write_text("the right one\n")
    (folder / "wrong").write_text("the wrong one\n")
    (folder / "binary").write_bytes(b"\xff\xfe\n")
    with Cluster(folder, tls=Tls(folder), password=folder / "password") as cluster:
        yield cluster


PASSWORD, CERTIFICATE = ("user", "password_file"), ("cert", "key")


@pytest.mark.parametrize(
    ("left_out", "changed", "code", "message", "hint"),
    [
        (PASSWORD, {}, "unavailable", "user name is empty", "fleet.password_file"),
        ((), {"password_file": "wrong"}, "unavailable", "authentication failed", "fleet.password_file"),
        ((), {"password_file": "binary"}, "usage", "is not text", "UTF-8"),
        ((), {"password_file": "none"}, "not-found", "etcd's password", ""),
        (CERTIFICATE, {}, "unavailable", "TLS: ", "fleet.cert"),
        ((*CERTIFICATE, "ca"), {}, "unavailable", "etcd does not answer", "fleet.ca"),
        ((), {"ca": "none"}, "unavailable", "TLS: Could not find", "fleet.ca"),
        ((), {"ca": "wrong"}, "unavailable", "TLS: ", "fleet.ca"),
        ((), {"ca": "client.pem"}, "unavailable", "TLS: ", "fleet.ca"),
        ((), {"cert": "wrong"}, "unavailable", "TLS: ", "fleet.cert"),
        ((), {"key": "member.key"}, "unavailable", "TLS: ", "fleet.key"),
        ((), {"cert": "member.pem", "key": "member.key"}, "unavailable", "CommonName", "without a common name"),
        (("key",), {}, "usage", "cert with key", "fleet."),
        (("ca",), {}, "usage", "beside ca", "fleet."),
        (("user",), {}, "usage", "user with password_file", "fleet."),
    ],
)
def test_what_does_not_get_in(
    guarded: Cluster, left_out: tuple[str, ...], changed: dict[str, str], code: str, message: str, hint: str
) -> None:
    files = {name: str(guarded.folder / value) for name, value in changed.items()}
    given = {name: value for name, value in (guarded.credentials | files).items() if name not in left_out}
    with pytest.raises(TikTrueKeysError) as caught:
        collected(open_transport(guarded.address, given))
    assert (caught.value.code, message in caught.value.message) == (code, True), caught.value.message
    assert hint in (caught.value.hint or "")
    assert "the wrong one" not in caught.value.message


def test_what_gets_in(guarded: Cluster) -> None:
    assert collected(open_transport(guarded.address, guarded.credentials)) == []


@pytest.mark.timeout(2 * PATIENCE)
def test_a_watched_member_that_dies_is_noticed_at_once() -> None:
    with folder_in_memory() as folder, Cluster(folder, 3) as cluster:
        transport = open_transport(cluster.address)
        collected(transport)
        killing = threading.Timer(0.5, cluster.kill, [0])
        killing.start()
        transport.wait("a" * 32, "b" * 32, 10 * PATIENCE)
        assert cluster.processes[0] is None
        killing.join()
        cluster.wait_until_ready()
        assert collected(transport) == []
        transport.close()
