"""The members of an etcd cluster, asked in turn: addresses, credentials, connections, timeouts and limits.

`ca` (with `cert` and `key`) enables TLS; `user` with `password_file` authenticates. A request tries each member once,
and twice if the member no longer knows our token. etcd.py decides on the requests, etcd_answers.py reads the answers.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tiktrue_keys.core.durable import read_capped
from tiktrue_keys.errors import UnavailableError, UsageError
from tiktrue_keys.fleet.transports.etcd_answers import MemberError, TooLongError, read_answer, token_of

if TYPE_CHECKING:
    from etcd3gw.client import Etcd3Client
    from requests import Response

Answer = TypeVar("Answer")

# A member without quorum answers after 7 s or never. Once it is back, a revocation must reach each node within 5 s.
READ_TIMEOUT, WRITE_TIMEOUT = 2.0, 3.0
_PORT = 2379
_LONGEST_PASSWORD = 4096
_FORGOTTEN = "invalid auth token"
_MEMBER = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_KNOWN = {"user", "password_file", "ca", "cert", "key"}


def parse_members(hosts: str) -> list[tuple[str, int]]:
    """Return host and port of each member in `host:port[,host:port…]`. Raises UsageError when the text is malformed."""
    if "@" in hosts:
        raise UsageError(
            "an etcd address cannot contain a user", "set fleet.user and fleet.password_file in the configuration"
        )
    return [_member(each) for each in hosts.split(",")]


class EtcdMembers:
    """Connections to the members, opened when they are needed. The member that answered last is asked first.

    Raises UsageError for incomplete credentials, or when etcd3gw is not installed.
    """

    def __init__(self, addresses: list[tuple[str, int]], credentials: Mapping[str, str]) -> None:
        _must_go_together(set(credentials))
        try:
            import etcd3gw  # noqa: F401
        except ImportError:
            raise UsageError("etcd needs the package etcd3gw", "pip install 'tiktrue-keys[etcd]'") from None
        self._addresses = addresses
        self._credentials = dict(credentials)
        self._clients: dict[int, Etcd3Client] = {}
        self._first = 0

    def ask(
        self,
        path: str,
        payload: dict[str, Any],
        read: Callable[[dict[str, Any]], Answer],
        *,
        timeout: float = WRITE_TIMEOUT,
        may_split: bool = False,
    ) -> Answer:
        """Ask the members in turn and return what `read` makes of the first answer that it can read.

        `read` raises MemberError for an answer that etcd does not give. Raises UnavailableError when there is none;
        with `may_split`, TooLongError for an answer that is too long.
        """
        last = "no member"
        for step in range(len(self._addresses)):
            place = (self._first + step) % len(self._addresses)
            try:
                answer = read(self._asked(place, path, payload, timeout))
            except (OSError, ValueError) as error:
                if may_split and isinstance(error, TooLongError):
                    raise
                last = f"{':'.join(map(str, self._addresses[place]))}: {words_of(error)}"
                self._forget(place)
            else:
                self._first = place
                return answer
        raise UnavailableError(f"etcd does not answer: {last[:200]}", hint_for(last))

    def stream(self, path: str, payload: dict[str, Any], *, seconds: float) -> Response:
        """Return a streamed answer of the first member, which the caller reads and closes. Its size is not limited.

        Raises OSError or ValueError when there is no answer; reading it raises OSError after `seconds` of silence. A
        leader is required, so that the answer ends when the member is cut off from the others.
        """
        client = self._client(self._first)
        return _sent(client, path, payload, (READ_TIMEOUT, seconds), {"Grpc-Metadata-hasleader": "true"})

    def turn_to_the_next(self) -> None:
        """Close the connection to the first member, and ask the next one first from now on."""
        self._forget(self._first)
        self._first = (self._first + 1) % len(self._addresses)

    def close(self) -> None:
        """Close every connection."""
        for place in list(self._clients):
            self._forget(place)

    def _asked(self, place: int, path: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Return the answer of one member.

        Its token expires in minutes, and at a restart: then authenticate and ask again.
        """
        kept = place in self._clients
        try:
            return _exchanged(self._client(place), path, payload, timeout)
        except MemberError as error:
            if not kept or _FORGOTTEN not in str(error):
                raise
            self._forget(place)
            return _exchanged(self._client(place), path, payload, timeout)

    def _client(self, place: int) -> Etcd3Client:
        if place not in self._clients:
            self._clients[place] = self._connected(*self._addresses[place])
        return self._clients[place]

    def _connected(self, host: str, port: int) -> Etcd3Client:
        """Return a new client of a member, with a token if there is a user."""
        from etcd3gw.client import Etcd3Client

        given = self._credentials
        client = Etcd3Client(
            host=host,
            port=port,
            protocol="https" if "ca" in given else "http",
            ca_cert=given.get("ca"),
            cert_cert=given.get("cert"),
            cert_key=given.get("key"),
            api_path="/v3/",
        )
        client.session.trust_env = False  # ignore proxies in the environment
        client.session.headers["Accept-Encoding"] = "identity"
        client.session.hooks["response"].append(_without_redirect)
        if "user" in given:
            name = {"name": given["user"], "password": _password(Path(given["password_file"]))}
            said = _exchanged(client, "/auth/authenticate", name, READ_TIMEOUT)
            client.session.headers["Authorization"] = token_of(said)
        return client

    def _forget(self, place: int) -> None:
        client = self._clients.pop(place, None)
        if client is not None:
            client.session.close()


def _exchanged(client: Etcd3Client, path: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Return the answer to a request. The client's own `post` reads one without a limit.

    A connection whose answer was read to its end is used again.
    """
    response = _sent(client, path, payload, (timeout, timeout), {})
    try:
        return read_answer(response)
    except BaseException:
        response.close()
        raise


def _sent(
    client: Etcd3Client,
    path: str,
    payload: dict[str, Any],
    timeout: tuple[float, float],
    headers: dict[str, str],
) -> Response:
    return client.session.post(
        client.get_url(path), json=payload, headers=headers, stream=True, timeout=timeout, allow_redirects=False
    )


def _without_redirect(response: Response, **sent: Any) -> None:
    """Drop the address of a redirect. requests reads its body without a limit, even where it must not follow it."""
    response.headers.pop("Location", None)


def _must_go_together(given: set[str]) -> None:
    """Raise UsageError for incomplete or unknown credentials.

    A user needs a password file; a certificate needs its key and `ca`, which makes the connection TLS.
    """
    pairs = (("user", "password_file"), ("cert", "key"))
    whole = all((one in given) == (other in given) for one, other in pairs) and ("cert" not in given or "ca" in given)
    if given - _KNOWN or not whole:
        raise UsageError(
            "etcd takes user with password_file, ca, and cert with key beside ca", "see fleet.* in the configuration"
        )


def _member(text: str) -> tuple[str, int]:
    """Return host and port. An IPv6 address stands in brackets, which the client puts back."""
    found = _MEMBER.fullmatch(text)
    port = int(found[2] or _PORT) if found else 0
    if found is None or not 0 < port < 65_536:
        raise UsageError(f"'{text[:80]}' is not an etcd member", "use HOST:PORT")
    return found[1].strip("[]"), port


def _password(path: Path) -> str:
    data = read_capped(path, _LONGEST_PASSWORD, "etcd's password").rstrip(b"\r\n")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(
            f"etcd's password in {path} is not text", "write it as UTF-8 on the file's only line"
        ) from None


_CAUSE = re.compile(r"\[Errno -?[0-9]+\] ([\w ]+)|\[(?:SSL|X509): (\w+)|(timed out|SSLEOFError|RemoteDisconnected)")
_HINTS = {
    "TLS": "check fleet.ca, fleet.cert and fleet.key",
    "RemoteDisconnected": "etcd may expect TLS: set fleet.ca to its certificate authority",
    "reset by peer": "etcd may expect TLS: set fleet.ca to its certificate authority",
    "authentication failed": "check fleet.user and the file fleet.password_file",
    "user name is empty": "etcd requires a password: set fleet.user and fleet.password_file",
    "permission denied": "grant the user read and write access below the prefix",
    "CommonName": "beside a password etcd's gateway takes only a client certificate without a common name",
}


def words_of(error: Exception) -> str:
    """Return the reason in a member's error or a connection's failure."""
    text = str(error) or type(error).__name__
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        text = str(json.loads(text).get("message", text))
    cause = _CAUSE.search(text)
    words = " ".join((cause[cause.lastindex or 0] if cause else text).replace("\\n", " ").split())
    return f"TLS: {words}" if "SSL" in text or "TLS" in text else words


def hint_for(words: str) -> str:
    """Return the hint for that reason."""
    return next(
        (hint for sign, hint in _HINTS.items() if sign in words),
        "check that the etcd cluster is reachable and has quorum",
    )
