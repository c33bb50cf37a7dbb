"""What etcd's refusals and broken connections come down to, in a few words, and what to do about each."""

from __future__ import annotations

import contextlib
import json
import re

_CAUSE = re.compile(r"\[Errno -?[0-9]+\] ([\w ]+)|\[(?:SSL|X509): (\w+)|(timed out|SSLEOFError|RemoteDisconnected)")
_HINTS = {
    "TLS": "check fleet.ca, fleet.cert and fleet.key",
    "RemoteDisconnected": "does it speak TLS? fleet.ca names its authority",
    "reset by peer": "does it speak TLS? fleet.ca names its authority",
    "authentication failed": "check fleet.user and the file fleet.password_file",
    "user name is empty": "etcd demands a password: fleet.user and fleet.password_file",
    "permission denied": "the user needs to read and write below the prefix",
    "CommonName": "beside a password etcd's gateway takes only a client certificate without a common name",
}


def words_of(error: Exception) -> str:
    """What a member's refusal, or a connection's failure, comes down to."""
    text = getattr(error, "detail_text", None) or str(error) or type(error).__name__
    with contextlib.suppress(ValueError, AttributeError):
        text = str(json.loads(text).get("message", text))
    cause = _CAUSE.search(text)
    words = " ".join((cause[cause.lastindex or 0] if cause else text).replace("\\n", " ").split())
    return f"TLS: {words}" if "SSL" in text or "TLS" in text else words


def hint_for(words: str) -> str:
    """What to do about it."""
    return next((hint for sign, hint in _HINTS.items() if sign in words), "is its quorum there?")
