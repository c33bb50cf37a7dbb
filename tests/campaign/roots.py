"""Devices at length: a hundred power cuts of a TPM, and a whole transit server with TLS, by the unmodified program.

    python -m pytest tests/campaign/roots.py

Does not handle: real chips. The TPM is swtpm, the server OpenBao on loopback, stopped by its own process id.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program
from tests.roots.authority import certificate
from tests.roots.devices import Tpm, tpm
from tests.waiting import PATIENCE

CUTS = 100
POLICY = "\n".join(
    f'path "transit/{verb}/tiktrue-keys" {{ capabilities = ["update"] }}' for verb in ("encrypt", "decrypt")
)


def bound(folder: Path) -> Program:
    """A keystore with a key and a verified escrow, in a folder of its own."""
    folder.mkdir()
    program = Program(folder)
    program.generate("llama")
    shares = program.json("escrow", "create", "-o", "shares", "--shares", "1", "--threshold", "1")["result"]["files"]
    program.ok("escrow", "verify", "--share", shares[0])
    return program


def message(program: Program, code: int) -> str:
    return str(program.json("list", code=code)["error"]["message"])


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Tpm]:
    (tmp_path / "tpm").mkdir()
    with tpm(tmp_path / "tpm") as made:
        yield made


def test_a_hundred_power_cuts(tmp_path: Path, device: Tpm) -> None:
    program = bound(tmp_path / "node")
    program.variables["TIKTRUE_TPM2_TCTI"] = device.tcti
    program.ok("binding", "add", "tpm2")
    (program.folder / "host/secret").unlink()
    for number in range(CUTS):
        device.cut()
        device.start()
        program.ok("list")
        if number % 10 == 0:
            program.ok("generate", f"model-{number}", "--no-license")
    handles = [device.tool("tpm2_getcap", f"handles-{kind}").strip() for kind in ("transient", "loaded-session")]
    assert handles == ["", ""]
    device.tool("tpm2_clear")
    assert message(program, 8) == "tpm2: this TPM did not make the object in the slot, or was cleared since"


@dataclass(frozen=True)
class Bao:
    """A running OpenBao: its address, its authority's file, and its root token once it is initialised."""

    url: str
    ca: Path
    folder: Path

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, token: str = "") -> dict[str, Any]:
        """Ask it, and return the answer's JSON."""
        import ssl

        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"X-Vault-Token": token}, method=method)
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=self.ca)) as answer:
            text = answer.read()
        return json.loads(text) if text else {}


@contextmanager
def bao(folder: Path) -> Iterator[Bao]:
    """Yield a server that keeps everything in memory, its files in a folder. Skip without OpenBao."""
    binary = shutil.which("bao") or shutil.which("bao", path=str(Path(sys.executable).parent))
    if binary is None:
        pytest.skip("OpenBao is not installed: make campaign installs it")
    folder.mkdir()
    files = certificate(folder / "tls")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "bao.hcl").write_text(
        'storage "inmem" {}\n'
        f'listener "tcp" {{ address = "127.0.0.1:{port}"\n tls_cert_file = "{files.certificate}"\n'
        f' tls_key_file = "{files.key}" }}\n'
        f'api_addr = "https://127.0.0.1:{port}"\n'
    )
    with (folder / "log").open("wb") as log:
        words = [binary, "server", f"-config={folder / 'bao.hcl'}"]
        process = subprocess.Popen(words, stdout=log, stderr=log, env=os.environ | {"HOME": str(folder)})
    server = Bao(f"https://127.0.0.1:{port}", files.certificate, folder)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError):
                server.ask("GET", "/v1/sys/init")
                break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, "OpenBao does not start"
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait()


def test_a_transit_server_and_each_reason_why_it_does_not_open(tmp_path: Path) -> None:
    program = bound(tmp_path / "node")
    with bao(tmp_path / "bao") as server:
        made = server.ask("PUT", "/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1})
        root, unseal = made["root_token"], {"key": made["keys"][0]}
        server.ask("PUT", "/v1/sys/unseal", unseal)
        for mount in ("transit", "other"):
            server.ask("POST", f"/v1/sys/mounts/{mount}", {"type": "transit"}, root)
            server.ask("POST", f"/v1/{mount}/keys/tiktrue-keys", {}, root)
        server.ask("PUT", "/v1/sys/policies/acl/node", {"policy": POLICY}, root)
        token = tmp_path / "token"
        token.touch(0o600)

        def give_token(life: str = "1h") -> None:
            terms = {"policies": ["node"], "ttl": life}
            token.write_text(server.ask("POST", "/v1/auth/token/create", terms, root)["auth"]["client_token"])

        give_token()
        program.variables |= {
            "TIKTRUE_TRANSIT_URL": server.url,
            "TIKTRUE_TRANSIT_CA": str(server.ca),
            "TIKTRUE_TRANSIT_TOKEN_FILE": str(token),
        }
        program.ok("binding", "add", "transit")
        (program.folder / "host/secret").unlink()
        program.ok("list")

        server.ask("DELETE", "/v1/sys/policies/acl/node", token=root)
        withdrawn = "transit: the server's policy does not let this machine use key 'tiktrue-keys'"
        assert message(program, 5) == withdrawn
        server.ask("PUT", "/v1/sys/policies/acl/node", {"policy": POLICY}, root)
        program.ok("list")

        give_token("1s")
        time.sleep(2)
        expired = "transit: the server does not know the token, or it has expired"
        assert message(program, 5) == expired
        token.write_text(root)
        program.variables["TIKTRUE_TRANSIT_MOUNT"] = "other"
        assert message(program, 8) == "transit: key 'tiktrue-keys' at 'other' does not open what is in the slot"
        program.variables["TIKTRUE_TRANSIT_MOUNT"] = "missing"
        assert message(program, 12) == "transit: the server has no transit engine at 'missing'"
        del program.variables["TIKTRUE_TRANSIT_MOUNT"]
        give_token()

        program.variables["TIKTRUE_TRANSIT_CA"] = str(certificate(tmp_path / "another").certificate)
        assert "the certificate of 127.0.0.1 is not valid" in message(program, 12)
        program.variables["TIKTRUE_TRANSIT_CA"] = str(server.ca)

        server.ask("PUT", "/v1/sys/seal", token=root)
        assert message(program, 12) == "transit: the server is sealed"
        server.ask("PUT", "/v1/sys/unseal", unseal)
        program.ok("list")
    assert "does not answer (Connection refused)" in message(program, 12)
    assert token.read_text() not in (program.keystore / "keystore.db").read_bytes().decode("latin-1")
