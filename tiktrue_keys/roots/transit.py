"""Seals a secret with the transit engine of OpenBao or HashiCorp Vault, whose policy can withdraw a machine.

Come here for the two requests and for what their answers mean. The server holds the key; the slot holds what it
encrypted. The server is the one that the operator named: redirects are not followed, proxies are not used, and nothing
in a keystore's file changes where the token goes. Reference: the transit secrets engine's HTTP API.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import RefusedError, TikTrueKeysError, UnavailableError, UsageError
from tiktrue_keys.roots.root import foreign, secret_of
from tiktrue_keys.roots.transit_http import Answer, Server, server_of

NAME = "transit"
_VERSION = b"\x01"
_SEALED = re.compile(rb"[a-z]{1,16}:v[0-9]{1,9}:[A-Za-z0-9+/=]{1,2048}")
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_TOKEN = re.compile(rb"[\x21-\x7e]{1,4096}")
DEFAULT_MOUNT, DEFAULT_KEY = "transit", "tiktrue-keys"


@dataclass(frozen=True)
class Transit:
    """A key of a transit engine at `mount`. `read_token` returns the token, and is called for each request."""

    server: Server
    mount: str
    key: str
    read_token: Callable[[], bytes]

    def seal(self, secret: memoryview) -> bytes:
        """Return the secret as the server encrypted it."""
        body = {"plaintext": base64.b64encode(secret).decode("ascii")}
        sealed = str(self._ask("encrypt", body, "ciphertext")).encode("ascii", "replace")
        if not _SEALED.fullmatch(sealed):
            raise _malformed()
        return _VERSION + sealed

    def unseal(self, blob: bytes) -> SecretBuffer:
        """Return the secret that the server decrypts."""
        if blob[:1] != _VERSION or not _SEALED.fullmatch(blob[1:]):
            raise foreign(NAME, "the slot does not hold what a transit server sealed")
        plain = self._ask("decrypt", {"ciphertext": blob[1:].decode("ascii")}, "plaintext")
        try:
            return secret_of(NAME, base64.b64decode(str(plain), validate=True))
        except ValueError:
            raise _malformed() from None

    def discard(self, blob: bytes) -> None:
        """Return at once: the server keeps nothing of a secret."""

    def _ask(self, verb: str, body: dict[str, str], member: str) -> Any:
        token = _token(self.read_token())
        answer = self.server.post(f"/v1/{self.mount}/{verb}/{self.key}", body, token)
        if answer.status != 200:
            raise self._error_of(answer, token)
        data = answer.value.get("data")
        if not isinstance(data, dict) or not isinstance(data.get(member), str):
            raise _malformed()
        return data[member]

    def _error_of(self, answer: Answer, token: str) -> TikTrueKeysError:
        """Return our error for an answer that is not a success."""
        said = answer.errors
        if answer.status == 503 or answer.status == 473 or answer.status == 429:
            state = "is sealed" if "sealed" in said else "is not ready"
            return UnavailableError(f"{NAME}: the server {state}", remedy="transit-sealed")
        if answer.status == 403:
            return self._forbidden(token)
        if answer.status == 404:
            return UnavailableError(
                f"{NAME}: the server has no transit engine at '{self.mount}'", remedy="transit-mount"
            )
        if answer.status == 400 and "too old" in said:
            return RefusedError(f"{NAME}: the server no longer decrypts with this version of the key")
        if answer.status == 400:
            return foreign(NAME, f"key '{self.key}' at '{self.mount}' does not open what is in the slot")
        return UnavailableError(f"{NAME}: the server answers with status {answer.status}", remedy="transit-gone")

    def _forbidden(self, token: str) -> RefusedError:
        """Return the error about a refusal: an unknown token may not even look at itself."""
        if self.server.get("/v1/auth/token/lookup-self", token).status == 403:
            words = f"{NAME}: the server does not know the token, or it has expired"
            return RefusedError(words, remedy="transit-token")
        words = f"{NAME}: the server's policy does not let this machine use key '{self.key}'"
        return RefusedError(words, remedy="transit-policy")


def transit_of(values: Mapping[str, str], read_token: Callable[[], bytes]) -> Transit:
    """Return the way of the settings `url`, `ca`, `mount` and `key`. Raises UsageError, InsecureError."""
    mount, key = values.get("mount", DEFAULT_MOUNT), values.get("key", DEFAULT_KEY)
    for name, value in (("mount", mount), ("key", key)):
        if len(value) > 256 or not _PATH.fullmatch(value):
            raise UsageError(f"{NAME}: the setting {name} is not a path of the server", "use letters, digits, . _ - /")
    return Transit(server_of(values.get("url", ""), values.get("ca", "")), mount, key, read_token)


def _token(data: bytes) -> str:
    if not _TOKEN.fullmatch(data):
        raise UsageError(f"{NAME}: the token is empty or has blanks", "write the token's file again")
    return data.decode("ascii")


def _malformed() -> UnavailableError:
    return UnavailableError(f"{NAME}: the server's answer is malformed", remedy="transit-gone")
