"""Seals the files of a folder under one key, which is opened once for many of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.containers.settlement import NewContainer, NewContainers
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.key_results import OpenedKey
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.models.container.seal import keystore_signer
from tiktrue_keys.models.file.encrypt import OPERATION, Encrypted, encrypted, new_header
from tiktrue_keys.models.file.plaintext import plaintext_source
from tiktrue_keys.models.folder.job import FolderJob
from tiktrue_keys.models.folder.tree import SourceFile
from tiktrue_keys.models.format.header import safe_name
from tiktrue_keys.models.format.manifest import ContainerEntry, Manifest
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.storage.location import Place


class FileSealer:
    """Seals files into containers that have no intent of their own; the operation is that of their folder."""

    def __init__(self, job: FolderJob, operation_id: str) -> None:
        self._job = job
        self._operation_id = operation_id
        self._signer = keystore_signer(job.manager, job.key.model_id)
        self._opened = ExitStack()
        self._key = self._open()

    def close(self) -> None:
        """Wipe the key."""
        self._opened.close()

    def renew(self) -> None:
        """Open the key again. Raises RevokedError, ExpiredError or RefusedError when it may not encrypt any more."""
        self._key = self._open()

    def seal(self, file: SourceFile, out: int, destination: Path, report: ProgressReport) -> Encrypted:
        """Seal a file into the empty file open at `out`. Raises the errors of encrypt_model."""
        with plaintext_source(file.path, file.name) as plaintext, SecretBuffer.random() as data_key:
            header = new_header(self._key, data_key, plaintext)
            sealed = plaintext.seal(out, header, data_key, signer=self._signer, progress=report)
            return encrypted(self._operation_id, self._key.key, plaintext.path, destination, sealed)

    def _open(self) -> OpenedKey:
        # One that another thread still seals with is wiped at the end only.
        job = self._job
        return self._opened.enter_context(job.manager.open_key(job.key.key_id, job.license_key, use=Use.ENCRYPT))


def new_container(made: Encrypted, path: Place | None, now: Instant, signer: str) -> NewContainer:
    """Return what the registry is told of a container that lies at `path`; `signer` is this keystore's node id."""
    key = made.key
    keys = frozenset({str(key.key_id)})
    record = ContainerRecord(made.file_id, str(path), key.model_id, made.name, keys, now, signed=True, signer=signer)
    return NewContainer(record, OPERATION, {"length": made.length, "root": made.root.hex()})


def sealed_containers(
    manifest: Manifest, folder: Path, keys: frozenset[str], now: Instant, signer: str
) -> Sequence[NewContainer]:
    """Return what the registry is told of all containers of a folder that a process which died has sealed and named."""

    def row(entry: ContainerEntry) -> NewContainer:
        path, name = str(folder / entry.place), safe_name(entry.path.rpartition("/")[2])
        record = ContainerRecord(entry.file_id, path, manifest.model_id, name, keys, now, signed=True, signer=signer)
        return NewContainer(record, OPERATION, {"settled": True, "length": entry.length, "root": entry.root.hex()})

    return NewContainers(manifest.containers, row)
