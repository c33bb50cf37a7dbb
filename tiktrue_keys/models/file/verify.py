"""Verifies a whole container: header, signature, every leaf and every tag. Writes and records nothing."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from os import PathLike

from tiktrue_keys.core.dispatch.releases import CountingRelease
from tiktrue_keys.core.keys.authority import Signer
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.system_errors import foreign_os_errors
from tiktrue_keys.models.container.container import OpenedContainer, check_root
from tiktrue_keys.models.container.data_key import OpenedDataKey
from tiktrue_keys.models.container.open import Expected, opened_container, unlock
from tiktrue_keys.models.container.released import ReleaseCheck, naming_release
from tiktrue_keys.models.container.signers import Verdict
from tiktrue_keys.models.file.decrypt import ReadOptions, unsigned_notice
from tiktrue_keys.models.pipeline.pipeline import open_body, threads_for
from tiktrue_keys.models.pipeline.progress import ProgressReport, byte_report
from tiktrue_keys.models.storage.location import Place, Url, object_place

INTERRUPTED = "interrupted-rewrap"


@dataclass(frozen=True)
class Verified:
    """A valid container; `checks` describes each check in a sentence, `signer` is None if it is not signed."""

    path: Place
    file_id: bytes
    key: ManagedKey
    length: int
    segments: int
    root: bytes
    signed: bool
    checks: tuple[str, ...]
    warnings: tuple[Notice, ...] = ()
    signer: Signer | None = None


def verify_model(
    manager: KeyManager,
    path: str | PathLike[str] | Url,
    *,
    license_key: License | None = None,
    allow_deprecated: bool = False,
    allow_unsigned: bool = False,
    allow_superseded: bool = False,
    expected_root: bytes | None = None,
    progress: ProgressReport | None = None,
) -> Verified:
    """Check everything that decrypt_model checks, without output. Raises the same errors, for the first fault."""
    options = ReadOptions(allow_deprecated, allow_unsigned, allow_superseded)
    return verify_expected(manager, object_place(path), expected_root, license_key, options, progress)


def verify_expected(
    manager: KeyManager,
    place: Place,
    expected: Expected,
    license_key: License | None,
    options: ReadOptions,
    progress: ProgressReport | None,
) -> Verified:
    """Check the container at `place` as verify_model does, and that it is the expected one."""
    releases = options.releases(expected)
    with opened_container(place, expected) as found:
        opened, verdict = unlock(
            manager, found, license_key, options.use, allow_unsigned=options.allow_unsigned, releases=releases
        )
        with opened:
            _verify_body(found, opened, progress)
            container = found.container
            named = None
            if releases is not ReleaseCheck.SKIP:
                named = naming_release(manager, container.header, container.root, found.path)
            return _verified(found, opened, verdict, named)


class _Nowhere:
    """A sink that discards everything; the pipeline zeroes its own buffers."""

    def preface(self, data: bytes) -> None:
        pass

    def put(self, index: int, view: memoryview, stop: threading.Event) -> None:
        pass

    def wake(self) -> None:
        pass


def _verify_body(found: OpenedContainer, opened: OpenedDataKey, progress: ProgressReport | None) -> None:
    container = found.container
    with foreign_os_errors("the container", str(found.path)):
        summary = open_body(
            container.source(found.fd),
            _Nowhere(),
            container.cipher(opened.secret.view),
            container.geometry,
            leaves=container.trailer.leaves,
            threads=threads_for(found.fd),
            progress=byte_report(progress, container.length),
        )
    check_root(container, container.trailer, summary)
    if progress is not None:
        progress(container.length, container.length)


def _verified(
    found: OpenedContainer, opened: OpenedDataKey, verdict: Verdict, named: CountingRelease | None
) -> Verified:
    container = found.container
    warnings = list(opened.notices)
    checks = ["the header is authentic under the data key"]
    if verdict.signed:
        checks.append(f"{verdict.signer} signed file id, names, length and root")
    else:
        warnings.append(unsigned_notice())
    if named is not None:
        checks.append(f"release {named.release.number} of model {named.release.model_id} names it")
    checks.append(f"{plural(container.trailer.segments, 'segment')} verified: every tag, every leaf, and the root")
    if not container.slots.equal:
        words = "the header's two copies differ: a rewrap was interrupted"
        warnings.append(Notice(INTERRUPTED, words, remedy="finish-rewrap", about={"path": str(found.path)}))
    return Verified(
        path=found.path,
        file_id=container.header.file_id,
        key=opened.key,
        length=container.length,
        segments=container.trailer.segments,
        root=container.root,
        signed=verdict.signed,
        signer=verdict.signer,
        checks=tuple(checks),
        warnings=tuple(warnings),
    )
