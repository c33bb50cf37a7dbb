"""Reads the 32 bytes of an existing key for `generate --from-file`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.trusted_files import read_trusted
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import UsageError

KEY_BYTES = 32
_LIMIT = 1024


def read_key_material(context: CommandContext, source: str) -> bytes:
    """Return 32 bytes from a file or, for `-`, standard input: raw, or as 64 hex digits with an optional newline."""
    if source == "-":
        context.claim_stdin("the key")
        data = sys.stdin.buffer.read(_LIMIT + 1)
    else:
        found = read_trusted(Path(source), limit=_LIMIT, what="key file")
        if found.read_by_others:
            context.warn(
                Notice(
                    "key-file-readable",
                    f"the key file {source} can be read by others: run chmod 600 {source}, or delete it",
                )
            )
        data = found.data
    if len(data) == KEY_BYTES:
        return data
    digits = data.rstrip(b"\r\n")
    if re.fullmatch(rb"[0-9A-Fa-f]{64}", digits):
        return bytes.fromhex(digits.decode("ascii"))
    raise UsageError("this is not a key", "give 32 bytes or 64 hex digits")
