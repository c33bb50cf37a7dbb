"""The high-water marks of one keystore: which folders hold one, which of them counts, and how they are replaced.

Come here for where a mark is looked for. A keystore has a mark in the folder that is given now, in the one that its
header records, and beside the host secret in use, so that any of them may be lost or moved. A mark counts if H
authenticates it; the keystore has to reach every one that counts. A missing or foreign file in one folder is not an
error while another holds a mark: the next commit replaces it. Marks of a later root do not authenticate under H, and
so a rekey leaves one more mark under the old H, which no commit replaces. high_water.py reads and writes one file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.high_water import Mark, mark_path, pending_path, read_mark, renewed_path, write_mark
from tiktrue_keys.core.keystore.permissions import must_lie_outside, must_not_be_writable_by_others
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.errors import Advice, IntegrityError, NotFoundError, TikTrueKeysError

_REPLACE: Advice = {
    "hint": "put it back, or prove the license: rebind(license_key); without one rebind(against=checkpoint)",
    "remedy": "mark-gone",
    "about": {},
}
Version = tuple[int, int, int] | None


class Marks:
    """The marks of an opened keystore.

    `given` is the folder that was given now, `beside` that of the host secret in use; None without one.
    """

    def __init__(self, keys: RootKeys, *, given: Path | None = None, beside: Path | None = None) -> None:
        self.given = given
        self.beside = beside
        self._keys = keys
        self._versions: tuple[Version, ...] = ()
        self._heartbeat: Instant | None = None

    def paths(self, document: Document) -> tuple[Path, ...]:
        """Return the paths of the marks, in the order in which they are written. A rehearsal has none."""
        if document.rehearsal:
            return ()
        unique = dict.fromkeys((self.given, Path(document.marks_path), self.beside))
        return tuple([mark_path(folder, document.keystore_id) for folder in unique if folder is not None])

    def must_be_safe(self, document: Document, keystore: Path) -> None:
        """Raise InsecureError for a folder that others can write, or that was given and lies in the `keystore` folder.

        Raises NotFoundError when the folder that was given does not exist. A keystore that is opened in another way
        than by its machine may name another machine's folder, which is not judged.
        """
        if self.given is not None:
            must_lie_outside(self.given, keystore, "the folder of marks")
            if not self.given.is_dir():
                raise NotFoundError(f"the folder of marks {self.given} does not exist", f"mkdir -m 700 '{self.given}'")
        if self.beside is not None:
            for path in self.paths(document):
                must_not_be_writable_by_others(path.parent)

    def read(self, document: Document) -> tuple[Mark, ...]:
        """Return every mark that counts. Raises IntegrityError when there is none, else what hides the first file."""
        found, trouble = self._read(document)
        renewed = self._renewed(document)
        if any(mark.epoch > document.epoch for mark in renewed):
            return (*found, *renewed)
        if not found:
            raise _advised(trouble) if trouble else self.gone(document)
        return found

    def gone(self, document: Document) -> IntegrityError:
        """Return the error of a keystore of which no mark is left."""
        paths = self.paths(document)
        names = " and ".join(str(path) for path in paths)
        words = f"the high-water mark{'s' * (len(paths) > 1)} {names} {'is' if len(paths) == 1 else 'are'} gone"
        return IntegrityError(words, **_REPLACE)

    def newest(self, document: Document) -> Mark | None:
        """Return the highest mark that counts, or None.

        Where the keystore was opened by its host secret, the error of a file that cannot be read is raised.
        """
        found, trouble = self._read(document)
        if not found and trouble is not None and self.beside is not None and not isinstance(trouble, IntegrityError):
            raise trouble
        return max((*found, *self._renewed(document)), default=None)

    def has_any(self, document: Document) -> bool:
        """Return whether a mark counts that a commit replaces. Raises as newest."""
        return self.newest(document) is not None and bool(self._read(document)[0])

    def end_root(self, documents: Sequence[Document], mark: Mark) -> None:
        """Leave `mark` for copies from before a rekey in every folder of marks that can be written."""
        for path in dict.fromkeys(self._renewed_path(path) for each in documents for path in self.paths(each)):
            with contextlib.suppress(TikTrueKeysError):
                self.write_at(path, mark)

    def heartbeat(self, document: Document) -> Instant | None:
        """Return the latest heartbeat; the files are read only after one of them was replaced.

        Marks that are gone keep the last one that was read: opening the keystore refuses them. Raises IntegrityError
        when there are files and none of them counts.
        """
        versions = tuple(map(_version, self.paths(document)))
        if versions != self._versions and any(versions):
            self._heartbeat = max((mark.heartbeat for mark in self.read(document) if mark.heartbeat), default=None)
            self._versions = versions
        return self._heartbeat

    def write(self, document: Document, mark: Mark, *, pending: bool = False) -> None:
        """Replace every mark durably, or write it beside, for a keystore that is about to change its root.

        Raises the error of the folder that was given, or of the first if all fail.
        """
        failures: list[TikTrueKeysError] = []
        paths = self.paths(document)
        for path in paths:
            try:
                self.write_at(pending_path(path) if pending else path, mark)
            except TikTrueKeysError as error:
                if path.parent == self.given:
                    raise
                failures.append(error)
        if failures and len(failures) == len(paths):
            raise failures[0]

    def write_at(self, path: Path, mark: Mark) -> None:
        """Replace one mark durably."""
        write_mark(path, mark, root=self._keys.root.view, keystore_id=self._keys.keystore_id)

    def prepare(self, document: Document, mark: Mark) -> None:
        """Write `mark` into the folder that the header records if no mark there counts.

        Call it before a header with another folder is committed, so that a kill leaves no keystore without a mark.
        """
        path = mark_path(Path(document.marks_path), document.keystore_id)
        try:
            read_mark(path, root=self._keys.root.view, keystore_id=document.keystore_id)
        except (NotFoundError, IntegrityError):
            self.write_at(path, mark)

    def _renewed_path(self, path: Path) -> Path:
        return renewed_path(path.parent, self._keys.root.view, self._keys.keystore_id)

    def _renewed(self, document: Document) -> tuple[Mark, ...]:
        """Return the marks that a rekey of this root has left."""
        found: list[Mark] = []
        for path in map(self._renewed_path, self.paths(document)):
            with contextlib.suppress(TikTrueKeysError):
                found.append(read_mark(path, root=self._keys.root.view, keystore_id=document.keystore_id))
        return tuple(found)

    def leave(self, before: Document, after: Document) -> None:
        """Remove the mark of a folder that `before` named and `after` does not: it would fall behind.

        An older copy that names the folder would reach it. A file that is not the keystore's mark stays.
        """
        for path in self.paths(before):
            if path in self.paths(after):
                continue
            with contextlib.suppress(OSError, TikTrueKeysError):
                read_mark(path, root=self._keys.root.view, keystore_id=before.keystore_id)
                path.unlink()

    def _read(self, document: Document) -> tuple[tuple[Mark, ...], TikTrueKeysError | None]:
        """Return the marks that count, and the error of the first file that is there and does not."""
        found: list[Mark] = []
        trouble: TikTrueKeysError | None = None
        for path in self.paths(document):
            try:
                found.append(read_mark(path, root=self._keys.root.view, keystore_id=document.keystore_id))
            except NotFoundError:
                continue
            except TikTrueKeysError as error:
                trouble = trouble or error
        return tuple(found), trouble


def _advised(error: TikTrueKeysError) -> TikTrueKeysError:
    return IntegrityError(error.message, **_REPLACE) if isinstance(error, IntegrityError) else error


def _version(path: Path) -> Version:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns, status.st_size
