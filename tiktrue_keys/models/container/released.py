"""Refuses a container or folder that the release of its model does not name, although its signature is good.

Come here for an error about a superseded or withdrawn container. The rule is that of core/dispatch/releases.py; this
module finds what it is about: a container that is not named itself may be listed in the manifest of a folder that is.

Does not handle: the signature (container/container.py), and how a release is made (models/model_release.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tiktrue_keys.core.dispatch.releases import HERE, CountingRelease, Release, Standing
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import RefusedError, TikTrueKeysError
from tiktrue_keys.models.format.header import Header
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, MAX_MANIFEST, Manifest, SignedManifest
from tiktrue_keys.models.storage.location import Place, Url, parse_place
from tiktrue_keys.models.storage.protocol import storage_of

STALE = "stale-release"


class ReleaseCheck(Enum):
    """What becomes of a container that the release of its model does not name.

    SKIP: nothing is looked up, because the caller has checked the folder, or releases no plaintext.
    """

    REFUSE = "refuse"
    WARN = "warn"
    SKIP = "skip"


@dataclass(frozen=True)
class _Subject:
    """A container or folder, as messages call it: `a container`, its id, and where it is."""

    kind: str
    file_id: bytes
    place: str


def check_container(
    manager: KeyManager, header: Header, root: bytes | None, place: Place | None, check: ReleaseCheck
) -> tuple[Notice, ...]:
    """Return the warnings about a container whose header is authentic. `root` None: it is not known yet.

    Raises RefusedError for one that its model's release does not name or has withdrawn, unless `check` lets it pass.
    """
    known = None if check is ReleaseCheck.SKIP else manager.release_of(header.model_id)
    if known is None:
        return ()
    standing = known.standing(header.file_id, root)
    if standing is Standing.SUPERSEDED and _is_covered(known, header.file_id, root, place):
        standing = Standing.NAMED
    subject = _Subject("container", header.file_id, str(place or ""))
    return (*_judged(known, standing, subject, check), *_freshness(known))


def check_folder(manager: KeyManager, manifest: Manifest, place: Place, check: ReleaseCheck) -> tuple[Notice, ...]:
    """Return the warnings about a folder whose manifest is authentic; raises as check_container does.

    It covers every container that the manifest lists, except one that was withdrawn itself.
    """
    known = None if check is ReleaseCheck.SKIP else manager.release_of(manifest.model_id)
    if known is None:
        return ()
    standing, subject = _of_manifest(known, manifest), _Subject("folder", manifest.folder_id, str(place))
    withdrawn = {*known.release.withdrawn}.intersection(entry.file_id for entry in manifest.containers)
    if standing is Standing.NAMED and withdrawn:
        standing, subject = Standing.WITHDRAWN, _Subject("container", min(withdrawn), str(place))
    return (*_judged(known, standing, subject, check), *_freshness(known))


def naming_release(manager: KeyManager, header: Header, root: bytes, place: Place) -> CountingRelease | None:
    """Return the release that names a container, or covers it by a folder; None when none does."""
    known = manager.release_of(header.model_id)
    if known is None:
        return None
    standing = known.standing(header.file_id, root)
    if standing is Standing.SUPERSEDED and _is_covered(known, header.file_id, root, place):
        standing = Standing.NAMED
    return known if standing is Standing.NAMED else None


class ReleaseStandings:
    """What releases say of many containers, for a listing. Each release and each manifest is read once."""

    def __init__(self, manager: KeyManager) -> None:
        self._manager = manager
        self._known: dict[str, CountingRelease | None] = {}
        self._roots: dict[tuple[str, str], Mapping[bytes, bytes]] = {}

    def of(self, model_id: str, file_id: bytes, path: str) -> Standing | None:
        """Return the standing of the container that lies at `path` (empty: unknown), by its id; None: no release."""
        if model_id not in self._known:
            self._known[model_id] = self._manager.release_of(model_id)
        known = self._known[model_id]
        if known is None:
            return None
        standing = known.standing(file_id, None)
        if standing is Standing.SUPERSEDED and path and file_id in self._covered(known, parse_place(path)):
            return Standing.NAMED
        return standing

    def _covered(self, known: CountingRelease, place: Place) -> Mapping[bytes, bytes]:
        folder = (known.release.model_id, str(place.with_name("")) if isinstance(place, Url) else str(place.parent))
        if folder not in self._roots:
            self._roots[folder] = _covered_roots(known, place)
        return self._roots[folder]


def _of_manifest(known: CountingRelease, manifest: Manifest) -> Standing:
    return known.standing(manifest.folder_id, manifest.digest)


def _is_covered(known: CountingRelease, file_id: bytes, root: bytes | None, place: Place | None) -> bool:
    """Return whether the container lies in a folder that the release names, and whose manifest lists it."""
    return place is not None and root is not None and _covered_roots(known, place).get(file_id) == root


def _covered_roots(known: CountingRelease, place: Place) -> Mapping[bytes, bytes]:
    """Return the roots, by file id, of the released folder that `place` lies in; none if it lies in no such folder.

    The manifest's digest is in the release, so that its own signature need not be checked.
    """
    manifest = _manifest_above(place)
    if manifest is None or _of_manifest(known, manifest) is not Standing.NAMED:
        return {}
    return {entry.file_id: entry.root for entry in manifest.containers}


def _manifest_above(place: Place) -> Manifest | None:
    for folder in _folders_above(place):
        try:
            data = storage_of(folder / MANIFEST_NAME).read_capped(MAX_MANIFEST, "the manifest")
            return SignedManifest.decode(data).manifest
        except TikTrueKeysError:  # there is none, or it covers nothing
            continue
    return None


def _folders_above(place: Place) -> Iterator[Place]:
    if isinstance(place, Path):
        yield from place.parents
        return
    rest = place.rest.rpartition("/")[0]
    while rest:
        yield Url(place.scheme, rest)
        rest = rest.rpartition("/")[0]


def _judged(known: CountingRelease, standing: Standing, subject: _Subject, check: ReleaseCheck) -> tuple[Notice, ...]:
    if standing is Standing.NAMED:
        return ()
    error = _error(known.release, standing, subject)
    if check is ReleaseCheck.REFUSE:
        raise error
    return (Notice(standing.value, error.message),)


def _error(release: Release, standing: Standing, subject: _Subject) -> RefusedError:
    what = f"{subject.kind} {subject.file_id.hex()}"
    if standing is Standing.WITHDRAWN:
        return RefusedError(
            f"{what} was withdrawn from model {release.model_id}",
            "use one that is released, or pass allow_superseded=True",
            remedy="withdrawn",
        )
    words = f"release {release.number} of model {release.model_id} does not name {what}"
    if release.origin == HERE:
        return RefusedError(
            words,
            "release it, or pass allow_superseded=True",
            remedy="superseded-here",
            about={"path": subject.place or "CONTAINER"},
        )
    hint = "receive the newest release, or pass allow_superseded=True"
    return RefusedError(words, hint, remedy="superseded")


def _freshness(known: CountingRelease) -> tuple[Notice, ...]:
    """Return a warning past the end of its list. Where the session is strict, opening the key was refused before."""
    if known.ends_at is None or known.at < known.ends_at:
        return ()
    release = known.release
    words = f"the list that release {release.number} of model {release.model_id} relies on ended"
    words += f" at {rfc3339(known.ends_at)}" if known.ends_at else " before it was stored"
    return (Notice(STALE, f"{words}: whether a later release replaces it is unknown", remedy="receive-list"),)
