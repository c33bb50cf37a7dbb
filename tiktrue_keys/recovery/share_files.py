"""Shares as text: a file for each holder, or several shares in a row. Writes and reads both.

    # tiktrue-keys escrow 16084: share 2 of 5, any 3 recover
    # keystore 0f3a...
    word word word ...

Come here for the format and its limits. shares.py checks whether the words are a share.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tiktrue_keys.core.durable import ANOTHER_FILE, create_bytes, must_have_folder, read_capped, sync_folder
from tiktrue_keys.core.keystore.permissions import FILE_MODE, FOLDER_MODE
from tiktrue_keys.core.outputs import FileKind, OutputGate
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.errors import UsageError
from tiktrue_keys.recovery.shares import MAX_SHARES, WORDS, Share, parse_share

LIMIT = 64 * 1024
"""The most bytes that are read for shares; sixteen shares take 5 KiB."""


def share_text(share: Share, count: int, keystore_id: bytes) -> str:
    """Return one share as its holder gets it."""
    return (
        f"# tiktrue-keys escrow {share.escrow}: share {share.number} of {count}, any {share.threshold} recover\n"
        f"# keystore {keystore_id.hex()}\n"
        f"{share.words}\n"
    )


def write_shares(
    folder: Path, shares: Sequence[Share], keystore_id: bytes, *, gate: OutputGate
) -> tuple[list[Path], Callable[[], None]]:
    """Write a file (mode 0600) for each share, all of them or none.

    Returns the paths, and a function that removes the files. Raises RefusedError for a folder that the gate refuses,
    and for a file that exists or cannot be written.
    """
    must_take_shares(folder, gate)
    written: list[Path] = []
    made_folder = not folder.exists()

    def take_back() -> None:
        for path in written:
            with contextlib.suppress(OSError):  # the caller's error matters, not this one
                path.unlink()
        if made_folder:
            with contextlib.suppress(OSError):  # another process has put a file into it, or it was not created
                folder.rmdir()

    try:
        if made_folder:
            must_have_folder(folder)
            with foreign_os_errors("the shares' folder", folder):
                folder.mkdir(mode=FOLDER_MODE)
                folder.chmod(FOLDER_MODE)  # regardless of the umask
                sync_folder(folder.parent)
        for share in shares:
            path = folder / f"escrow-{share.escrow}-share-{share.number}-of-{len(shares)}.txt"
            text = share_text(share, len(shares), keystore_id).encode()
            create_bytes(path, text, FILE_MODE, gate=gate, kind=FileKind.SHARE, what="the share")
            written.append(path)
    except BaseException:
        take_back()
        raise
    return written, take_back


def must_take_shares(folder: Path, gate: OutputGate) -> None:
    """Raise RefusedError when the gate refuses shares in the folder, or a new folder."""
    if not folder.is_dir():
        gate.check(folder)
    gate.check(folder / "share", FileKind.SHARE)


def read_share_file(path: Path) -> list[Share]:
    """Return the shares in a file, one or several. Raises UsageError when the text is not a share."""
    return parse_shares(read_capped(path, LIMIT, "the share", hint=ANOTHER_FILE), str(path))


def parse_shares(data: bytes, what: str) -> list[Share]:
    """Return the shares in a text: words on any line, comments after `#`. Raises UsageError, which names `what`."""
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"{what} is not a share: it is not text in UTF-8") from None
    words = [word for line in lines for word in line.partition("#")[0].split()]
    if not words or len(words) % WORDS or len(words) > WORDS * MAX_SHARES:
        raise UsageError(f"{what} holds {len(words)} words; a share has {WORDS}")
    return [_named(what, words[at : at + WORDS]) for at in range(0, len(words), WORDS)]


def _named(what: str, words: Iterable[str]) -> Share:
    try:
        return parse_share(" ".join(words))
    except UsageError as error:
        raise UsageError(f"{what}: {error.message}", **error.advice) from None
