"""Decrypts the files that the manifest of an encrypted folder lists; creates the whole folder or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path

from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import each_once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.outputs import FileKind
from tiktrue_keys.errors import RefusedError, UsageError
from tiktrue_keys.models.container.data_key import asked_once
from tiktrue_keys.models.container.open import Unlocker, opened_container
from tiktrue_keys.models.container.released import ReleaseCheck, check_folder
from tiktrue_keys.models.file.decrypt import Decrypted, Decryption, ReadOptions
from tiktrue_keys.models.file.output import gate_with
from tiktrue_keys.models.folder.compare import must_be_complete
from tiktrue_keys.models.folder.job import open_beforehand
from tiktrue_keys.models.folder.manifest_file import trusted_manifest
from tiktrue_keys.models.folder.new_folder import folder_intent, new_folder
from tiktrue_keys.models.folder.plain import copy_plain
from tiktrue_keys.models.folder.swap import FolderPlace, make_parents, must_be_free, swap_in
from tiktrue_keys.models.folder.tree import real_folder
from tiktrue_keys.models.format.header import SUFFIX
from tiktrue_keys.models.format.manifest import ContainerEntry, Manifest, ManifestEntry
from tiktrue_keys.models.pipeline.parallel import Task, side_by_side
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.registry.intent import FinishedOperation, noted, repeated
from tiktrue_keys.models.registry.plaintext_approval import release
from tiktrue_keys.models.registry.tracking import SeenContainer, track_all
from tiktrue_keys.models.storage.location import Place, Url, asked_place, parse_place, recorded_path
from tiktrue_keys.models.storage.output_identity import file_identity
from tiktrue_keys.models.storage.unsynced import UnsyncedFiles

OPERATION = "decrypt-folder"
_Seen = SeenContainer | None


@dataclass(frozen=True, kw_only=True)
class DecryptedFolder(OperationResult):
    """A decrypted folder; `length` in bytes of all its files. `files` is empty for a repeated operation id."""

    source: Place
    destination: Path
    files: tuple[Decrypted, ...]
    plain: tuple[str, ...]
    length: int


def decrypt_folder(
    manager: KeyManager,
    source: str | PathLike[str] | Url,
    destination: str | PathLike[str] | None = None,
    *,
    license_key: License | None = None,
    allow_deprecated: bool = False,
    allow_unsigned: bool = False,
    allow_superseded: bool = False,
    force: bool = False,
    jobs: int | None = None,
    progress: ProgressReport | None = None,
    operation_id: str | None = None,
) -> DecryptedFolder:
    """Decrypt DIR.ttm, or the folder below a URL. The default destination is DIR beside it.

    `force` replaces a folder that holds only files of the same names; it replaces no container, backup, share or
    manifest. Processes up to `jobs` files at once (default: one for each processor, at most four). A failure leaves the
    destination as it was. Raises IntegrityError, before any output, when a file is missing, added, renamed, swapped or
    older than the manifest says, or another keystore signed the manifest; RefusedError when the destination exists or
    the model's release does not name the folder; and the errors of decrypt_model.
    """
    license_key = asked_once(license_key)
    given = parse_place(source)
    root = given if isinstance(given, Url) else real_folder(given)
    target = Path(recorded_path(Path(destination) if destination is not None else _default(root)))
    options = ReadOptions(allow_deprecated, allow_unsigned, allow_superseded)
    arguments = {"source": asked_place(source), "destination": str(target), "force": force, **vars(options)}
    request = OperationRequest.of(OPERATION, operation_id, arguments)
    again = repeated(manager, request, partial(_again, manager, root, target))
    if again is not None:
        return again
    with noted(manager, OPERATION, request.operation_id, request.subject):
        manifest = trusted_manifest(manager, root)
        warned = check_folder(manager, manifest, root, options.releases())
        gate = gate_with(manager.output_gate(), root, "the encrypted folder itself")
        gate.check(target)
        kinds = {entry.path: FileKind.OTHER for entry in manifest.files} if force else None
        must_be_free(target, kinds, gate)
        must_be_complete(root, manifest)
        key = open_beforehand(manager, root, manifest, license_key, options.use)
    place = FolderPlace.beside(target)
    intent = folder_intent(
        OPERATION, manifest.folder_id, target, place.temporary, model_id=manifest.model_id, name=manifest.name
    )
    keys = frozenset({str(key.key_id)})
    # Settling cannot identify a plaintext by an id.
    intent = replace(intent, before=file_identity(target), keys_before=keys, keys_after=keys)
    asked_for = {"folder_id": manifest.folder_id.hex(), **options.detail}
    proposal = release(str(root), str(target), [key], asked_for)
    with new_folder(manager, intent, place, request, proposal=proposal) as outcome:
        check = partial(must_be_free, target, kinds, gate)
        job = _Job(manager, root, manifest, place, license_key, options, request, check)
        made = job.build(jobs, progress)
        counts = {"files": len(manifest.files), "length": manifest.length}
        outcome.detail = {**counts, "source": str(root), **options.detail}
    done = _result(outcome.operation_id, root, target, manifest, made, changed=True)
    return replace(done, warnings=(*done.warnings, *warned))


def _again(manager: KeyManager, root: Place, target: Path, done: FinishedOperation) -> DecryptedFolder:
    """Return the result of an earlier operation. Raises RefusedError when its output is gone."""
    manifest = trusted_manifest(manager, root)
    if done.file_id != manifest.folder_id or not target.is_dir():
        words = f"operation {done.operation_id} was done already"
        raise RefusedError(words, "choose another id", remedy="operation-id-taken")
    return _result(done.operation_id, root, target, manifest, [], changed=False)


def _result(
    operation_id: str, source: Place, target: Path, manifest: Manifest, files: list[Decrypted], *, changed: bool
) -> DecryptedFolder:
    return DecryptedFolder(
        operation_id=operation_id,
        changed=changed,
        warnings=each_once(notice for made in files for notice in made.warnings),
        source=source,
        destination=target,
        files=tuple(files),
        plain=tuple(entry.path for entry in manifest.plain),
        length=manifest.length,
    )


@dataclass(frozen=True)
class _Job:
    """The decryption of one folder."""

    manager: KeyManager
    root: Place
    manifest: Manifest
    place: FolderPlace
    license_key: License | None
    options: ReadOptions
    request: OperationRequest
    must_be_free: Callable[[], None]

    def build(self, jobs: int | None, progress: ProgressReport | None) -> list[Decrypted]:
        """Fill the temporary folder and swap it in; return the containers' results in the manifest's order."""
        with (
            self._unlocker() as unlocker,
            UnsyncedFiles(partial(self._synced, unlocker)) as files,
        ):
            make = partial(self._make, unlocker, files)
            tasks = [Task(entry.length, partial(make, entry)) for entry in self.manifest.files]
            made = side_by_side(tasks, jobs=jobs, progress=progress)
            files.sync()
        self.must_be_free()  # once more: decrypting may have taken hours
        swap_in(self.place)
        return [each for each in made if each is not None]

    def _unlocker(self) -> Unlocker:
        allow, options = self.options.allow_unsigned, self.options
        skip = ReleaseCheck.SKIP  # the folder was checked, which covers its files
        return Unlocker(self.manager, self.license_key, options.use, allow_unsigned=allow, releases=skip)

    def _make(
        self,
        unlocker: Unlocker,
        files: UnsyncedFiles[_Seen],
        entry: ManifestEntry,
        report: ProgressReport,
    ) -> Decrypted | None:
        if isinstance(entry, ContainerEntry):
            return self._open(unlocker, files, entry, report)
        with files.new(make_parents(self.place.temporary, entry.path), entry.length) as new:
            copy_plain(self.root, entry, new.write, report)
            new.keep(None)
        return None

    def _open(
        self, unlocker: Unlocker, files: UnsyncedFiles[_Seen], entry: ContainerEntry, report: ProgressReport
    ) -> Decrypted:
        # Opened before there is an output: the manifest's length is what the container's was compared with.
        with opened_container(self.root / entry.place, self.manifest.listed(entry)) as found:
            data_key, verdict = unlocker.unlock(found)
            container, options = found.container, self.options
            with data_key, files.new(make_parents(self.place.temporary, entry.path), entry.length) as new:
                job = Decryption(self.manager, container, data_key, found, -1, options, report, self.request, verdict)
                job.write(new.fd)
                keys = frozenset(unlocker.keys.held_for(container.header))
                new.keep(SeenContainer(container.header, job.path, keys, verdict.signed, verdict.node_id))
            return job.result(self.place.destination / entry.path, self.request.operation_id)

    def _synced(self, unlocker: Unlocker, batch: Sequence[_Seen]) -> None:
        """Update the registry after a batch, and notice a key that was revoked meanwhile."""
        track_all(self.manager, [seen for seen in batch if seen is not None])
        unlocker.renew()


def _default(root: Place) -> Path:
    if isinstance(root, Url):
        raise UsageError(
            "a folder in object storage has no default destination", "pass a destination", remedy="name-output-folder"
        )
    if root.suffix != SUFFIX or not root.stem:
        raise UsageError(
            f"the output's name can be derived only from DIR{SUFFIX}", "pass a destination", remedy="name-output-folder"
        )
    return root.with_suffix("")
