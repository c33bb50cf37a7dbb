"""etcd from Debian on loopback, one member or several, on free ports, for the length of a test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOO_LONG = 30.0


def is_installed() -> bool:
    """Whether there is an etcd to start."""
    return shutil.which("etcd") is not None


class Tls:
    """A made-up authority and one certificate of it for server and client, as files."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.cert, self.key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
        authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        authority = _certificate("an authority", authority_key, authority_key.public_key(), "an authority", is_ca=True)
        certificate = _certificate("a member", authority_key, key.public_key(), "an authority", is_ca=False)
        self.ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        self.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.key.write_bytes(key.private_bytes(*form))

    @property
    def options(self) -> list[str]:
        """What makes etcd speak TLS, and want a certificate of its clients."""
        files = [f"--cert-file={self.cert}", f"--key-file={self.key}", f"--trusted-ca-file={self.ca}"]
        return [*files, "--client-cert-auth=true"]

    @property
    def credentials(self) -> dict[str, str]:
        """What the transport takes."""
        return {"ca": str(self.ca), "cert": str(self.cert), "key": str(self.key)}


def _certificate(
    name: str, signer: ec.EllipticCurvePrivateKey, public: ec.EllipticCurvePublicKey, issuer: str, *, is_ca: bool
) -> x509.Certificate:
    subject, signing = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer))
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(signing, subject, public, x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    address = x509.IPAddress(ip_address("127.0.0.1"))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(signer, hashes.SHA256())


class Cluster:
    """`count` members; a context manager that leaves no process behind."""

    def __init__(self, folder: Path, count: int = 1, *, tls: Tls | None = None) -> None:
        self.folder = folder
        self.tls = tls
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
        client = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.clients[place]}"
        peer = f"http://127.0.0.1:{self.peers[place]}"
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

    def wait_until_ready(self) -> None:
        """Return once a member that lives answers with a quorum behind it."""
        end = time.monotonic() + TOO_LONG
        while time.monotonic() < end:
            for place, process in enumerate(self.processes):
                if process is not None and self._is_healthy(place):
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

    def _is_healthy(self, place: int) -> bool:
        port = self.clients[place]
        if self.tls is not None:  # with client certificates wanted, a listening port is all that a stranger sees
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False
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
