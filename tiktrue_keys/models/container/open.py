"""Opens containers in files and objects, finds their data keys and checks who signed them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.system_errors import foreign_os_errors, shown
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.container.container import (
    Authorship,
    Container,
    Front,
    OpenedContainer,
    check_authorship,
    read_container,
)
from tiktrue_keys.models.container.data_key import HeldKeys, OpenedDataKey
from tiktrue_keys.models.container.released import ReleaseCheck, check_container
from tiktrue_keys.models.container.signers import Signers, Verdict
from tiktrue_keys.models.format.manifest import ListedContainer
from tiktrue_keys.models.format.trailer import Trailer
from tiktrue_keys.models.storage.location import Place
from tiktrue_keys.models.storage.protocol import storage_of

_WHAT = "the container"

Expected = bytes | ListedContainer | None
"""Which container must be at a place: the one with this root (32 bytes), the one that a manifest lists, or any."""


@contextmanager
def opened_container(place: Place, expected: Expected = None) -> Iterator[OpenedContainer]:
    """Open the container at `place`, following symbolic links, and apply an object's detached header; close it after.

    Raises IntegrityError when it is malformed or not the expected one, and the storage's errors.
    """
    storage = storage_of(place).real(_WHAT)
    with storage.opened(_WHAT) as readable:
        with foreign_os_errors(_WHAT, str(place)):
            own = read_container(readable)
            container = own.with_detached(storage.detached(own.header.file_id))
        if not _is_expected(container, expected):
            raise IntegrityError(f"{shown(str(place))} is another container than the manifest lists")
        yield OpenedContainer(readable, storage.place, container)


def _is_expected(container: Container, expected: Expected) -> bool:
    if isinstance(expected, ListedContainer):
        return container.is_listed(expected)
    return expected in (None, container.root)


class Unlocker:
    """Unlocks containers of which this keystore holds a key; keys and signers are read once for many of them."""

    def __init__(
        self,
        manager: KeyManager,
        license_key: License | None,
        use: Use,
        *,
        allow_unsigned: bool,
        releases: ReleaseCheck = ReleaseCheck.REFUSE,
        recovering: bool = False,
    ) -> None:
        self.keys = HeldKeys(manager, license_key, use)
        self._manager = manager
        self._allow_unsigned = allow_unsigned
        self._releases = releases
        self._recovering = recovering
        self._signers = Signers(manager, recovering=recovering)

    def __enter__(self) -> Unlocker:
        return self

    def __exit__(self, *_: object) -> None:
        self.keys.__exit__()

    def renew(self) -> None:
        """Read keys and signers again, so that a revocation is noticed."""
        self.keys.renew()
        self._signers = Signers(self._manager, recovering=self._recovering)

    def unlock(self, source: OpenedContainer) -> tuple[OpenedDataKey, Verdict]:
        """Unlock a container as `unlock` does."""
        container = source.container
        opened = self.keys.data_key(container.header)
        try:
            container.authenticate(opened.secret.view)
            verdict = judge(
                self._manager,
                container,
                container.trailer,
                allow_unsigned=self._allow_unsigned,
                signers=self._signers,
            )
            warned = check_container(self._manager, container.header, container.root, source.path, self._releases)
            return replace(opened, notices=(*opened.notices, *warned)), verdict
        except BaseException:
            opened.secret.wipe()
            raise


def unlock(
    manager: KeyManager,
    source: OpenedContainer,
    license_key: License | None,
    use: Use,
    *,
    allow_unsigned: bool,
    releases: ReleaseCheck = ReleaseCheck.REFUSE,
    recovering: bool = False,
) -> tuple[OpenedDataKey, Verdict]:
    """Open the data key, authenticate the header and check the signature; return the data key and the verdict.

    `recovering`: what a compromised issuer has signed counts. The caller must wipe the data key. Raises NotFoundError
    when this keystore has no key for the container, RevokedError, ExpiredError or WrongLicenseError for its key,
    IntegrityError when header or signature are wrong or the signer is not the authority of the model, RefusedError when
    it is unsigned, unless `allow_unsigned`, or not released, unless `releases` lets it pass.
    """
    with Unlocker(
        manager, license_key, use, allow_unsigned=allow_unsigned, releases=releases, recovering=recovering
    ) as unlocker:
        return unlocker.unlock(source)


def judge(
    manager: KeyManager, front: Front, trailer: Trailer, *, allow_unsigned: bool, signers: Signers | None = None
) -> Verdict:
    """Check the signature of a container whose header is authentic; return the verdict.

    `signers` are those whose signatures count, where the caller has read them for many containers.
    Also raises IntegrityError when the signature is missing and the registry records that there was one: a holder of
    the data key can change everything in a container, but cannot forge a signature.
    """
    signers, signature = signers or Signers(manager), trailer.signature
    if signature is None:
        if any(known.signed for known in manager.locations(front.header.file_id)):
            raise IntegrityError("the container's signature was removed", "restore the container from a copy")
        signer = signers.authority(front.header.model_id)
    else:
        signer = signers.of_container(front, trailer, signature.issuer)
    authorship = check_authorship(
        front.header, front.body, trailer, issuers=(signer.key,), allow_unsigned=allow_unsigned
    )
    return Verdict(authorship, signer if authorship is Authorship.SIGNED else None)
