"""Whose signature counts for a container and for a folder's manifest: that of the authority of its model.

What another issuer has signed counts only if it was the authority once, and the registry or its last release names the
container. Come here for why a good signature is refused. Does not handle the signature itself (container/container.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from tiktrue_keys.core.keys.authority import Signer
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError
from tiktrue_keys.models.container.container import Authorship, Front
from tiktrue_keys.models.format.manifest import SignedManifest
from tiktrue_keys.models.format.trailer import Trailer


@dataclass(frozen=True)
class Verdict:
    """The result of checking a container's signature, and the keystore that signed it."""

    authorship: Authorship
    signer: Signer | None = None

    @property
    def signed(self) -> bool:
        """Return whether the authority of its model signed it."""
        return self.authorship is Authorship.SIGNED

    @property
    def unsigned(self) -> bool:
        """Return whether it was found to have no signature."""
        return self.authorship is Authorship.UNSIGNED

    @property
    def node_id(self) -> str:
        """Return the node id of its signer, empty without one, as the registry stores it."""
        return self.signer.node_id if self.signer else ""


NOT_CHECKED = Verdict(Authorship.UNCHECKED)


class Signers:
    """The keystores whose signatures count, read once for many containers.

    `recovering`: a compromised issuer's count too, where the user vouches for the model.
    """

    def __init__(self, manager: KeyManager, *, recovering: bool = False) -> None:
        self._manager = manager
        self._recovering = recovering
        self._authorities: dict[str, Signer] = {}

    def authority(self, model_id: str) -> Signer:
        """Return the authority of a model."""
        if model_id not in self._authorities:
            self._authorities[model_id] = self._manager.authority(model_id)
        return self._authorities[model_id]

    def of_container(self, front: Front, trailer: Trailer, key: bytes) -> Signer:
        """Return the signer with this Ed25519 key (32 bytes). Raises IntegrityError unless its signature counts."""
        header = front.header
        return self._signer(header.model_id, key, {header.file_id: trailer.root}, "the container", "where it came from")

    def of_manifest(self, signed: SignedManifest) -> Signer:
        """Return the signer of a folder's manifest. Raises IntegrityError unless its signature counts."""
        named = {entry.file_id: entry.root for entry in signed.manifest.containers}
        where = "the origin of the folder"
        return self._signer(signed.manifest.model_id, signed.issuer, named, "the folder's manifest", where)

    def _signer(self, model_id: str, key: bytes, named: dict[bytes, bytes], what: str, where: str) -> Signer:
        authority = self.authority(model_id)
        if key == authority.key:
            return authority
        former = self._manager.former_signer(key, model_id, named, compromised=self._recovering)
        if former is None:
            words = f"{what} is signed by another keystore than {authority}, the authority of model {model_id}"
            raise IntegrityError(words, f"check {where}")
        return former
