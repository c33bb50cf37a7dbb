"""Rounds of a spool: written under a temporary name, signed by an index, renamed; removed once they are consumed.

The index lets the issuer recognise its own rounds before it removes one. Nodes do not read it, because it has a line
for each node of the fleet and every envelope has a signature of its own.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import ctypes
import errno
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from tiktrue_keys.core.derivation import signed_message
from tiktrue_keys.core.durable import sync_folder_fd
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.errors import UnavailableError
from tiktrue_keys.fleet.transports.interface import Junk, Place, Posted
from tiktrue_keys.fleet.transports.spool_files import (
    MAX_FILE,
    MAX_LINES,
    make_folder,
    opened_folder,
    read_file,
    remove_tree,
    write_file,
)

INDEX = "index"
FORM = "tiktrue-round/1"
SIGNATURE_KIND = "round"
_NAME = re.compile(r"[0-9]{10}")
_LAST = 9_999_999_999
_TRIES = 100
_ROOM = 256
"""Bytes of an index that are kept free for its longest entry and its signature."""
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)
_GONE: Place = (sys.maxsize, 0, 0)  # a node that is no longer pinned needs no lines


def round_names(box: int) -> Iterator[str]:
    """Yield the names of rounds, in no order. Raises OSError."""
    with os.scandir(box) as entries:
        yield from (entry.name for entry in entries if _NAME.fullmatch(entry.name))


def publish_rounds(box: int, issuer: str, number: int, posts: Iterable[Posted], sign: Signer) -> None:
    """Write all posts, in one round or, past the limits of a file, in several. Raises OSError or UnavailableError."""
    rest = iter(posts)
    for first in rest:
        number, rest = _publish_round(box, issuer, number, chain([first], rest), sign)


def remove_consumed(box: int, issuer: str, consumed: Mapping[str, Place], identity_key: bytes) -> None:
    """Remove the rounds that this issuer signed and whose nodes have all consumed them. Raises OSError.

    The newest round with a challenge stays. Another process may be at the same; what is odd stays.
    """
    asked = False
    for name in sorted(round_names(box), reverse=True):
        with contextlib.suppress(OSError), opened_folder(box, name) as folder:
            places = _read_index(folder, issuer, int(name), identity_key)
            if places is None:
                continue
            asks = any(number == 0 for _, _, number in places.values())
            wanted = any(place > consumed.get(node_id, _GONE) for node_id, place in places.items())
            if not wanted and (asked or not asks):
                _remove(box, name, folder, places)
            asked = asked or asks


def _remove(box: int, name: str, folder: int, files: Iterable[str]) -> None:
    """Remove files, and the folder if nothing else is in it: a file that is not in the index is not ours."""
    for file in (*files, INDEX):  # the index last: a removal that was interrupted is finished by the next
        with contextlib.suppress(OSError):
            os.unlink(file, dir_fd=folder)
    os.rmdir(name, dir_fd=box)


def _publish_round(
    box: int, issuer: str, number: int, posts: Iterator[Posted], sign: Signer
) -> tuple[int, Iterator[Posted]]:
    """Write one round; return the number for the one after it and the posts that found no room."""
    temporary = f".{secrets.token_hex(8)}.tmp"
    make_folder(box, temporary)
    try:
        with opened_folder(box, temporary) as folder:
            entries, rest = _write_files(folder, posts)
            for _ in range(_TRIES):
                number = _free_number(box, number)
                _write_index(folder, _index(issuer, number, entries, sign))
                _sync_tree(folder)
                if _renamed(box, temporary, f"{number:010d}"):
                    sync_folder_fd(box)
                    return number + 1, rest
    finally:
        remove_tree(box, temporary)
    raise UnavailableError("the spool's round numbers keep being taken", "check which other process writes to it")


def _write_files(folder: int, posts: Iterator[Posted]) -> tuple[list[str], Iterator[Posted]]:
    """Write a file for each node. Return the entries of the index, and the posts for which the round has no room."""
    files = _Files(folder)
    for post in posts:
        if not files.take(post):
            files.finish()
            return files.entries, chain([post], posts)
    files.finish()
    return files.entries, iter(())


class _Files:
    """The files of a round, of which one is in progress. `entries` are those of the index, for finished files."""

    def __init__(self, folder: int) -> None:
        self.entries: list[str] = []
        self._folder = folder
        self._room = MAX_FILE - 2 * _ROOM
        self._node_id = ""
        self._lines: list[bytes] = []
        self._length = 0
        self._place: Place = (0, 0, 0)

    def take(self, post: Posted) -> bool:
        """Add a line, if there is room in the file of its node or for one more node."""
        if post.node_id != self._node_id:
            self.finish()
            if self._room < 0:
                return False
            self._node_id, self._place = post.node_id, post.place
        elif len(self._lines) == MAX_LINES or self._length + len(post.line) >= MAX_FILE:
            return False
        self._lines.append(post.line)
        self._length += len(post.line) + 1
        self._place = max(self._place, post.place)
        return True

    def finish(self) -> None:
        """Write the file in progress, if there is one."""
        if not self._lines:
            return
        write_file(self._folder, self._node_id, b"\n".join([*self._lines, b""]))
        self.entries.append(f"{self._node_id} {' '.join(map(str, self._place))}\n")
        self._room -= len(self.entries[-1])
        self._lines, self._length = [], 0


def _free_number(box: int, number: int) -> int:
    """Return the first number from this one on whose name is free. Another process may have taken any of them."""
    for free in range(number, _LAST + 1):
        try:
            os.stat(f"{free:010d}", dir_fd=box, follow_symlinks=False)
        except FileNotFoundError:
            return free
    raise UnavailableError("the spool has no free round number", "use an empty spool")


def _renamed(box: int, temporary: str, name: str) -> bool:
    """Give a round its name; False when another process has just taken it."""
    try:
        os.rename(temporary, name, src_dir_fd=box, dst_dir_fd=box)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def _index(issuer: str, number: int, entries: list[str], sign: Signer) -> bytes:
    body = "".join([f"{FORM} {issuer} {number}\n", *entries]).encode()
    return body + base64.b64encode(sign(signed_message(SIGNATURE_KIND, body))) + b"\n"


def _write_index(folder: int, data: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):  # of the number that was taken
        os.unlink(INDEX, dir_fd=folder)
    write_file(folder, INDEX, data)


def _read_index(folder: int, issuer: str, number: int, identity_key: bytes) -> dict[str, Place] | None:
    """Return the highest place of each node in a round that this issuer signed under this number, else None."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data = read_file(folder, INDEX, Junk())
    if data is None:
        return None
    body, _, last = data.removesuffix(b"\n").rpartition(b"\n")
    body += b"\n"
    if not body.startswith(f"{FORM} {issuer} {number}\n".encode()):
        return None
    try:
        signature = base64.b64decode(last, validate=True)
        Ed25519PublicKey.from_public_bytes(identity_key).verify(signature, signed_message(SIGNATURE_KIND, body))
    except (InvalidSignature, binascii.Error):
        return None
    entries = (line.split(" ") for line in body.decode().splitlines()[1:])
    return {node_id: (int(epoch), int(stream), int(place)) for node_id, epoch, stream, place in entries}


def _sync_tree(folder: int) -> None:
    """Sync all files of a round with one call: ten thousand fsyncs would take longer than everything else together."""
    if sys.platform != "linux":
        os.sync()
    elif ctypes.CDLL(None, use_errno=True).syncfs(folder) != 0:
        raise OSError(ctypes.get_errno(), "syncfs failed")
    sync_folder_fd(folder)
