"""Releases containers and encrypted folders: checks that this keystore signed each one, and names it.

Come here for `models release`. It reads the signature and the root, not the body (file/verify.py does), and needs no
license. core/operations/release.py stores the release and queues it for the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike

from tiktrue_keys.core.dispatch.releases import ReleaseEntry
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.release import EVENT, Released, ReleaseRequest
from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.container.container import check_authorship
from tiktrue_keys.models.container.open import opened_container
from tiktrue_keys.models.folder.compare import must_be_complete
from tiktrue_keys.models.folder.manifest_file import read_manifest
from tiktrue_keys.models.folder.tree import real_folder
from tiktrue_keys.models.registry.containers import parse_file_id
from tiktrue_keys.models.registry.intent import noted
from tiktrue_keys.models.storage.location import Place, Url, asked_place, parse_place
from tiktrue_keys.models.storage.protocol import storage_of


def release_models(
    manager: KeyManager,
    paths: Sequence[str | PathLike[str] | Url] = (),
    *,
    withdraw: Sequence[str] = (),
    only: bool = False,
    dry_run: bool = False,
    confirm: Callable[[], None] | None = None,
    operation_id: str | None = None,
) -> Released:
    """Name containers and folders in the releases of their models, and withdraw ids (32 hex digits) for good.

    With `only`, these models' releases name nothing else. The first release of a model makes every other container of
    it refused. `confirm` is called once everything is known to be possible, and raises to forbid it. Raises
    IntegrityError for one that another keystore signed or whose folder does not match its manifest, RefusedError for an
    unsigned or withdrawn one and for a model of another authority, NotFoundError, and UsageError.
    """
    if only and not paths:
        raise UsageError("nothing to release alone", "name the containers that stay released", remedy="name-released")
    if not paths and not withdraw:
        raise UsageError("nothing to release", "name containers or folders", remedy="name-released")
    arguments = {"paths": [asked_place(path) for path in paths], "withdraw": [*withdraw], "only": only}
    asked = OperationRequest.of(EVENT, operation_id, arguments)
    ids = [parse_file_id(text) for text in withdraw]
    add: dict[str, list[ReleaseEntry]] = {}
    with noted(manager, EVENT, asked.operation_id, asked.subject):
        for path in paths:
            model_id, entry = _entry_at(manager, parse_place(path))
            add.setdefault(model_id, []).append(entry)
        request = ReleaseRequest(add, ids, only, dry_run)
        if confirm is None or dry_run:
            return manager.release(request, asked)
        planned = manager.release(replace(request, dry_run=True), asked)
        if not planned.dry_run:  # not a plan: what this operation id did the first time
            return planned
    confirm()
    with noted(manager, EVENT, asked.operation_id, asked.subject):
        return manager.release(request, asked)


def _entry_at(manager: KeyManager, place: Place) -> tuple[str, ReleaseEntry]:
    """Return the model id and entry of the container or folder at `place`."""
    if storage_of(place).is_folder():
        return _folder_entry(manager, place)
    with opened_container(place) as found:
        container = found.container
    header = container.header
    check_authorship(header, container.body, container.trailer, issuers=(manager.issuer,))
    return header.model_id, ReleaseEntry(header.file_id, container.root, name=header.name)


def _folder_entry(manager: KeyManager, place: Place) -> tuple[str, ReleaseEntry]:
    folder = place if isinstance(place, Url) else real_folder(place)
    signed = read_manifest(folder)
    signed.verify(manager.issuer)
    manifest = signed.manifest
    must_be_complete(folder, manifest, hashes=False)
    return manifest.model_id, ReleaseEntry(manifest.folder_id, manifest.digest, name=manifest.name)
