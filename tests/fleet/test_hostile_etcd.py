"""A member that answers as etcd does not: an outage in bounded memory, and another member is asked.

The bytes are those of tests/independent/hostile_etcd.py.
"""

from __future__ import annotations

import base64
import json
import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from tests.fleet.fleet import unsigned
from tests.independent.hostile_etcd import HEADER, MALFORMED, NO_HTTP, NO_PAGE, answer, server
from tests.waiting import PATIENCE
from tiktrue_keys.errors import UnavailableError
from tiktrue_keys.fleet.transports import open_transport
from tiktrue_keys.fleet.transports.etcd_answers import (
    MemberError,
    pairs_of,
    read_answer,
    revision_of,
    succeeded,
    token_of,
)
from tiktrue_keys.fleet.transports.interface import MAX_LINE, Junk, Posted, Transport

pytest.importorskip("etcd3gw")

ISSUER, NODE = "a" * 32, "b" * 32
BOX = f"p/{ISSUER}/to/{NODE}/"


@contextmanager
def transport_to(*ports: int) -> Iterator[Transport]:
    members = ",".join(f"127.0.0.1:{port}" for port in ports)
    with closing(open_transport(f"etcd://{members}/p")) as transport:
        yield transport


def collected(transport: Transport, junk: Junk | None = None) -> list[bytes]:
    return list(transport.collect(ISSUER, NODE, (1, 1, 0), junk or Junk()))


USES: dict[str, Callable[[Transport], object]] = {
    "collect": collected,
    "publish": lambda transport: transport.publish(ISSUER, 1, [Posted(NODE, (1, 1, 1), b"line")], unsigned),
    "acknowledge": lambda transport: transport.acknowledge(ISSUER, NODE, b"line"),
    "acknowledgements": lambda transport: list(transport.acknowledgements(ISSUER, [NODE], Junk())),
    "tidy": lambda transport: transport.tidy(ISSUER, {NODE: (1, 1, 1)}, bytes(32)),
}


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
def test_an_answer_that_etcd_does_not_give_is_an_outage(body: bytes) -> None:
    with server(answer(body)) as port, transport_to(port) as transport:
        for use in USES.values():
            with pytest.raises(UnavailableError):
                use(transport)
        transport.wait(ISSUER, NODE, 0.0)


@pytest.mark.parametrize("kvs", NO_PAGE, ids=range(len(NO_PAGE)))
def test_a_page_that_was_not_asked_for_is_an_outage(kvs: bytes) -> None:
    with server(answer(b"{" + kvs + b", " + HEADER + b"}")) as port, transport_to(port) as transport:
        for name in ("collect", "acknowledgements", "publish"):
            with pytest.raises(UnavailableError):
                USES[name](transport)


@pytest.mark.parametrize("kind", NO_HTTP)
@pytest.mark.timeout(2 * PATIENCE)
def test_what_is_no_answer_at_all_is_an_outage(kind: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with server(NO_HTTP[kind]) as port, transport_to(port) as transport:
        for use in USES.values():
            with pytest.raises(UnavailableError):
                use(transport)
        transport.wait(ISSUER, NODE, 0.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "kilobytes"


@pytest.mark.parametrize("succeeded", [b"null", b"7", b'"yes"', b"[]"])
def test_a_transaction_whose_success_is_not_known_is_an_outage(succeeded: bytes) -> None:
    say = answer(b'{"succeeded": ' + succeeded + b", " + HEADER + b"}")
    refused = pytest.raises(UnavailableError, match="not one of etcd")
    with server(say) as port, transport_to(port) as transport, refused:
        USES["publish"](transport)


def test_a_transaction_that_never_succeeds_is_an_outage() -> None:
    refused = pytest.raises(UnavailableError, match="round number keeps changing")
    with server(answer(b"{" + HEADER + b"}")) as port, transport_to(port) as transport, refused:
        USES["publish"](transport)


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("piece", [b" ", b'{"result": {}}\n', b'"ev"'])
def test_a_watch_that_says_nothing_at_length_ends_in_time(piece: bytes) -> None:
    def say(path: str, request: dict[str, Any]) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        while True:
            yield piece
            time.sleep(0.01)

    with server(say) as port, transport_to(port) as transport:
        transport.wait(ISSUER, NODE, 0.2)


class Store:
    """A member that holds keys and answers a range."""

    def __init__(self, pairs: dict[str, bytes]) -> None:
        self.pairs = {key.encode(): value for key, value in pairs.items()}
        self.longest = 0

    def say(self, path: str, request: dict[str, Any]) -> Iterator[bytes]:
        first, end = (base64.b64decode(request[name]) for name in ("key", "range_end"))
        found = sorted(key for key in self.pairs if first <= key < end)[: request["limit"]]
        kvs = [
            {"key": base64.b64encode(key).decode()}
            | ({} if request["keys_only"] else {"value": base64.b64encode(self.pairs[key]).decode()})
            for key in found
        ]
        return answer(json.dumps({"kvs": kvs, "header": {"revision": "1"}}).encode())(path, request)


def test_long_values_hide_no_other() -> None:
    place = f"{BOX}0000000001.0000000001."
    store = Store({f"{place}{number:010d}": bytes([number]) * MAX_LINE for number in range(1, 151)})
    store.pairs[f"{place}0000000070x".encode()] = bytes(5 << 20)
    store.pairs[f"{place}0000000071x".encode()] = bytes(MAX_LINE + 1)
    store.pairs[f"{place}0000000072x".encode()] = b""
    junk = Junk()
    with server(store.say) as port, transport_to(port) as transport:
        assert [line[0] for line in collected(transport, junk)] == list(range(1, 151))
    assert junk.counts == {"value that is too long": 1, "line that is too long": 1, "line that is empty": 1}


def test_another_member_is_asked() -> None:
    store = Store({f"{BOX}0000000001.0000000001.0000000001": b"line"})
    with server(answer(b"[]")) as odd, server(store.say) as good, transport_to(odd, good) as transport:
        assert collected(transport) == [b"line"]


class Body:
    """A response of requests, as far as it is read."""

    def __init__(self, data: bytes) -> None:
        self.status_code, self.headers, self.raw, self._pieces = 200, dict[str, str](), self, [data]

    def read1(self, size: int, *, decode_content: bool) -> bytes:
        return self._pieces.pop() if self._pieces else b""


ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1 << 70,
    1.5,
    float("inf"),
    "",
    "x",
    "%",
    "A===",
    "\ud800",
    [],
    {},
    [[]],
    [{}],
    {"key": []},
]


def test_no_answer_is_a_bug() -> None:
    """Every member of an answer is replaced by odd values, and bytes are; the reader raises MemberError or reads it."""
    chance = random.Random(0)
    whole = {"header": {"revision": "7"}, "kvs": [{"key": "cA==", "value": "cA=="}], "succeeded": True, "token": "t"}
    read = 0
    for _ in range(3000):
        said = json.loads(json.dumps(whole))
        inner = chance.choice([said, said["header"], said["kvs"][0]])
        name = chance.choice(list(inner))
        inner[name] = chance.choice(ODD)
        data = bytearray(json.dumps(said).encode())
        if chance.random() < 0.5:
            data[chance.randrange(len(data))] = chance.randrange(256)
        with suppress(MemberError):
            found: Any = read_answer(Body(bytes(data)))  # type: ignore[arg-type]
            for reader in (revision_of, succeeded, token_of, lambda said: pairs_of(said, b"", b"z", 1)):
                with suppress(MemberError):
                    reader(found)
                    read += 1
    assert read > 1000
