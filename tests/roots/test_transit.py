"""Secrets at a transit server: what its answers mean, against a server in a thread that says what a case wants."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.roots.authority import certificate
from tests.roots.transit_server import Reply, Say, server
from tiktrue_keys.errors import (
    InsecureError,
    RefusedError,
    TikTrueKeysError,
    UnavailableError,
    UsageError,
    WrongMachineError,
)
from tiktrue_keys.roots import transit_http
from tiktrue_keys.roots.transit import Transit, transit_of

SECRET = bytes(range(32))
SEALED = "vault:v1:" + base64.b64encode(b"sealed by the server").decode()
BLOB = b"\x01" + SEALED.encode()


def good(path: str, body: dict[str, Any]) -> Reply:
    if path == "/v1/transit/encrypt/tiktrue-keys":
        assert base64.b64decode(body["plaintext"]) == SECRET
        return 200, json.dumps({"data": {"ciphertext": SEALED}}).encode()
    assert (path, body) == ("/v1/transit/decrypt/tiktrue-keys", {"ciphertext": SEALED})
    return 200, json.dumps({"data": {"plaintext": base64.b64encode(SECRET).decode()}}).encode()


def way(url: str, values: dict[str, str] | None = None, token: bytes = b"s.token") -> Transit:
    return transit_of({"url": url, **(values or {})}, lambda: token)


def refusal(url: str, blob: bytes = BLOB) -> TikTrueKeysError:
    with pytest.raises(TikTrueKeysError) as caught:
        way(url).unseal(blob)
    assert caught.value.message.startswith("transit: ")
    return caught.value


def test_a_server_opens_what_it_sealed() -> None:
    with server(good) as (url, tokens):
        assert way(url).seal(memoryview(SECRET)) == BLOB
        with way(url).unseal(BLOB) as secret:
            assert bytes(secret.view) == SECRET
        assert tokens == ["s.token", "s.token"]


def errors(status: int, *said: str) -> Say:
    return lambda path, body: (status, json.dumps({"errors": list(said)}).encode())


def withdrawn(path: str, body: dict[str, Any]) -> Reply:
    if path.endswith("lookup-self"):
        return 200, b"{}"
    return 403, b'{"errors": ["permission denied"]}'


def answers(body: bytes) -> Say:
    return lambda path, _: (200, body)


@pytest.mark.parametrize(
    ("say", "kind", "words"),
    [
        (errors(503, "Vault is sealed"), UnavailableError, "the server is sealed"),
        (errors(429, ""), UnavailableError, "the server is not ready"),
        (withdrawn, RefusedError, "policy does not let this machine use key 'tiktrue-keys'"),
        (errors(403, "permission denied"), RefusedError, "does not know the token, or it has expired"),
        (errors(404, "no handler for route"), UnavailableError, "the server has no transit engine at 'transit'"),
        (errors(400, "encryption key not found"), WrongMachineError, "does not open what is in the slot"),
        (errors(400, "ciphertext or signature version is disallowed by policy (too old)"), RefusedError, "no longer"),
        (errors(500, "x"), UnavailableError, "status 500"),
        (lambda path, _: (307, b""), UnavailableError, "status 307"),
        (lambda path, _: (502, b"<html>"), UnavailableError, "status 502"),
        (answers(b""), UnavailableError, "malformed"),
        (answers(b"[]"), UnavailableError, "malformed"),
        (answers(b'{"data": []}'), UnavailableError, "malformed"),
        (answers(b'{"data": {"plaintext": 7}}'), UnavailableError, "malformed"),
        (answers(b'{"data": {"plaintext": "%%"}}'), UnavailableError, "malformed"),
        (answers(b"[" * 20_000), UnavailableError, "malformed"),
        (answers(b'{"data": {"plaintext": "AAAA"}}'), WrongMachineError, "3 bytes instead of 32"),
        (answers(b" " * (transit_http.MAX_ANSWER + 1)), UnavailableError, "longer than"),
    ],
)
def test_each_answer_that_opens_nothing_has_its_own_words(say: Say, kind: type[Exception], words: str) -> None:
    with server(say) as (url, _):
        error = refusal(url)
    assert (type(error), words in error.message) == (kind, True), error.message
    assert "s.token" not in error.message + error.hint


def test_a_malformed_ciphertext_is_not_sealed() -> None:
    with server(answers(b'{"data": {"ciphertext": "vault:v1:\\n"}}')) as (url, _), pytest.raises(UnavailableError):
        way(url).seal(memoryview(SECRET))


@pytest.mark.parametrize("blob", [b"", BLOB[1:], BLOB + b"\n", b"\x01../../sys/raw", b"\x01vault:v1:" + b"A" * 4000])
def test_a_slot_that_holds_something_else_sends_nothing(blob: bytes) -> None:
    with server(good) as (url, tokens):
        assert isinstance(refusal(url, blob), WrongMachineError)
        assert tokens == []


def test_a_token_that_is_not_one_is_not_sent() -> None:
    with server(good) as (url, tokens):
        for token in (b"", b"a b", b"a\r\nX: y"):
            with pytest.raises(UsageError, match="the token is empty or has blanks"):
                way(url, token=token).unseal(BLOB)
        assert tokens == []


def test_a_server_that_is_gone_is_unavailable() -> None:
    with server(good) as (url, _):
        pass
    assert "does not answer (Connection refused)" in refusal(url).message


@contextmanager
def sender(*pieces: bytes, pause: float) -> Iterator[str]:
    """Yield the address of a server that sends the pieces, the last one again and again."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError), listening.accept()[0] as peer:
                for piece in itertools.chain(pieces, itertools.repeat(pieces[-1])):
                    peer.sendall(piece)
                    time.sleep(pause)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("pieces", "pause", "words"),
    [
        ((b"HTTP/1.1 100 Continue\r\n\r\n",), 0.05, "took longer than 0.3 s"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" * 400,), 0, "sent more than"),
        ((b"HTTP/1.1 200 OK\r\nX: ", b"x"), 0.05, "took longer than 0.3 s"),
        ((b"HTTP/1.1 200 OK\r\n\r\n", b" "), 0.05, "took longer than 0.3 s"),
    ],
)
def test_a_server_that_never_ends_is_left(
    monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...], pause: float, words: str
) -> None:
    monkeypatch.setattr(transit_http, "SECONDS", 10 if not pause else 0.3)
    with sender(*pieces, pause=pause) as url:
        error = refusal(url)
    assert (type(error), words in error.message) == (UnavailableError, True), error.message


def test_only_the_authority_that_was_named_is_believed(tmp_path: Path) -> None:
    mine, other = certificate(tmp_path / "mine"), certificate(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine.certificate, mine.key)
    with server(good, context) as (url, tokens):
        with way(url, {"ca": str(mine.certificate)}).unseal(BLOB) as secret:
            assert bytes(secret.view) == SECRET
        for authority in ({"ca": str(other.certificate)}, None):
            with pytest.raises(UnavailableError, match=r"the certificate of 127\.0\.0\.1 is not valid"):
                way(url, authority).unseal(BLOB)
        assert tokens == ["s.token"]
        mine.key.write_text("no certificate")
        with pytest.raises(UsageError, match="holds no certificate"):
            way(url, {"ca": str(mine.key)}).unseal(BLOB)
        tmp_path.chmod(0o777)
        with pytest.raises(InsecureError, match=f"{tmp_path} can be written by others"):
            way(url, {"ca": str(mine.certificate)}).unseal(BLOB)
        tmp_path.chmod(0o700)
        mine.certificate.chmod(0o666)
        with pytest.raises(InsecureError, match="can be written by others"):
            way(url, {"ca": str(mine.certificate)}).unseal(BLOB)


@pytest.mark.parametrize(
    "url",
    ["", "bao:8200", "https://", "ftp://bao", "https://u:p@bao", "https://bao/v1", "https://bao:x", "https://a\n"],
)
def test_what_is_not_a_servers_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not the address of a server"):
        way(url)


def test_a_token_does_not_leave_in_clear() -> None:
    with pytest.raises(InsecureError, match="would send the token in clear"):
        way("http://bao.example:8200")


@pytest.mark.parametrize("values", [{"mount": "../sys"}, {"key": "a?b"}, {"key": ""}, {"mount": "a//b"}])
def test_a_setting_that_is_not_a_path_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="is not a path of the server"):
        way("https://bao:8200", values)
