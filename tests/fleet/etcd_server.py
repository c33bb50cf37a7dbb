"""etcd from Debian on loopback, one member or several, on free ports, for the length of a test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from etcd3gw.client import Etcd3Client

LOCAL = "127.0.0.1"
_AUTHORITY = "an authority, made up for tests"


def is_installed() -> bool:
    """Whether there is an etcd to start."""
    return shutil.which("etcd") is not None


class Tls:
    """A made-up authority, a certificate of it for the members and one for their clients, as files.

    The client's has no common name: etcd's gateway, asked with a password, takes no other.
    """

    def __init__(self, folder: Path) -> None:
        self.ca, self.cert, self.key = (folder / name for name in ("ca.pem", "member.pem", "member.key"))
        self.client_cert, self.client_key = folder / "client.pem", folder / "client.key"
        authority = ec.generate_private_key(ec.SECP256R1())
        self.ca.write_bytes(_certificate(_AUTHORITY, authority, authority.public_key(), is_ca=True))
        for name, cert, key in (("a member", self.cert, self.key), ("", self.client_cert, self.client_key)):
            private = ec.generate_private_key(ec.SECP256R1())
            cert.write_bytes(_certificate(name, authority, private.public_key(), is_ca=False))
            form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            key.write_bytes(private.private_bytes(*form))

    @property
    def options(self) -> list[str]:
        """What makes etcd speak TLS with its clients and among its members, and want a certificate of either."""
        files = {"cert-file": self.cert, "key-file": self.key, "trusted-ca-file": self.ca, "client-cert-auth": "true"}
        return [f"--{kind}{name}={value}" for kind in ("", "peer-") for name, value in files.items()]

    @property
    def context(self) -> ssl.SSLContext:
        """A client's side, for the standard library."""
        made = ssl.create_default_context(cafile=str(self.ca))
        made.load_cert_chain(self.client_cert, self.client_key)
        return made

    @property
    def credentials(self) -> dict[str, str]:
        """What the transport takes."""
        return {"ca": str(self.ca), "cert": str(self.client_cert), "key": str(self.client_key)}


def _certificate(
    name: str, signer: ec.EllipticCurvePrivateKey, public: ec.EllipticCurvePublicKey, *, is_ca: bool
) -> bytes:
    subject, issuer = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)] if each else []) for each in (name, _AUTHORITY)
    )
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=3650)).not_valid_after(now + timedelta(days=3650))
    builder = builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    address = x509.IPAddress(ip_address(LOCAL))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Cluster:
    """`count` members; a context manager that leaves no process behind. With a password its user `root` is demanded."""

    def __init__(
        self, folder: Path, count: int = 1, *, tls: Tls | None = None, password: Path | None = None, host: str = LOCAL
    ) -> None:
        self.folder = folder
        self.tls = tls
        self.password = password
        self.host = host
        ports = _free_ports(2 * count)
        self.clients, self.peers = ports[:count], ports[count:]
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * count

    @property
    def address(self) -> str:
        """What --via takes."""
        return "etcd://" + ",".join(f"{self.host}:{port}" for port in self.clients) + "/tiktrue"

    @property
    def credentials(self) -> dict[str, str]:
        """What the transport takes beside the address."""
        user = {"user": "root", "password_file": str(self.password)} if self.password else {}
        return (self.tls.credentials if self.tls else {}) | user

    def __enter__(self) -> Cluster:
        try:
            for place in range(len(self.clients)):
                self.start(place)
            self.wait_until_ready(members=len(self.clients))
            if self.password is not None:
                self._demand_a_password(self.password.read_text().strip())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for place in range(len(self.clients)):
            self.kill(place)

    def start(self, place: int) -> None:
        """Start one member, empty or on the data that it had."""
        client, peer = self._url(self.host, self.clients[place]), self._url(LOCAL, self.peers[place])
        cluster = ",".join(f"m{number}={self._url(LOCAL, port)}" for number, port in enumerate(self.peers))
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
                    "--bcrypt-cost=4",
                    *(self.tls.options if self.tls else []),
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

    def wait_until_ready(self, *, members: int = 1) -> float:
        """Return once so many members answer with a quorum behind them; the instant (time.monotonic)."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if sum(self._is_healthy(place) for place in self._alive()) >= members:
                return time.monotonic()
            time.sleep(0.02)
        raise AssertionError("etcd did not come up")

    def leader(self) -> int:
        """Which member leads."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for place in self._alive():
                if b"\netcd_server_is_leader 1\n" in self._get(place, "metrics"):
                    return place
            time.sleep(0.1)
        raise AssertionError("etcd has no leader")

    def client(self, place: int = 0) -> Etcd3Client:
        """A client of one member, without a password."""
        from etcd3gw.client import Etcd3Client

        given = self.tls.credentials if self.tls else {}
        made = Etcd3Client(
            host=self.host,
            port=self.clients[place],
            protocol="https" if self.tls else "http",
            ca_cert=given.get("ca"),
            cert_cert=given.get("cert"),
            cert_key=given.get("key"),
            api_path="/v3/",
            timeout=30,
        )
        made.session.trust_env = False  # else the environment's authorities stand before ours
        return made

    def _demand_a_password(self, password: str) -> None:
        client = self.client()
        for path, payload in (
            ("/auth/user/add", {"name": "root", "password": password}),
            ("/auth/role/add", {"name": "root"}),
            ("/auth/user/grant", {"user": "root", "role": "root"}),
            ("/auth/enable", {}),
        ):
            client.post(client.get_url(path), json=payload)

    def _alive(self) -> list[int]:
        return [place for place, process in enumerate(self.processes) if process is not None]

    def _is_healthy(self, place: int) -> bool:
        """Whether a member can reach a quorum: its own answer comes from a read through one."""
        return b"true" in self._get(place, "health")

    def _get(self, place: int, path: str) -> bytes:
        """A page of a member; empty when it gives none."""
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.tls is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self.tls.context))
        url = f"{self._url(self.host, self.clients[place])}/{path}"
        with contextlib.suppress(OSError), urllib.request.build_opener(*handlers).open(url, timeout=10) as said:
            return bytes(said.read())
        return b""

    def _url(self, host: str, port: int) -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{port}"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
