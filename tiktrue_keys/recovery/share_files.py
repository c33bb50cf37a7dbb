"""Shares as text: one file for each holder, or a line each on a stream. Reads both, and words that somebody typed.

    # tiktrue-keys escrow 16084: share 2 of 5, any 3 recover
    # keystore 0f3a...
    word word word ...

What it does not handle: whether the words are a share (shares.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tiktrue_keys.core.durable import create_bytes, read_capped, sync_folder
from tiktrue_keys.core.keystore.permissions import FILE_MODE, FOLDER_MODE
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.errors import UsageError
from tiktrue_keys.recovery.shares import MAX_SHARES, WORDS, Share, parse_share

LIMIT = 64 * 1024
"""The most bytes of text that are read for shares: sixteen take 5 KiB."""


def share_text(share: Share, count: int, keystore_id: bytes) -> str:
    """One share as its holder gets it."""
    return (
        f"# tiktrue-keys escrow {share.escrow}: share {share.number} of {count}, any {share.threshold} recover\n"
        f"# keystore {keystore_id.hex()}\n"
        f"{share.words}\n"
    )


def write_shares(folder: Path, shares: Sequence[Share], keystore_id: bytes) -> tuple[list[Path], Callable[[], None]]:
    """Write a file for each share, 0600, all of them or none; gives the paths, and what removes them.

    RefusedError where one exists; as durable.create_bytes.
    """
    written: list[Path] = []
    made_folder = not folder.exists()

    def take_back() -> None:
        for path in written:
            with contextlib.suppress(OSError):  # what brought us here must be told, not this
                path.unlink()
        if made_folder:
            with contextlib.suppress(OSError):  # somebody else's file is in it by now, or it was never made
                folder.rmdir()

    try:
        if made_folder:
            with foreign_os_errors("the shares' folder", folder):
                folder.mkdir(mode=FOLDER_MODE)
                folder.chmod(FOLDER_MODE)  # whatever the umask
                sync_folder(folder.parent)
        for share in shares:
            path = folder / f"escrow-{share.escrow}-share-{share.number}-of-{len(shares)}.txt"
            create_bytes(path, share_text(share, len(shares), keystore_id).encode(), FILE_MODE, what="the share")
            written.append(path)
    except BaseException:
        take_back()
        raise
    return written, take_back


def read_share_file(path: Path) -> list[Share]:
    """The shares in a file: one, or several; as durable.read_capped, UsageError for what is no share."""
    return parse_shares(read_capped(path, LIMIT, "the share"), str(path))


def parse_shares(data: bytes, what: str) -> list[Share]:
    """The shares in a text: words in any line, comments after `#`; UsageError naming `what`."""
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"{what} holds no share: it is no text in UTF-8") from None
    words = [word for line in lines for word in line.partition("#")[0].split()]
    if not words or len(words) % WORDS or len(words) > WORDS * MAX_SHARES:
        raise UsageError(f"{what} holds {len(words)} words; a share has {WORDS}")
    return [_named(what, words[at : at + WORDS]) for at in range(0, len(words), WORDS)]


def _named(what: str, words: Iterable[str]) -> Share:
    try:
        return parse_share(" ".join(words))
    except UsageError as error:
        raise UsageError(f"{what}: {error.message}", **error.advice) from None
