"""Node ids: how administrators compare the identity of a keystore, and how records name it.

Come here for the grammar of node ids and of the names of peers. The functions are pure.
"""

from __future__ import annotations

import base64
import hashlib
import re

from tiktrue_keys.core.derivation import NODE_ID
from tiktrue_keys.errors import UsageError

NODE_ID_LENGTH = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NODE_ID = re.compile(r"[a-z2-7]{32}")


def node_id_of(identity_key: bytes, identity_hpke: bytes) -> str:
    """Return the node id, 32 characters of lower-case base32.

    They are the first 160 bits of SHA-256 over the label, a zero byte and both public keys.
    """
    digest = hashlib.sha256(NODE_ID + b"\x00" + identity_key + identity_hpke).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:NODE_ID_LENGTH]


def is_node_id(text: str) -> bool:
    """Return whether `text` is spelled like a node id: 32 characters of base32, lower case."""
    return _NODE_ID.fullmatch(text) is not None


def parse_name(text: str) -> str:
    """Return `text` as a peer's name. Raises UsageError when it is malformed."""
    if not _NAME.fullmatch(text) or is_node_id(text):
        raise UsageError(
            f"{text[:80]!a} is not a node's name",
            "1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit, and no node id",
        )
    return text
