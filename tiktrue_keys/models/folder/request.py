"""The parameters of encrypting a folder, shared by every form of it."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from os import PathLike

from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keystore.replay import OperationRequest, arguments_of
from tiktrue_keys.models.folder.tree import Selection
from tiktrue_keys.models.pipeline.progress import ProgressReport
from tiktrue_keys.models.storage.location import Url, asked_place


@dataclass(frozen=True)
class FolderRequest:
    """A folder to encrypt, the place for the result, the key, and how.

    `destination`: default DIR.ttm beside the folder; a URL is a prefix in object storage. `key` is a KEY argument.
    `resume`: the state file that lists finished files, so that the next run with it reuses them. `force` replaces an
    encrypted folder that holds nothing else. `jobs`: how many files at once (default: one for each processor, at most
    four).
    """

    source: str | PathLike[str]
    destination: str | PathLike[str] | Url | None = None
    _: KW_ONLY
    key: str
    license_key: License | None = None
    selection: Selection = field(default_factory=Selection)
    resume: str | PathLike[str] | None = None
    force: bool = False
    jobs: int | None = None
    progress: ProgressReport | None = None
    operation_id: str | None = None

    def asked(self, operation: str) -> OperationRequest:
        """Return the request for `operation`, with which a repetition of its operation id is compared."""
        places = {name: asked_place(getattr(self, name)) for name in ("source", "destination", "resume")}
        arguments = {**places, "key": self.key, "force": self.force, **arguments_of(self.selection)}
        return OperationRequest.of(operation, self.operation_id, arguments)
